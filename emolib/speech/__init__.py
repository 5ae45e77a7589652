"""Hearing: sources, voice activity and ambient noise, recognisers, playback.

Inside the library sound is float32 mono in [-1, 1] with its sample rate (`emolib.audio.AudioClip`);
other forms exist at the edges only. The names below are loaded when they are first used.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "NoiseProfile": "emolib.speech.noise",
        "AudioSink": "emolib.speech.sinks",
        "AudioSource": "emolib.speech.sources",
        "Emotion2Vec": "emolib.speech.funasr",
        "EndpointSettings": "emolib.speech.endpointing",
        "Endpointer": "emolib.speech.endpointing",
        "FalseAlarm": "emolib.speech.listening",
        "FileSource": "emolib.speech.sources",
        "FsmnVad": "emolib.speech.funasr",
        "FunASRServer": "emolib.speech.funasr_server",
        "FunASRRecognizer": "emolib.speech.funasr",
        "FusedDetector": "emolib.speech.vad",
        "FusionWeights": "emolib.speech.voice_emotion",
        "Transcribed": "emolib.speech.listening",
        "NoSpeech": "emolib.speech.transcript",
        "NullSink": "emolib.speech.sinks",
        "OrderedPlayer": "emolib.speech.playback",
        "ParaformerStreaming": "emolib.speech.funasr",
        "Partial": "emolib.speech.listening",
        "PartialTranscripts": "emolib.speech.partials",
        "Played": "emolib.speech.playback",
        "PyAudioSink": "emolib.speech.sinks",
        "PyAudioSource": "emolib.speech.sources",
        "QueueSource": "emolib.speech.sources",
        "RecognitionStream": "emolib.speech.transcript",
        "SmartTurn": "emolib.speech.turn",
        "SileroDetector": "emolib.speech.vad",
        "SoundDeviceSink": "emolib.speech.sinks",
        "SoundDeviceSource": "emolib.speech.sources",
        "SpeechEnd": "emolib.speech.endpointing",
        "SpeechLikely": "emolib.speech.listening",
        "SpeechRecognizer": "emolib.speech.transcript",
        "SpeechStart": "emolib.speech.endpointing",
        "StreamingRecognizer": "emolib.speech.transcript",
        "Transcript": "emolib.speech.transcript",
        "TranscriptionServer": "emolib.speech.transcription_server",
        "TurnDetector": "emolib.speech.turn",
        "NoTranscript": "emolib.speech.listening",
        "VoiceDetector": "emolib.speech.vad",
        "WavSink": "emolib.speech.sinks",
        "WebRtcDetector": "emolib.speech.vad",
        "WhisperRecognizer": "emolib.speech.whisper",
        "WithVoiceEmotion": "emolib.speech.with_voice_emotion",
        "Word": "emolib.speech.transcript",
        "best_detector": "emolib.speech.vad",
        "best_turn_detector": "emolib.speech.turn",
        "calibrate": "emolib.speech.calibration",
        "contradiction": "emolib.speech.voice_emotion",
        "fit_fusion": "emolib.speech.voice_emotion",
        "fuse": "emolib.speech.voice_emotion",
        "listen": "emolib.speech.listening",
        "utterances": "emolib.speech.listening",
    },
)
