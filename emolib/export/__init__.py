"""Export: a run as GGUF files for llama.cpp, with a manifest and proof that the files are the model.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Manifest": "emolib.export.manifest",
        "QUANTISATIONS": "emolib.llama.tools",
        "compare_files": "emolib.export.compare",
        "export_gguf": "emolib.export.gguf",
        "export_safetensors": "emolib.export.transformers_folder",
        "first_weights": "emolib.export.merge",
        "open_llm_server": "emolib.export.serving",
        "serve_llm": "emolib.export.serving",
        "verify_export": "emolib.export.verify",
    },
)
