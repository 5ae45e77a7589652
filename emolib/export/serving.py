"""One llama.cpp server for chat and for emotion: the base model, and adapters that each request switches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emolib.adapter_files import lora_file
from emolib.errors import UsageError
from emolib.llama.gguf import check_fits, read_header
from emolib.llama.server import LlamaServerOptions, start_server, thread_budget

__all__ = ["DEFAULT_OPTIONS", "open_llm_server", "serve_llm"]

#: How a server runs when nothing else is said.
DEFAULT_OPTIONS = LlamaServerOptions(slots=4, threads=thread_budget())


def serve_llm(
    model: str | Path | None = None,
    adapters: Sequence[str | Path] = (),
    options: LlamaServerOptions | None = None,
    *,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called with what to type next, once requests are accepted.

    See `open_llm_server` for `model`, `adapters` and the errors.
    """
    server, names = open_llm_server(model, adapters, options)
    url = server.listening_address
    announce(_welcome(url, names))
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        del server  # llama.cpp stops its threads when the last reference goes


def open_llm_server(
    model: str | Path | None = None, adapters: Sequence[str | Path] = (), options: LlamaServerOptions | None = None
) -> tuple[Any, list[str]]:
    """A running server and the names of its adapters; it serves until the result is let go of.

    `model` is a base GGUF file (default: the embedded chat model), an adapter a LoRA GGUF, a run folder or a
    bundled name; the last two are converted once and kept in emolib's cache. An adapter acts only on requests
    that name its scale, so any client that does not know of it talks to the base model. Errors are those of
    `start_server`, and ModelError where an adapter is of another base.
    """
    from emolib.models import chat_gguf

    path = Path(model) if model else chat_gguf()
    header = read_header(path)
    files = [lora_file(adapter) for adapter in adapters]
    for file in files:
        check_fits(read_header(file), header)
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        raise UsageError(f"two adapters have the same name ({', '.join(names)}); rename one of the files")
    return start_server(path, replace(options or DEFAULT_OPTIONS, adapter_scale=0.0), files), names


def _welcome(url: str, names: Sequence[str]) -> str:
    lines = [f"serving on {url} (OpenAI-compatible under {url}/v1); Ctrl-C stops it"]
    judge = f"--model {url}" + (f" --adapter {names[0]}" if len(names) > 1 else "")
    if names:
        lines.append(f"  adapters: {', '.join(names)}, each off unless a request switches it on")
        lines.append(f"  classify: emolib classify {judge} < lines.txt")
    lines.append(f"  chat:     emolib chat --reply {url}/v1" + (f" {judge}" if len(names) == 1 else ""))
    return "\n".join(lines)
