"""The cell that installs emolib in Colab, the same in every notebook, and what else Colab asks of a notebook.

    python tools/install_cell.py             say what differs
    python tools/install_cell.py --write     write it: the cell, the GPU that a notebook asks for, links of pictures

A picture of this repository is linked by its address on the web: a copy of the notebook in Drive has no repository
around it. The address is that of pyproject.toml (tools/address.py).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from address import ROOT, address

#: By a notebook's number: what is installed for it, a key of NEEDS in colab_setup.py. Others need everything.
_NEEDS = {"01": "data", "02": "train", "03": "train", "04": "train", "05": "export"}
_ON_A_GPU = ("02", "03", "04", "05")
_CELL = """\
import sys  # in Colab this fetches emolib and installs what this notebook needs; elsewhere it does nothing

if "google.colab" in sys.modules:
    import os, subprocess
    if os.path.basename(os.getcwd()) != "notebooks":
        os.path.exists("emolib-repository") or subprocess.run(["git", "clone", "-q", "--depth=1", "https://github.com/{slug}", "emolib-repository"], check=True)
        os.chdir("emolib-repository/notebooks")
    sys.path.insert(0, "../tools")
    from colab_setup import install; install("{need}")"""  # noqa: E501
_PICTURE = re.compile(r"(!\[[^]]*\]\()(?:\.\./|https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/main/)")


def cell_for(name: str, slug: str) -> str:
    """The source of the install cell of the notebook `name`."""
    return _CELL.format(slug=slug, need=_NEEDS.get(name[:2], "voice"))


def stamped(notebook: dict[str, Any], name: str, slug: str) -> dict[str, Any]:
    """A copy of `notebook` with everything written that Colab needs."""
    copy = json.loads(json.dumps(notebook))
    for cell in copy["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "google.colab" in source and "sys.modules" in source:
            source = cell_for(name, slug)
        elif cell["cell_type"] == "markdown":
            source = _PICTURE.sub(rf"\g<1>https://raw.githubusercontent.com/{slug}/main/", source)
        cell["source"] = source.splitlines(keepends=True)
    if name[:2] in _ON_A_GPU:
        colab = {**copy["metadata"].get("colab", {}), "gpuType": "T4"}
        copy["metadata"] = dict(sorted({**copy["metadata"], "accelerator": "GPU", "colab": colab}.items()))
    return copy


def main(arguments: list[str]) -> int:
    """Say or write what differs; the exit status."""
    differing = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        right = stamped(notebook, path.name, address())
        if notebook != right:
            differing.append(path.name)
            if "--write" in arguments:
                path.write_text(json.dumps(right, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    done = "written" if "--write" in arguments else "differs; write it with: python tools/install_cell.py --write"
    print("\n".join(f"{name}: {done}" for name in differing) or "the install cell is the same everywhere")
    return bool(differing) and "--write" not in arguments


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
