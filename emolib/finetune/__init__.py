"""Fine-tuning: the settings, the batches, shared-prefix training, and the run folder that comes out.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "PRESETS": "emolib.finetune.presets",
        "RunFolder": "emolib.finetune.run_folder",
        "TrainSettings": "emolib.finetune.settings",
        "Plan": "emolib.finetune.planning",
        "compare_losses": "emolib.finetune.run_folder",
        "compare_plans": "emolib.finetune.planning",
        "plan": "emolib.finetune.planning",
        "get_task": "emolib.finetune.tasks",
        "parse_settings": "emolib.finetune.settings",
        "preset": "emolib.finetune.presets",
        "train": "emolib.finetune.trainer",
    },
)
