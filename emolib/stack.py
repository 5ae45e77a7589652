"""A stack: what a conversation runs on, by names, and the engines that the names stand for.

The same names come from the command line, from a file, from the panel and from Python, through one parser:

    Stack()                                             the bundled models
    Stack.load("paper")                                 a stack with a name, or a file such as emolib.toml
    Stack(recognizer="funasr:iic/SenseVoiceSmall", reply="http://127.0.0.1:11434/v1#qwen2.5")

`open_stack` loads the engines, `check_stack` says part by part what is missing and how to get it.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args, get_type_hints

from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import UsageError
from emolib.files import expand_user
from emolib.labels import EmotionScores

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.chat import ReplyModel
    from emolib.speech import StreamingRecognizer
    from emolib.tts import SpeechRequest

__all__ = [
    "NAMED_STACKS",
    "Classifier",
    "Engines",
    "Stack",
    "Synthesizer",
    "embedded_whisper",
    "hears_voice",
    "is_streaming_model",
    "open_reply_model",
    "open_stack",
    "speech_url",
]

_RECOGNIZERS = (
    "whisper (tiny.en; base for --language zh), whisper:base, whisper:small, whisper:FOLDER-or-hub-id,"
    " funasr:MODEL (funasr:MODEL+VAD+PUNCTUATION), ws://… (FunASR's server), or"
    " http://…/v1 (an OpenAI-compatible server, #MODEL behind it)"
)
_VOICE_EMOTIONS = (
    "encoder (our head on the encoder of the bundled Whisper; of another recogniser, what it hears itself), recognizer"
    " (only what the recogniser hears itself, as SenseVoice does), emotion2vec, emotion2vec:FOLDER-or-hub-id, or off"
)
_VOICE_EMOTION_NAMES = ("encoder", "recognizer", "off", "emotion2vec")
_REPLIES = (
    "auto, embedded (the adapter companion on SmolLM2), base (SmolLM2 alone), a run of the task chat, FILE.gguf, gpt,"
    " gpt:MODEL, or http://…/v1 (#MODEL behind it)"
)
_SPEECH = "own, fish, or http://… (a speech service that runs already)"
_LANGUAGES = ("en", "zh", "auto")
_URL = ("http://", "https://")
_ADAPTERS = Path(__file__).parent / "adapters"
#: The bundled adapter that replies.
COMPANION = "companion"
#: Where Fish-Speech's server listens by default; EMOLIB_FISH_URL names another place.
_FISH_URL = "http://127.0.0.1:8080"


def _part(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Stack:
    """What a conversation runs on. Each field is a short name, a path or a URL.

    Raises UsageError for a name that is not known, before anything is loaded.
    """

    recognizer: str = _part("whisper", f"speech to text: {_RECOGNIZERS}")
    emotion: str = _part(
        DEFAULT_EMOTION_MODEL, "emotion of the words: everyday, carer, a run, an adapter, a GGUF file or a server's URL"
    )
    voice_emotion: str = _part("encoder", f"emotion of the voice: {_VOICE_EMOTIONS}")
    reply: str = _part("auto", f"what replies: {_REPLIES}; auto = OPENAI_BASE_URL, or GPT with a key, else embedded")
    chat_timeout: float | None = _part(
        None, "longest silence of what replies, in seconds (default: 120 before the first word, 20 between two)"
    )
    understanding: bool = _part(False, "ask the reply model for topic and need first, and let them shape the reply")
    speech: str = _part("own", f"what speaks: {_SPEECH}")
    voice: str | None = _part(None, "a voice of `emolib voice list` to speak in (default: the engine's own)")
    language: str = _part("en", f"language of the conversation: {', '.join(_LANGUAGES)}")

    def __post_init__(self) -> None:
        _check_name("recognizer", self.recognizer, ("whisper",), ("whisper:", "funasr:", "ws://", "wss://", *_URL))
        _check_name("voice_emotion", self.voice_emotion, _VOICE_EMOTION_NAMES, ("emotion2vec:",))
        if not self.reply.lower().endswith(".gguf") and not _is_adapter(self.reply):
            _check_name("reply", self.reply, ("auto", "embedded", "base", "gpt"), ("gpt:", *_URL))
        _check_name("speech", self.speech, ("own", "fish"), _URL)
        _check_name("language", self.language, _LANGUAGES, ())
        if not self.emotion:
            raise UsageError("emotion is empty; name a model, such as everyday")
        if self.chat_timeout is not None and not self.chat_timeout > 0:
            raise UsageError(f"chat_timeout is a number of seconds above 0, not {self.chat_timeout:g}")

    @classmethod
    def load(cls, name: str | Path) -> Stack:
        """Return the stack called `name` ("embedded" or "paper"), or the one in the TOML file of that name.

        A file has a line for each field that differs from the default: `recognizer = "funasr:paraformer-zh"`.
        UsageError for an unknown name, a key that is none of the fields, and a value of another type.
        """
        if str(name) in NAMED_STACKS:
            return NAMED_STACKS[str(name)]
        path = Path(name)
        if not path.is_file():
            known = ", ".join(NAMED_STACKS)
            raise UsageError(f"{name} is neither a stack with a name ({known}) nor a file; write one in TOML")
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise UsageError(f"{path} is not a stack file in TOML ({error})") from error
        return cls._from(found, str(path))

    def with_changes(self, **changes: Any) -> Stack:
        """Return a copy with some fields changed; UsageError for a key that is none of the fields."""
        return self._from({**dataclasses.asdict(self), **changes}, "the stack")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as a trace keeps them; passwords in URLs are left out."""
        return {name: _shown(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def _from(cls, found: Mapping[str, Any], where: str) -> Stack:
        known = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(cls).items()}
        for name, value in found.items():
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
                raise UsageError(f"{where} has the key {name!r}, which a stack does not know; {hint}")
            wanted = known[name]
            # A whole number is one of seconds too; True is a number to Python alone.
            is_number = float in wanted and isinstance(value, int) and not isinstance(value, bool)
            if not (is_number or isinstance(value, wanted)):
                raise UsageError(f"{where}: {name} is a {wanted[0].__name__}, not {value!r}")
        return cls(**found)


class Classifier(Protocol):
    """Classifies the emotion of texts, in order."""

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]: ...


class Synthesizer(Protocol):
    """Speaks a text. One that also has `stream(request)`, an iterator of clips, is heard from the first of them on."""

    def synthesize(self, request: SpeechRequest) -> AudioClip: ...


@dataclass(frozen=True)
class Engines:
    """The loaded engines of a stack. A conversation in text has neither recogniser nor synthesizer (None)."""

    recognizer: StreamingRecognizer | None
    classifier: Classifier
    reply_model: ReplyModel
    synthesizer: Synthesizer | None
    stack: Stack = field(default_factory=Stack)


@contextmanager
def open_stack(stack: Stack | None = None, *, spoken: bool = True) -> Iterator[Engines]:
    """Load the engines of `stack` side by side and free them at the end; without `spoken`, those of a text chat.

    Our own speech service runs in a child process while this is open. The reply model is the caller's to close, in
    the event loop that used it. Raises the EmolibError of the part that cannot be loaded, and leaves nothing running.
    """
    stack = stack or Stack()
    reply_model = open_reply_model(stack.reply, stack.chat_timeout)
    # The pool is left, and with it every loader finished, before the exit stack stops what was started.
    with ExitStack() as exits:
        with ThreadPoolExecutor(thread_name_prefix="load") as pool:
            recognizer = pool.submit(_open_recognizer, stack) if spoken else None
            synthesizer = pool.submit(_open_synthesizer, exits, stack) if spoken else None
            classifier = pool.submit(_open_classifier, stack.emotion)
            pool.submit(reply_model.start).result()
            engines = Engines(
                recognizer.result() if recognizer else None,
                classifier.result(),
                reply_model,
                synthesizer.result() if synthesizer else None,
                stack,
            )
        yield engines


def open_reply_model(name: str = "auto", timeout_s: float | None = None) -> ReplyModel:
    """Return the reply model that `name` stands for, not loaded yet: see `Stack.reply` and `Stack.chat_timeout`.

    "auto" is the server of OPENAI_BASE_URL (its model in OPENAI_MODEL), OpenAI's GPT with OPENAI_API_KEY, else the
    embedded model. UsageError for a name that is not known and for GPT without a key.
    """
    from emolib.chat import (
        COMPANION_TEMPERATURE,
        LlamaReplyModel,
        OpenAIReplyModel,
        companion_prompt,
        full_prompt,
        server_adapters,
    )
    from emolib.chat.shown import examples_shown_to
    from emolib.openai_client import allowed_key

    if name.lower().endswith(".gguf"):
        return LlamaReplyModel(Path(name), timeout=timeout_s)
    if name == "auto":
        url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
        name = url or ("gpt" if key else "embedded")
    if name == "base":
        return LlamaReplyModel(timeout=timeout_s)
    if name == "embedded" or _is_adapter(name):
        adapter = COMPANION if name == "embedded" else name
        return LlamaReplyModel(
            adapter=adapter,
            examples=examples_shown_to(adapter),
            temperature=COMPANION_TEMPERATURE,
            timeout=timeout_s,
        )
    url, _, model = name.partition("#")
    if url.startswith(_URL):
        adapters = server_adapters(url, allowed_key(url))
        return OpenAIReplyModel(
            model=model or os.environ.get("OPENAI_MODEL") or None,
            base_url=url,
            timeout=timeout_s,
            prompt=companion_prompt if adapters.replies else full_prompt,
            extra_body=adapters.body,
        )
    _check_name("reply", name, ("gpt",), ("gpt:",))
    model = name.partition(":")[2] or os.environ.get("OPENAI_MODEL", "")
    return OpenAIReplyModel(model=model or None, timeout=timeout_s)


def _open_recognizer(stack: Stack) -> StreamingRecognizer:
    kind, _, rest = stack.recognizer.partition(":")
    opened = _RECOGNIZER_KINDS[kind](stack, rest)
    if stack.voice_emotion.startswith("emotion2vec"):
        from emolib.speech import Emotion2Vec, WithVoiceEmotion

        model = stack.voice_emotion.partition(":")[2]
        return WithVoiceEmotion(opened, Emotion2Vec(model) if model else Emotion2Vec())
    return opened


def _open_whisper(stack: Stack, model: str) -> StreamingRecognizer:
    from emolib.speech import WhisperRecognizer

    model = model or embedded_whisper(stack)
    language = None if stack.language == "auto" else stack.language
    return WhisperRecognizer(model, language=language, voice_emotion=hears_voice(stack))


def embedded_whisper(stack: Stack) -> str:
    """Return the size of Whisper that plain "whisper" stands for: tiny.en, which hears English only, or base."""
    return "base" if stack.language == "zh" else "tiny.en"


def hears_voice(stack: Stack) -> bool:
    """Whether the voice's emotion comes from our head, which knows the encoder of the bundled Whisper alone."""
    named = stack.recognizer == "whisper" and embedded_whisper(stack) == "tiny.en"
    return stack.voice_emotion == "encoder" and (named or stack.recognizer == "whisper:tiny.en")


def _open_funasr(stack: Stack, models: str) -> StreamingRecognizer:
    from emolib.speech import FunASRRecognizer, ParaformerStreaming

    model, *more = models.split("+")
    if is_streaming_model(model):
        return ParaformerStreaming(model)
    vad, punctuation = [*more, None, None][:2]
    return FunASRRecognizer(model, vad_model=vad, punc_model=punctuation, language=stack.language)


def is_streaming_model(model: str) -> bool:
    """Whether the FunASR model (a name or a folder) transcribes while somebody speaks."""
    config = expand_user(model) / "config.yaml"
    if config.is_file():
        return "ParaformerStreaming" in config.read_text(encoding="utf-8")
    return model.endswith("-streaming") or model.endswith("-online")


def _open_funasr_server(stack: Stack, _rest: str) -> StreamingRecognizer:
    from emolib.speech import FunASRServer

    return FunASRServer(stack.recognizer, api_key=os.environ.get("EMOLIB_FUNASR_KEY"))


def _open_transcription_server(stack: Stack, _rest: str) -> StreamingRecognizer:
    from emolib.speech import TranscriptionServer

    url, _, model = stack.recognizer.partition("#")
    language = None if stack.language == "auto" else stack.language
    return TranscriptionServer(url, **({"model": model} if model else {}), language=language)


_RECOGNIZER_KINDS: dict[str, Callable[[Stack, str], StreamingRecognizer]] = {
    "whisper": _open_whisper,
    "funasr": _open_funasr,
    "ws": _open_funasr_server,
    "wss": _open_funasr_server,
    "http": _open_transcription_server,
    "https": _open_transcription_server,
}


def _open_classifier(model: str) -> Classifier:
    from emolib.classify import EmotionClassifier

    classifier = EmotionClassifier.load(model)
    # The first prediction takes several times as long as the next ones, and somebody would wait for it.
    classifier.classify(["Hello."])
    return classifier


def _open_synthesizer(exits: ExitStack, stack: Stack) -> Synthesizer:
    from emolib.tts import SpeechSynthesizer, running_service

    url = speech_url(stack) or exits.enter_context(running_service())
    key = os.environ.get("EMOLIB_FISH_API_KEY" if stack.speech == "fish" else "EMOLIB_TTS_API_KEY")
    synthesizer = exits.enter_context(SpeechSynthesizer(url, key if speech_url(stack) else None, voice=stack.voice))
    if stack.voice:
        synthesizer.prepare_voice(stack.voice)
    return synthesizer


def speech_url(stack: Stack) -> str | None:
    """Return the address of the speech service that `stack` names, None for our own in a child process."""
    if stack.speech == "fish":
        return os.environ.get("EMOLIB_FISH_URL", _FISH_URL)
    return None if stack.speech == "own" else stack.speech


def _check_name(part: str, name: str, names: Sequence[str], prefixes: Sequence[str]) -> None:
    if name in names or any(name.startswith(prefix) and len(name) > len(prefix) for prefix in prefixes):
        return
    known = {
        "recognizer": _RECOGNIZERS, "voice_emotion": _VOICE_EMOTIONS, "reply": _REPLIES, "speech": _SPEECH,
        "language": ", ".join(_LANGUAGES),
    }[part]  # fmt: skip
    raise UsageError(f"unknown {part.replace('_', ' ')} {name!r}; use {known}")


def _is_adapter(name: str) -> bool:
    """Whether `name` is a folder, or a bundled adapter."""
    return expand_user(name).is_dir() or (name.isidentifier() and (_ADAPTERS / name).is_dir())


def _shown(value: Any) -> Any:
    """Return `value` without the user name and password of a URL."""
    if not isinstance(value, str) or "://" not in value or "@" not in value:
        return value
    scheme, _, rest = value.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


#: Stacks with a name: today's default, and the system of the paper.
NAMED_STACKS: dict[str, Stack] = {
    "embedded": Stack(),
    "paper": Stack(
        recognizer="funasr:paraformer-zh+fsmn-vad+ct-punc",
        emotion="runs/paper",
        voice_emotion="recognizer",
        reply="gpt",
        understanding=True,
        speech="fish",
        voice="speaker",
        language="auto",
    ),
}
