"""The llama.cpp server of the wheel xllamacpp, in this process: one way to start it for all who need one.

The server holds one model and any number of LoRA adapters. An adapter that emolib exported says in its own metadata
what it is for, and the server repeats that under /lora-adapters as the adapter's `task_name`:

    emolib prompt=paper temperature=1.32 abstain_below=0.41

and, if its labels are not the six emotions, what they are: ` labels={"names": ["urgent", "calm"], …}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emolib.addresses import refuse_open_address
from emolib.errors import MissingDependency, ModelError, ServiceError, UsageError
from emolib.labels import ABSTAIN_BELOW, CARER, LabelSet
from emolib.prompting.templates import PAPER

__all__ = ["CHAT_TASK", "TASK_KEY", "EmotionTask", "LlamaServerOptions", "start_server", "thread_budget"]

#: Where llama.cpp looks in an adapter file for what the server repeats as `task_name`.
TASK_KEY = "adapter.lora.task_name"
_FIRST_ANSWER_S = 30.0
#: The task name of an adapter that replies.
CHAT_TASK = "emolib chat"


@dataclass(frozen=True)
class EmotionTask:
    """What has to be known beside the weights to classify with an adapter: see the module."""

    prompt: str = PAPER.name
    temperature: float = 1.0
    abstain_below: float = ABSTAIN_BELOW
    labels: LabelSet = CARER
    thresholds: tuple[float, ...] = ()

    def __str__(self) -> str:
        said = f"emolib prompt={self.prompt} temperature={self.temperature:g} abstain_below={self.abstain_below:g}"
        if self.labels == CARER:
            return said
        return f"{said} labels={json.dumps({**self.labels.as_dict(), 'thresholds': self.thresholds})}"

    @classmethod
    def parse(cls, text: str) -> EmotionTask | None:
        """The task that `text` says, or None if it is none of ours."""
        pattern = r"emolib prompt=(\S+) temperature=(\S+) abstain_below=(\S+?)(?: labels=(\{.*\}))?"
        if not (found := re.fullmatch(pattern, text)):
            return None
        labels = json.loads(found[4]) if found[4] else {}
        thresholds = tuple(map(float, labels.get("thresholds", ())))
        label_set = LabelSet.from_dict(labels) if labels else CARER
        return cls(found[1], float(found[2]), float(found[3]), label_set, thresholds)


def _help(default: Any, text: str, **metadata: str) -> Any:
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True)
class LlamaServerOptions:
    """How a server runs: `slots` requests at once, each with `slot_tokens` of context, on `threads` cores.

    `port` 0 takes a free one. `adapter_scale` is what a request gets that names no scales. Up to `remembered_mib` of
    earlier prompts are kept beside those in the slots: none when there are adapters, because what a slot remembers of
    one must never be taken up by another; a single one that is always on may remember.
    """

    host: str = _help("127.0.0.1", "address to bind", metavar="ADDRESS")
    port: int = _help(0, "port to bind; 0 = a free one")
    slots: int = _help(1, "requests at once")
    slot_tokens: int = _help(2048, "tokens of context of each request")
    threads: int = _help(1, "cores to compute on")
    adapter_scale: float = _help(0.0, "scale of the adapters for a request that names none")
    api_key: str | None = _help(
        None, "key that clients must send; needed beyond localhost", metavar="KEY", environment="EMOLIB_LLAMA_KEY"
    )
    remembered_mib: int = _help(0, "MiB of earlier prompts to keep beside those in the slots")


def thread_budget(limit: int = 4) -> int:
    """Threads for llama.cpp: the cores that this process may use less one, at least 1 and at most `limit`.

    llama.cpp's threads wait for each other after every operation. If one of them has to share its
    core all of them stand still: on 2 cores with one busy, 2 threads took 8 to 34 s for a reply that 1
    thread wrote in under 2 s, and on 2 idle cores the second thread saves a third of 0.8 s.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(limit, cores - 1))


def start_server(model: Path, options: LlamaServerOptions, adapters: Sequence[Path] = ()) -> Any:
    """Load the GGUF file `model` with LoRA GGUF `adapters`, and serve them until the result is let go of.

    The result has `listening_address`, a URL. UsageError for an address that others can reach without a key,
    ServiceError for a port that is taken, ModelError if llama.cpp cannot load the files.
    """
    try:
        import xllamacpp
    except ImportError:
        raise MissingDependency("xllamacpp", extra="gguf") from None
    refuse_open_address(options.host, options.api_key)
    _refuse_taken_port(options)
    parameters = xllamacpp.CommonParams()
    for name, value in _parameters(model, options).items():
        setattr(parameters, name, value)
    parameters.model.path = str(model)
    for cores in (parameters.cpuparams, parameters.cpuparams_batch):
        cores.n_threads = options.threads
        # By default idle workers spin, and take the cores from whatever else runs.
        cores.poll = 0
    if adapters:
        if options.remembered_mib and (len(adapters) > 1 or options.adapter_scale != 1):
            raise UsageError("a server with adapters must not remember prompts: one adapter's would serve another")
        loaded = [xllamacpp.CommonAdapterLoraInfo(str(path), options.adapter_scale) for path in adapters]
        parameters.lora_adapters = loaded
    try:
        # In a thread of its own: Ctrl-C must not take the server away before its loop has answered.
        with ThreadPoolExecutor(1, thread_name_prefix="llama.cpp") as pool:
            return pool.submit(_answering_server, parameters).result()
    except RuntimeError:
        files = " with ".join(map(str, [model, *adapters]))
        raise ModelError(
            f"llama.cpp cannot load {files}: damaged, of a kind that it does not know, or not made for each other;"
            " get or export it again"
        ) from None


def _answering_server(parameters: Any) -> Any:
    """Start a server and wait until its loop has answered.

    llama.cpp forgets a stop that comes before its loop has begun; who drops the server then waits for ever.
    """
    import xllamacpp

    server = xllamacpp.Server(parameters)
    # The server also listens under this name where it was told to listen everywhere.
    url = server.listening_address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    headers = {"Authorization": f"Bearer {parameters.api_keys[0]}"} if parameters.api_keys else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    # Any question will do that the loop itself answers; what is wrong with the server is told when it is used.
    with contextlib.suppress(OSError):
        opener.open(urllib.request.Request(f"{url}/lora-adapters", headers=headers), timeout=_FIRST_ANSWER_S).close()
    return server


def _parameters(model: Path, options: LlamaServerOptions) -> Mapping[str, Any]:
    return {
        "hostnames": [options.host],
        "port": options.port,
        "api_keys": [options.api_key] if options.api_key else [],
        "model_alias": {model.stem},
        "n_parallel": options.slots,
        "n_ctx": options.slots * options.slot_tokens,
        "verbosity": -1,
        "warmup": False,
        "cache_ram_mib": options.remembered_mib,
    }


def _refuse_taken_port(options: LlamaServerOptions) -> None:
    if not options.port:
        return
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except (OSError, OverflowError) as error:
            where = f"{options.host}:{options.port}"
            raise ServiceError(f"cannot serve on {where}: {error}; choose another --port, or 0") from error
