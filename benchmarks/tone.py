"""Words and voice together: `python -m benchmarks.tone [--quick] [--json FILE]`.

Acted clips (`speech_acted/` in EMOLIB_DATA, by default ../shared/data) of two neutral sentences, judged by voice heads
that never met the actor, and forty sentences with clear words. Figures:

- `manner_follows_voice`: clips spoken strongly that are answered in the manner of the actor's emotion;
  `manner_from_words_alone`: the same without the voice.
- `plain_voice_neutral`: clips spoken plainly or calmly that are answered neutrally.
- `text_label_kept`: clear sentences, spoken by the embedded voice in a neutral tone, that keep their words' label;
  `text_label_kept_against_voice`: the same words with the voices of actors who mean something else.
- `contradictions_named`: glad words in an unhappy voice, and the reverse, that are named as a contradiction;
  `false_contradictions`: those that are named in the neutral voice.
- `fused_calibration_error`: expected calibration error of the fused scores on emotional clips;
  `fused_calibration_error_answered`: on all clips that are answered in the manner of an emotion.

Rows: by emotion and strength.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._acted_speech import Acted, acted_clips, spoken_part
from benchmarks._noisy_speech import RATE
from benchmarks._report import Report, run
from benchmarks._voice_head import calibration_error, encoder, unmet_head
from emolib.audio import AudioClip
from emolib.classify import EmotionClassifier
from emolib.dialogue.policy import NEUTRAL_STYLE, RESPONSE_STYLES, choose_style
from emolib.emotions import DEFAULT_EMOTION_MODEL, EMOTIONS, NEUTRAL
from emolib.labels import EmotionScores
from emolib.models import piper_voice
from emolib.speech import NoSpeech, WhisperRecognizer, contradiction, fuse

PACKAGES = ("emolib", "faster-whisper", "piper-tts", "torch", "numpy")

#: Written for this benchmark: whoever reads them knows the emotion.
CLEAR_SENTENCES = {
    "sadness": (
        "I miss my grandmother so much that I cry every evening.",
        "Nobody came to my birthday, and I feel so alone.",
        "My dog died last night, and the house is empty without him.",
        "I feel hopeless and broken since she left me.",
        "It hurts so much to see his chair empty.",
        "I have been crying all day and I cannot stop.",
        "I am heartbroken that our friendship is over.",
        "I feel so lonely and sad in this city.",
    ),
    "joy": (
        "I am so happy that I could dance all night!",
        "We won the match, and everybody is cheering!",
        "This is the best day of my life!",
        "I passed all my exams and I feel wonderful.",
        "I am thrilled that I got the job!",
        "What a delightful party, we laughed so much!",
        "I am so glad that the holiday starts tomorrow!",
        "The baby smiled at me, and I felt pure happiness.",
    ),
    "love": (
        "I love you with all my heart.",
        "You mean the world to me, my darling.",
        "I adore my wife more every day.",
        "Holding her hand, I feel so much tenderness for her.",
    ),
    "anger": (
        "I am furious that they lied to me again!",
        "How dare he shout at my mother like that!",
        "I hate it when they cheat and get away with it.",
        "This is outrageous, they stole my money!",
        "I am so angry at my boss that I could scream.",
        "I am sick of his rude and insulting remarks!",
        "They broke my window and laughed about it, I am livid!",
        "It makes me mad that nobody ever apologises.",
    ),
    "fear": (
        "I am terrified that somebody is in the house.",
        "I am scared of the operation tomorrow.",
        "My hands are shaking, I am so afraid of the dark.",
        "I am frightened that the plane will crash.",
        "I am anxious and afraid that I will lose my job.",
        "Something is following me, and I am scared to turn around.",
        "I panic whenever I have to speak in front of people.",
        "I am worried sick that my son will not come back.",
    ),
    "surprise": (
        "Wow, I never expected to see you here!",
        "I was amazed when the lights came on and everybody shouted!",
        "I am astonished that they chose me, I had no idea!",
        "What? I cannot believe that it snowed in June, how strange!",
    ),
}

_SAD_VOICES, _GLAD_VOICES = ("sadness", "anger", "fear"), ("joy",)
_GLAD_WORDS = ("joy", "love")


@dataclass(frozen=True)
class Heard:
    """An acted clip: what its words say, and what the voice says by a head that never met the actor."""

    clip: Acted
    words: EmotionScores
    voice: Mapping[str, float]

    @property
    def fused(self) -> EmotionScores:
        return fuse(self.words, self.voice)


def measure(report: Report, quick: bool) -> None:
    """Fill the report."""
    classifier = EmotionClassifier.load(DEFAULT_EMOTION_MODEL)
    clips = acted_clips()
    heard = hear(clips[::7] if quick else clips, classifier)
    measure_manner(report, heard)
    measure_clear_words(report, classifier, heard, every=4 if quick else 1)


def hear(clips: Sequence[Acted], classifier: EmotionClassifier) -> list[Heard]:
    """Recognise clips as the endpointer cuts them; of one without a transcript the words say nothing."""
    whisper, encode = WhisperRecognizer(), encoder().encode
    sounds = [AudioClip(spoken_part(each.clip.samples), RATE) for each in clips]
    texts = [_text(whisper, sound) for sound in sounds]
    known = sorted(set(texts))
    words = dict(zip(known, classifier.classify(known), strict=True))
    return [
        Heard(clip, words[text], unmet_head(clip.actor).probabilities(encode(sound.samples)))
        for clip, text, sound in zip(clips, texts, sounds, strict=True)
    ]


def measure_manner(report: Report, heard: Sequence[Heard]) -> None:
    """Whether a neutral sentence is answered in the manner of the emotion it was spoken in."""
    emotional = [each for each in heard if each.clip.label != NEUTRAL]
    strong = [each for each in emotional if each.clip.strength == "strong"]
    plain = [each for each in heard if each.clip.label == NEUTRAL]
    report.figures["manner_follows_voice"] = manner_share([(each.fused, each.clip.label) for each in strong])
    report.figures["manner_from_words_alone"] = manner_share([(each.words, each.clip.label) for each in strong])
    report.figures["plain_voice_neutral"] = manner_share([(each.fused, NEUTRAL) for each in plain])
    report.figures["fused_calibration_error"] = _calibration_error(emotional)
    report.figures["fused_calibration_error_answered"] = _calibration_error(
        [each for each in heard if not each.fused.abstained]
    )
    for strength in ("normal", "strong"):
        for label in sorted({each.clip.label for each in heard}):
            chosen = [each for each in heard if (each.clip.label, each.clip.strength) == (label, strength)]
            if chosen:
                row = {"what": f"neutral words, {strength} voice", "name": label, "clips": len(chosen)}
                row["manner follows"] = manner_share([(each.fused, label) for each in chosen])
                row["from words"] = manner_share([(each.words, label) for each in chosen])
                row["answered neutrally"] = _share(each.fused.abstained for each in chosen)
                report.rows.append(row)


def measure_clear_words(report: Report, classifier: EmotionClassifier, heard: Sequence[Heard], every: int) -> None:
    """Whether clear words keep their label, in a neutral voice and against another one."""
    meant = [label for label, texts in CLEAR_SENTENCES.items() for _ in texts][::every]
    spoken = _spoken([text for texts in CLEAR_SENTENCES.values() for text in texts][::every])
    whisper = WhisperRecognizer(voice_emotion=True)
    transcripts = [whisper.transcribe(clip) for clip in spoken]
    words = classifier.classify([each.text for each in transcripts])
    fused = [fuse(said, each.voice_emotion) for said, each in zip(words, transcripts, strict=True)]
    report.figures["text_label_kept"] = _share(
        both.label == said.label and both.abstained == said.abstained for both, said in zip(fused, words, strict=True)
    )
    row = {"what": "clear words, neutral voice", "name": "all", "clips": len(words)}
    row["words as meant"] = _share(said.label == label for said, label in zip(words, meant, strict=True))
    voices = [each.voice_emotion for each in transcripts]
    row["voice neutral"] = _share(max(voice, key=voice.get) == NEUTRAL for voice in voices)
    report.rows.append(row)
    report.figures["false_contradictions"] = _share(
        contradiction(said, voice) is not None for said, voice in zip(words, voices, strict=True)
    )
    _measure_against(report, words, heard)


def _measure_against(report: Report, words: Sequence[EmotionScores], heard: Sequence[Heard]) -> None:
    strong = [each for each in heard if each.clip.strength == "strong"]
    clear = [said for said in words if not said.abstained]
    others = [(said, each.voice) for said in clear for each in strong if each.clip.label != said.label]
    report.figures["text_label_kept_against_voice"] = _share(
        fuse(said, voice).label == said.label for said, voice in others
    )
    opposite = [(said, each.voice) for said in clear for each in strong if each.clip.label in _opposite(said.label)]
    report.figures["contradictions_named"] = _share(contradiction(*pair) is not None for pair in opposite)


def manner_share(scored: Sequence[tuple[EmotionScores, str]]) -> float:
    """Return the share of scores that are answered in the manner of the emotion beside them ("neutral" included)."""
    manners = {label: RESPONSE_STYLES[label, None].tone for label in EMOTIONS} | {NEUTRAL: NEUTRAL_STYLE.tone}
    return _share(choose_style([scores]).tone == manners[label] for scores, label in scored)


def _opposite(label: str) -> tuple[str, ...]:
    if label in _GLAD_WORDS:
        return _SAD_VOICES
    return _GLAD_VOICES if label in _SAD_VOICES else ()


def _text(whisper: WhisperRecognizer, clip: AudioClip) -> str:
    try:
        return whisper.transcribe(clip).text
    except NoSpeech:
        return ""


def _spoken(texts: Sequence[str]) -> list[AudioClip]:
    from piper import PiperVoice

    voice = PiperVoice.load(str(piper_voice()))
    sounds = [np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(text)]) for text in texts]
    return [AudioClip(sound, voice.config.sample_rate) for sound in sounds]


def _calibration_error(heard: Sequence[Heard]) -> float:
    fused = [each.fused for each in heard]
    confidence = np.array([scores.confidence for scores in fused])
    right = np.array([scores.label == each.clip.label for scores, each in zip(fused, heard, strict=True)])
    return round(calibration_error(confidence, right), 3)


def _share(found: Iterable[bool]) -> float:
    return round(statistics.mean(found), 3)


if __name__ == "__main__":
    sys.exit(run(measure, "tone", PACKAGES))
