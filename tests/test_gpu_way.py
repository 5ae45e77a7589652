"""The notebooks' way on a GPU, cell by cell, without a GPU: a hub in a box, and stand-ins for Unsloth and Colab.

The stand-ins (tests/stand_ins) have the names, parameters and order of imports of the real ones; the model is tiny.
What they cannot show is speed, memory and 4-bit arithmetic.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hub_in_a_box import fill_hub, hub_in_a_box
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from emolib.finetune import RunFolder

ROOT = Path(__file__).parent.parent
STAND_INS = Path(__file__).parent / "stand_ins"
NOTEBOOKS = [path for number in range(1, 6) for path in sorted((ROOT / "notebooks").glob(f"0{number}_*.ipynb"))]


def colab(url: str, cache: Path, **more: str) -> dict[str, str]:
    """The environment of a kernel in Colab with a T4, whose hub is at `url`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    return {
        **kept,
        "EMOLIB_WAY": "gpu",
        "EMOLIB_STEPS": "4",
        "EMOLIB_STAND_IN_COLAB": "1",
        "HF_ENDPOINT": url,
        "HF_HOME": str(cache),
        "PYTHONPATH": os.pathsep.join([str(STAND_INS), str(ROOT), *sys.path]),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        **more,
    }


def run_notebook(path: Path, folder: Path, environment: dict[str, str]) -> Any:
    """Run every code cell but the one that installs, in a kernel of its own that works in `folder`."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "google.colab" not in cell.source]
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def texts(notebook: Any) -> str:
    """What the cells printed and showed, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.timeout(600)
def test_every_cell_of_the_papers_way_runs(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures").symlink_to(ROOT / "figures")
    printed = {}
    with hub_in_a_box(fill_hub(tmp_path / "hub")) as hub:
        environment = colab(hub.url, tmp_path / "cache")
        for path in NOTEBOOKS:
            started = time.monotonic()
            try:
                printed[path.stem[:2]] = texts(run_notebook(path, tmp_path / "notebooks", environment))
            except CellExecutionError as error:
                pytest.fail(f"{path.name}: {error}")
            print(f"{path.name}: {time.monotonic() - started:.0f} s")
    run = RunFolder.open(next((tmp_path / "runs").glob("lesson-gpu/run")))
    assert run.config["engine"] == "unsloth"
    assert run.config["settings"]["loss_on"] == "all"
    assert run.config["precision"]["dtype"] == "float16"
    assert "The gpu way" in printed["02"]
    assert list((tmp_path / "runs" / "lesson-gpu" / "gguf").glob("*q4_k_m.gguf"))


def test_a_gpu_of_4_gb_takes_the_embedded_way_and_says_so_if_the_other_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_code_cell("from emolib import lesson\nchosen = lesson()")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    environment = colab("http://127.0.0.1:9", tmp_path / "cache", EMOLIB_STAND_IN_GB="4")
    with pytest.raises(CellExecutionError, match="this GPU has 4 GB; in Colab choose"):
        run_notebook(tmp_path / "one.ipynb", tmp_path / "notebooks", environment)
    environment["EMOLIB_WAY"] = "auto"
    assert "The embedded way" in texts(run_notebook(tmp_path / "one.ipynb", tmp_path / "notebooks", environment))


def test_the_order_of_imports_that_unsloth_asks_for_is_held_by_the_stand_in(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("import transformers\nimport unsloth")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    with pytest.raises(CellExecutionError, match="transformers was imported before unsloth"):
        run_notebook(tmp_path / "one.ipynb", tmp_path, colab("http://127.0.0.1:9", tmp_path / "cache"))
