"""The classifier on Ray: two workers give what one process gives, and a worker that dies takes nothing with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import save_run, save_tiny_base
from tiny_models import SENTENCES

from emolib.classify import EmotionClassifier, classify_dataset
from emolib.errors import UsageError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r environments/scale.txt")

TEXTS = [f"{sentence} {number}" for number in range(40) for sentence in SENTENCES]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, with nothing sent anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    return save_run(folder / "run", save_tiny_base(folder / "base"))


def dataset() -> Any:
    rows = [{"line": line, "text": text} for line, text in enumerate(TEXTS)]
    return ray.data.from_items(rows, override_num_blocks=8)


def kill_a_worker() -> None:
    import psutil

    workers = [process for process in psutil.process_iter(["cmdline"]) if _is_worker(process)]
    assert len(workers) == 2, "both workers are at work"
    workers[0].kill()


def _is_worker(process: Any) -> bool:
    return "MapWorker" in " ".join(process.info["cmdline"] or [])


def test_two_workers_give_the_labels_of_one_process_though_one_is_killed(cluster: None, run: Path):
    expected = EmotionClassifier.load(run).classify(TEXTS)
    found = {}
    for batch in classify_dataset(dataset(), run, batch_size=16).iter_batches(batch_size=16, prefetch_batches=0):
        if not found:
            kill_a_worker()
        rows = zip(batch["line"].tolist(), batch["label"].tolist(), batch["joy"].tolist(), strict=True)
        found |= {line: (label, joy) for line, label, joy in rows}
    assert sorted(found) == list(range(len(TEXTS)))
    assert [found[line][0] for line in range(len(TEXTS))] == [scores.label for scores in expected]
    assert [found[line][1] for line in range(len(TEXTS))] == pytest.approx(
        [scores.probabilities["joy"] for scores in expected], abs=1e-4
    )


def test_a_pool_has_a_worker():
    with pytest.raises(UsageError, match="at least one worker"):
        classify_dataset(None, workers=0)
