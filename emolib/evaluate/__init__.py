"""Judging a fine-tuned model beside its base: strict exact match, calibration, significance, and dialogue.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Metrics": "emolib.evaluate.run",
        "answer_three_ways": "emolib.evaluate.continuity",
        "before_and_after": "emolib.evaluate.before_after",
        "line_up": "emolib.evaluate.line_up",
        "project_hidden_states": "emolib.evaluate.hidden_states",
        "read_errors": "emolib.evaluate.errors",
        "calibrate_run": "emolib.evaluate.run",
        "compare_runs": "emolib.evaluate.compare",
        "evaluate_run": "emolib.evaluate.run",
        "measure_continuity": "emolib.evaluate.continuity",
    },
)
