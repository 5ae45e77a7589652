"""`emolib voice add`, `list`, `play` and `remove`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emolib.cli.options import argument, command, option
from emolib.emotions import EMOTIONS

__all__ = ["voice_add", "voice_list", "voice_play", "voice_remove"]


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """The clip, and what is known of it."""

    name: str = argument("the voice; a new name makes a new voice")
    clip: Path | None = argument("a recording (default: record the microphone)", None)
    text: str = option("what is said in it (default: what the recognizer hears)", "", metavar="TEXT")
    emotion: str | None = option("the emotion it is spoken with (default: none)", None, choices=EMOTIONS)
    seconds: float = option("length of a new recording", 10.0)


@command(AddOptions)
def voice_add(options: AddOptions) -> None:
    """Add a clip to a voice."""
    from emolib.audio import read_audio
    from emolib.speech import WhisperRecognizer
    from emolib.tts import VoiceLibrary, add_voice_clip

    if options.clip is None:
        from emolib.tts.audition import record

        print(f"speak now, for {options.seconds:g} s …")
        clip = record(options.seconds)
    else:
        clip = read_audio(options.clip)
    added = add_voice_clip(
        VoiceLibrary(), options.name, clip, WhisperRecognizer(), text=options.text, emotion=options.emotion
    )
    print(f"{options.name}: {added.seconds:.1f} s for {added.emotion or 'any emotion'}: {added.text}")


@command()
def voice_list() -> None:
    """List the voices."""
    from emolib.tts import VoiceLibrary

    print(VoiceLibrary().table())


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """The voice, and which of its clips."""

    name: str = argument("the voice")
    emotion: str | None = option("the clip for this emotion (default: each)", None, choices=EMOTIONS)


@command(PlayOptions)
def voice_play(options: PlayOptions) -> None:
    """Play a voice."""
    from emolib.tts import VoiceLibrary
    from emolib.tts.audition import play

    for clip in VoiceLibrary().open(options.name).sounds(options.emotion):
        play(clip)


@dataclass(frozen=True, kw_only=True)
class RemoveOptions:
    """The voice."""

    name: str = argument("the voice")


@command(RemoveOptions)
def voice_remove(options: RemoveOptions) -> None:
    """Delete a voice."""
    from emolib.tts import VoiceLibrary

    VoiceLibrary().remove(options.name)
    print(f"{options.name} is removed")
