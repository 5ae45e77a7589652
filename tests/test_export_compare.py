"""The files of an export side by side with the run on torch, and what the notebook draws of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs import save_convertible_base, save_run

from emolib import sample_corpus
from emolib.errors import DeviceError
from emolib.export import compare_files, export_gguf, first_weights
from emolib.models import load_base, resolve_base
from emolib.plots import quantised_files, rounding


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    base = save_convertible_base(folder / "tiny")
    run = save_run(folder / "run", base, sha256=resolve_base(base).sha256, strength=0.1)
    export_gguf(run, folder / "gguf", ["q4_k_m", "f16"])
    return run


def test_the_run_comes_first_and_then_the_files_from_large_to_small(run: Path) -> None:
    found = compare_files(run, run.parent / "gguf", sample_corpus("test"), texts=24)
    assert [row.name for row in found.rows] == ["torch, float32", "GGUF f16", "GGUF q4_k_m"]
    torch, whole, small = found.rows
    assert torch.megabytes > whole.megabytes > small.megabytes
    assert (torch.same_label, whole.same_label) == (1.0, pytest.approx(1.0, abs=0.05))
    assert all(row.texts_per_second > 0 for row in found.rows)
    table = repr(found.table())
    assert "24 of 24" in table
    assert "bits a weight" in table
    assert quantised_files(found.as_dicts()).points[0][0] == "torch, float32"


def test_where_no_memory_holds_the_run_the_largest_file_is_the_reference(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DeviceError("no memory")

    monkeypatch.setattr("emolib.export.compare.load_where_it_fits", refuse)
    found = compare_files(run, run.parent / "gguf", texts=6)
    assert [row.name for row in found.rows] == ["GGUF f16", "GGUF q4_k_m"]
    assert found.rows[0].same_label == 1.0


def test_the_first_weights_are_the_base_models(run: Path) -> None:
    model, _ = load_base(run.parent / "tiny")
    expected = model.model.layers[0].mlp.down_proj.weight.flatten()[:32].detach().numpy()
    found = first_weights(run)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    chart = rounding(found, {8: found, 4: found})
    assert chart.columns == ("weight", "value", "in 8 bits", "in 4 bits")
    assert len(chart.points) == 32
