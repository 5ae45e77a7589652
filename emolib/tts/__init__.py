"""Speaking: an HTTP service with synthesis engines behind it, the client, voiceprints and emotion markers.

The client needs requests alone. The engines, and with them Piper (GPL-3.0-or-later), are imported
only in the process of the service.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "OrderedSpeech": "emolib.tts.order",
        "SpeechRequest": "emolib.tts.client",
        "Rendering": "emolib.tts.client",
        "SpeechSynthesizer": "emolib.tts.client",
        "VoiceLibrary": "emolib.tts.voiceprints",
        "add_voice_clip": "emolib.tts.voiceprints",
        "running_service": "emolib.tts.server",
        "serve": "emolib.tts.server",
        "speak_in_order": "emolib.tts.order",
    },
)
