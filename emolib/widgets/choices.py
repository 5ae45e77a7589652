"""What a panel offers to run on: the parts of a stack that are found here, and whose microphone and loudspeaker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from emolib.emotion_model import adapter_task, bundled, find_adapter
from emolib.errors import EmolibError, UsageError
from emolib.llama.gguf import read_header
from emolib.stack import Stack
from emolib.tts import VoiceLibrary

__all__ = ["COMPUTER", "OWN_VOICE", "PAGE", "check_files", "emotion_models", "offered", "reply_models"]

#: Speaks as the service does when no voiceprint is named.
OWN_VOICE = "the service's own"
#: Microphone and loudspeaker of the browser, or those of the machine on which the kernel runs.
PAGE, COMPUTER = "this page", "the kernel's computer"

#: Where runs and exported files are looked for: beside the notebook, or beside its folder.
_FOLDERS = (Path("runs"), Path("gguf"), Path("../runs"), Path("../gguf"))


def offered(folders: Sequence[Path] = _FOLDERS) -> dict[str, list[str]]:
    """Return what can be chosen in a panel, by the field of `Stack` ("sound": whose devices)."""
    return {
        "recognizer": [
            "whisper",
            "whisper:base",
            "funasr:paraformer-zh+fsmn-vad+ct-punc",
            "funasr:iic/SenseVoiceSmall",
        ],
        "emotion": emotion_models(folders),
        "voice_emotion": ["encoder", "recognizer", "off", "emotion2vec"],
        "reply": reply_models(folders),
        "speech": ["own", "fish"],
        "voice": [OWN_VOICE, *VoiceLibrary().names()],
        "sound": [PAGE, COMPUTER],
    }


def emotion_models(folders: Sequence[Path] = _FOLDERS) -> list[str]:
    """Return the bundled emotion adapters, and the runs that classify and emotion GGUF files found in `folders`."""
    adapters = {path.parent for path in _found("adapter/adapter_config.json", folders)}
    runs = {str(adapter.parent) for adapter in adapters if _classifies(adapter)}
    return [*bundled(), *sorted(runs), *sorted(_gguf_files(folders, for_emotion=True))]


def reply_models(folders: Sequence[Path] = _FOLDERS) -> list[str]:
    """Return auto (GPT or a server when the environment names one), the embedded model, GPT, and chat GGUF files."""
    return ["auto", "embedded", "gpt", *sorted(_gguf_files(folders, for_emotion=False))]


def check_files(stack: Stack) -> None:
    """Raise UsageError, InputError or ModelError when a file or adapter of `stack` is not there; loads nothing."""
    if stack.emotion.lower().endswith(".gguf"):
        _check_file(stack.emotion)
    elif not stack.emotion.startswith(("http://", "https://")):
        find_adapter(stack.emotion)
    if stack.reply.lower().endswith(".gguf"):
        _check_file(stack.reply)


def _check_file(name: str) -> None:
    if not Path(name).is_file():
        raise UsageError(f"there is no file {name}; make one with `emolib export`, or name another")


def _gguf_files(folders: Sequence[Path], *, for_emotion: bool) -> Iterator[str]:
    for path in _found("*.[gG][gG][uU][fF]", folders):
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
