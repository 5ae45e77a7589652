"""Work that blocks, in a thread that cannot hold up the end of the program."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["in_thread"]

#: How long the end of the program waits for work that still runs. Python cannot end a thread inside of a library
#: cleanly, and with `asyncio.to_thread` one that hangs would be waited for without end.
_PATIENCE_S = 3.0

_running: set[threading.Thread] = set()


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `work(*arguments)`, or what it raises. Cancelled, the work goes on and nobody hears of it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error:
            done.set_exception(error)
        else:
            done.set_result(result)

    def run() -> None:
        result = error = None
        try:
            result = work(*arguments)
        except BaseException as raised:
            error = raised
        finally:
            _running.discard(threading.current_thread())
        # The loop may be closed by now: then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name="engine", daemon=True)
    _running.add(thread)
    thread.start()
    return await done


@atexit.register
def _wait_for_the_rest() -> None:
    end = time.monotonic() + _PATIENCE_S
    for thread in list(_running):
        thread.join(max(0.0, end - time.monotonic()))
