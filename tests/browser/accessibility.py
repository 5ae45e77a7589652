"""What axe-core finds in a page: faults that keep somebody from reading or using it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

__all__ = ["serious_faults"]

_AXE = Path(__file__).parents[1] / "page" / "node_modules" / "axe-core" / "axe.min.js"


def serious_faults(page: Any) -> list[str]:
    """The serious and critical faults of `page` by WCAG 2.2 AA, each with the first element that has it.

    Skips the test when axe-core is not installed.
    """
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: npm ci --prefix tests/page")
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })")
    return [
        f"{fault['id']} ({fault['help']}): {fault['nodes'][0]['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
