"""The four engines of a turn, made ready together and always freed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from emolib.addresses import is_loopback_url
from emolib.chat import LlamaReplyModel, OpenAIReplyModel, ReplyModel, adapters_off
from emolib.emotions import DEFAULT_EMOTION_MODEL, EmotionScores
from emolib.errors import UsageError

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.speech import SpeechRecognizer
    from emolib.tts import SpeechRequest

__all__ = ["Classifier", "Stages", "Synthesizer", "default_reply_model", "open_stages"]


class Classifier(Protocol):
    """Judges the emotion of texts, in order."""

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]: ...


class Synthesizer(Protocol):
    """Speaks a text. One that also has `stream(request)`, an iterator of clips, is heard from the first of them on."""

    def synthesize(self, request: SpeechRequest) -> AudioClip: ...


@dataclass(frozen=True)
class Stages:
    """What a turn needs: an engine for each stage, and the name of what judges the emotion."""

    recognizer: SpeechRecognizer
    classifier: Classifier
    reply_model: ReplyModel
    synthesizer: Synthesizer
    emotion_model: str


def default_reply_model(url: str | None = None, model: str | None = None) -> ReplyModel:
    """What answers: a server where `url` or a key names one, else a GGUF file on llama.cpp.

    `model` is the name of a model at the server, or a GGUF file. What is None comes from
    OPENAI_BASE_URL and OPENAI_MODEL; OPENAI_API_KEY alone means OpenAI's GPT, nothing at all the
    embedded model.
    """
    if model and model.endswith(".gguf"):
        return LlamaReplyModel(Path(model))
    options = {
        "base_url": url or os.environ.get("OPENAI_BASE_URL"),
        "model": model or os.environ.get("OPENAI_MODEL"),
    }
    if options["base_url"] or os.environ.get("OPENAI_API_KEY"):
        known = {name: value for name, value in options.items() if value}
        here = known.get("base_url", "")
        if is_loopback_url(here):
            known["extra_body"] = adapters_off(here, os.environ.get("OPENAI_API_KEY"))
        return OpenAIReplyModel(**known)
    if model:
        raise UsageError(f"the chat model {model!r} needs a server: give its URL, set OPENAI_API_KEY, or name a .gguf")
    return LlamaReplyModel()


@contextmanager
def open_stages(
    emotion_model: str | Path = DEFAULT_EMOTION_MODEL,
    reply_model: ReplyModel | None = None,
    tts_url: str | None = None,
    voice: str | None = None,
) -> Iterator[Stages]:
    """The embedded engines, loaded side by side; the speech service runs in a child process while this is open.

    `tts_url` names a speech service that runs already, `voice` the voiceprint that it speaks in. The
    reply model is the caller's to close, in the event loop that used it. Whatever fails to load, nothing
    is left running.
    """
    reply_model = reply_model or default_reply_model()
    # The pool is left, and with it every loader finished, before the stack stops what was started.
    with ExitStack() as stack:
        with ThreadPoolExecutor(thread_name_prefix="load") as pool:
            recognizer = pool.submit(_load_recognizer)
            synthesizer = pool.submit(_load_synthesizer, stack, tts_url, voice)
            classifier = pool.submit(_load_classifier, emotion_model)
            pool.submit(reply_model.start).result()
            stages = Stages(
                recognizer.result(), classifier.result(), reply_model, synthesizer.result(), str(emotion_model)
            )
        yield stages


def _load_recognizer() -> SpeechRecognizer:
    from emolib.speech import WhisperRecognizer

    return WhisperRecognizer()


def _load_classifier(model: str | Path) -> Classifier:
    from emolib.classify import EmotionClassifier

    return EmotionClassifier.load(model)


def _load_synthesizer(stack: ExitStack, url: str | None, voice: str | None) -> Synthesizer:
    from emolib.tts import SpeechSynthesizer, running_service

    url = url or stack.enter_context(running_service())
    synthesizer = stack.enter_context(SpeechSynthesizer(url, voice=voice))
    if voice:
        synthesizer.prepare_voice(voice)
    return synthesizer
