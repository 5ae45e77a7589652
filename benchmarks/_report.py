"""What every benchmark shares: its options, the machine it ran on, and its report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emolib.errors import EmolibError

__all__ = ["Report", "run"]


class Report:
    """The figures and rows of one benchmark."""

    def __init__(self, name: str, packages: Sequence[str]) -> None:
        self.name = name
        self.figures: dict[str, float] = {}
        self.rows: list[dict[str, Any]] = []
        self._packages = packages

    def as_dict(self) -> dict[str, Any]:
        """The form that later comparisons read."""
        return {
            "benchmark": self.name,
            "machine": machine(),
            "versions": {name: _version(name) for name in self._packages},
            "figures": self.figures,
            "rows": self.rows,
        }

    def table(self) -> str:
        """Figures and rows for people."""
        lines = [f"{self.name}: {value}" for value in (machine_line(),)]
        lines += [f"  {name:<28} {_shown(value)}" for name, value in self.figures.items()]
        if self.rows:
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            cells = [names, *([_shown(row.get(name, "")) for name in names] for row in self.rows)]
            widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
            lines += [
                "",
                *("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells),
            ]
        return "\n".join(line.rstrip() for line in lines)


def run(measure: Callable[[Report, bool], None], name: str, packages: Sequence[str]) -> int:
    """Parse the options, measure, print the table and write the JSON file. `measure` gets the report and --quick."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, the same figures")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    options = parser.parse_args()
    report = Report(name, packages)
    try:
        measure(report, options.quick)
    except EmolibError as error:
        print(f"benchmarks.{name}: {error}", file=sys.stderr)
        return 1
    print(report.table())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return 0


def machine() -> dict[str, Any]:
    """Processor, cores, memory and Python of this machine."""
    import psutil

    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def machine_line() -> str:
    """The machine in a line."""
    found = machine()
    return f"{found['cpu']}, {found['cores']} cores, {found['memory_gb']} GB, Python {found['python']}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
