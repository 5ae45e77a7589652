"""What a panel can run on: emotion models, reply models, voices, and whose microphone and loudspeaker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emolib.chat import LlamaReplyModel, OpenAIReplyModel, ReplyModel
from emolib.chat.embedded import EMBEDDED_NAME
from emolib.dialogue import default_reply_model
from emolib.emotion_model import adapter_task, bundled, find_adapter
from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import EmolibError, UsageError
from emolib.llama.gguf import read_header

__all__ = ["COMPUTER", "OWN_VOICE", "PAGE", "Choice", "emotion_models", "open_reply_model", "reply_models"]

#: Speaks as the service does where no voiceprint is named.
OWN_VOICE = "the service's own"
#: Microphone and loudspeaker of the browser, or those of the machine on which the kernel runs.
PAGE, COMPUTER = "this page", "the kernel's computer"

#: Where runs and exported files are looked for: beside the notebook, or beside its folder.
_FOLDERS = (Path("runs"), Path("gguf"), Path("../runs"), Path("../gguf"))


@dataclass(frozen=True)
class Choice:
    """What a conversation runs on.

    `emotion_model` is what `EmotionClassifier.load` takes; `reply_model` what `open_reply_model` takes; `voice` a
    voiceprint or OWN_VOICE; `sound` PAGE or COMPUTER.
    """

    emotion_model: str = DEFAULT_EMOTION_MODEL
    reply_model: str = EMBEDDED_NAME
    voice: str = OWN_VOICE
    sound: str = PAGE

    def __post_init__(self) -> None:
        """UsageError, InputError or ModelError for what cannot be found; nothing is loaded yet."""
        _check_emotion_model(self.emotion_model)
        _check_reply_model(self.reply_model)


def emotion_models(folders: Sequence[Path] = _FOLDERS) -> list[str]:
    """The bundled emotion adapters, and the runs that classify and emotion GGUF files in `folders` or a level below."""
    adapters = {path.parent for path in _found("adapter/adapter_config.json", folders)}
    runs = {str(adapter.parent) for adapter in adapters if _classifies(adapter)}
    return [*bundled(), *sorted(runs), *sorted(_gguf_files(folders, for_emotion=True))]


def reply_models(folders: Sequence[Path] = _FOLDERS) -> list[str]:
    """The server that the environment names, the embedded model, and the chat GGUF files in `folders`."""
    server = _server()
    return [*([server] if server else []), EMBEDDED_NAME, *sorted(_gguf_files(folders, for_emotion=False))]


def open_reply_model(name: str) -> ReplyModel:
    """The model of that name: one of `reply_models`, a GGUF file, the URL of a server, or a model of the server."""
    _check_reply_model(name)
    if name == EMBEDDED_NAME:
        return LlamaReplyModel()
    if name == _server():
        return default_reply_model()
    if name.startswith(("http://", "https://")):
        return default_reply_model(url=name)
    return default_reply_model(model=name)


def _server() -> str | None:
    url, model = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_MODEL")
    if not url and not os.environ.get("OPENAI_API_KEY"):
        return None
    named = {"base_url": url, "model": model}
    return OpenAIReplyModel(**{option: value for option, value in named.items() if value}).name


def _check_emotion_model(name: str) -> None:
    if name.startswith(("http://", "https://")):
        return
    if name.endswith(".gguf"):
        _check_file(name)
    else:
        find_adapter(name)


def _check_reply_model(name: str) -> None:
    if name.endswith(".gguf"):
        _check_file(name)
    elif name != EMBEDDED_NAME and not name.startswith(("http://", "https://")) and _server() is None:
        raise UsageError(
            f"the reply model {name!r} needs a server: name a .gguf file or a URL, or set OPENAI_API_KEY or"
            " OPENAI_BASE_URL and start the kernel again"
        )


def _check_file(name: str) -> None:
    if not Path(name).is_file():
        raise UsageError(f"there is no file {name}; make one with `emolib export`, or name another")


def _gguf_files(folders: Sequence[Path], *, for_emotion: bool) -> Iterator[str]:
    for path in _found("*.gguf", folders):
        try:
            header = read_header(path)
        except EmolibError:
            continue
        if not header.is_adapter and ("emolib.template" in header.metadata) == for_emotion:
            yield str(path)


def _classifies(adapter: Path) -> bool:
    try:
        return adapter_task(adapter) == "classify"
    except EmolibError:
        return False


def _found(pattern: str, folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for below in ("", "*/", "*/*/"):
            yield from folder.glob(below + pattern)
