"""What a notebook may use and may lack: a key among Colab's secrets, FunASR's weights, a server of Fish-Speech."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
from typing import TYPE_CHECKING

from emolib.errors import EmolibError, ModelError

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.tts import VoiceLibrary

__all__ = ["load_key", "speak_with_voiceprint", "transcribe_with_funasr"]


def load_key(name: str = "OPENAI_API_KEY") -> str:
    """Take the key `name` from the environment or from Colab's secrets into the environment; say in a sentence where.

    The sentence holds nothing of the key. Without a key it says how to give one.
    """
    if os.environ.get(name):
        return f"{name} is set: it is used, and your words are sent to its service."
    try:
        userdata = importlib.import_module("google.colab.userdata")
    except ImportError:
        return f"{name} is not set, so nothing is sent. To use it: os.environ[{name!r}] = getpass.getpass()"
    try:
        key = userdata.get(name)
    except Exception as error:  # Colab's own kinds: no such secret, or this notebook may not read it
        return (
            f"Colab has no secret {name} for this notebook ({type(error).__name__}), so nothing is sent."
            " Add it under the key symbol on the left, allow this notebook to read it, and run this cell again."
        )
    if not key:
        return f"Colab's secret {name} is empty, so nothing is sent. Paste the key, and run this cell again."
    os.environ[name] = key
    return f"{name} comes from Colab's secrets: it is used, and your words are sent to its service."


def transcribe_with_funasr(clip: AudioClip, model: str = "iic/SenseVoiceSmall") -> str:
    """Transcribe `clip` with FunASR and return what it heard; if package or weights are missing, what brings them."""
    from emolib.speech import FunASRRecognizer
    from emolib.speech.funasr import locate_model

    # FunASR prints notices of its own when it is imported.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if importlib.util.find_spec("funasr") is None:
            return "FunASR is not installed. Bring it with: pip install 'emolib[funasr]'"
        try:
            place = locate_model(model)
        except ModelError:
            return f"FunASR's weights are not on this machine. Bring them with: modelscope download --model {model}"
        try:
            found = FunASRRecognizer(place).transcribe(clip)
        except EmolibError as error:
            return f"FunASR heard nothing: {error}"
    voices = ", ".join(f"{name.lower()} {share:.0%}" for name, share in (found.voice_emotion or {}).items())
    return f"FunASR heard: {found.text}" + (f" (voice: {voices})" if voices else "")


def speak_with_voiceprint(text: str, voice: str, library: VoiceLibrary) -> AudioClip | None:
    """Speak `text` in a voice of `library` by the Fish-Speech server in EMOLIB_FISH_URL; None if there is none.

    Prints in a sentence what was done, or what brings the server. Raises the EmolibError of a server that fails.
    """
    from emolib.tts import SpeechRequest, SpeechSynthesizer

    url = os.environ.get("EMOLIB_FISH_URL")
    if not url:
        print(
            "No Fish-Speech server is named, and the embedded voice imitates nobody. Start one (environments/README.md"
            " has the lines; it wants a GPU with 12 GB), then: os.environ['EMOLIB_FISH_URL'] = 'http://127.0.0.1:8080'"
        )
        return None
    with SpeechSynthesizer(url, os.environ.get("EMOLIB_FISH_API_KEY"), voices=library, voice=voice) as synthesizer:
        clip = synthesizer.synthesize(SpeechRequest(text))
    print(f"{url} spoke {clip.seconds:.1f} s in the voice {voice}.")
    return clip
