"""The hub in a box answers the real clients as the real hub does, and refusals are sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_in_a_box import CARER_ORDER, Hub, fill_hub, hub_in_a_box

from emolib.data.hub import read_hub
from emolib.errors import StorageError
from emolib.models import load_base


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def hub(repositories: Path) -> Iterator[Hub]:
    with hub_in_a_box(repositories, gated=["Qwen/Qwen2.5-3B", "dair-ai/gated"]) as hub:
        yield hub


def asked(url: str, cache: Path, code: str) -> str:
    """What `code` prints in a process whose hub is at `url` and whose cache is empty."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_and_data_sets_come_through_the_clients_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    code = """if True:
        import json
        from datasets import load_dataset
        from huggingface_hub import HfApi, hf_hub_download
        from emolib.hub import hub_state
        from emolib.models import load_base, resolve_base
        model, tokenizer = load_base("qwen2.5-7b")
        rows = load_dataset("dair-ai/emotion")
        all_rows = load_dataset("dair-ai/emotion", "unsplit")
        print(json.dumps({
            "state": hub_state(), "type": model.config.model_type, "tokens": len(tokenizer),
            "commit": HfApi().model_info("Qwen/Qwen2.5-7B").sha == resolve_base("qwen2.5-7b").revision,
            "file": hf_hub_download("unsloth/Qwen2.5-7B-bnb-4bit", "config.json")[-11:],
            "rows": {split: len(part) for split, part in rows.items()}, "all": len(all_rows["train"]),
            "names": rows["train"].features["label"].names,
        }))
    """
    found = json.loads(asked(hub.url, tmp_path, code).splitlines()[-1])
    assert found == {
        "state": "answers",
        "type": "qwen2",
        "tokens": 2000,
        "commit": True,
        "file": "config.json",
        "rows": {"train": 604, "validation": 100, "test": 120},
        "all": 824,
        "names": list(CARER_ORDER),
    }
    assert any(line.startswith("GET /Qwen/Qwen2.5-7B/resolve/") for line in hub.asked)


SAID = """if True:
    from emolib.errors import EmolibError
    from emolib import clean_corpus
    from emolib.models import load_base
    try:
        {code}
    except EmolibError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("load_base('qwen2.5-3b')", "ModelError qwen2.5-3b is not on this machine and the model hub cannot give it"),
        ("load_base('qwen2.5-1.5b')", "ModelError qwen2.5-1.5b is not on this machine and the model hub cannot give"),
        ("clean_corpus(['dair-ai/gated'], 'out')", "InputError the data set dair-ai/gated is gated: accept"),
        ("clean_corpus(['dair-ai/nothing'], 'out')", "InputError the hub has no data set dair-ai/nothing"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub: Hub, tmp_path: Path, code: str, said: str) -> None:
    printed = asked(hub.url, tmp_path, SAID.format(code=code)).strip()
    assert printed.startswith(said[:60])
    assert len(printed.splitlines()) == 1
    if "3b" in code or "gated" in code:
        assert "accept" in printed
        assert "hf auth login" in printed


@pytest.mark.parametrize("code", ["load_base('qwen2.5-7b')", "clean_corpus(['dair-ai/emotion'], 'out')"])
def test_a_hub_that_is_down_is_one_sentence(tmp_path: Path, code: str) -> None:
    printed = asked("http://127.0.0.1:9", tmp_path, SAID.format(code=code)).strip()
    assert "http://127.0.0.1:9 does not answer" in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("patched", "call", "error"),
    [
        ("huggingface_hub.snapshot_download", lambda: load_base("qwen2.5-7b"), OSError(28, "No space left on device")),
        (
            "huggingface_hub.snapshot_download",
            lambda: load_base("qwen2.5-7b"),
            RuntimeError("No space left"),
        ),
        ("datasets.load_dataset", lambda: read_hub("dair-ai/emotion"), OSError("Not enough disk space. Needed: 1 GB")),
    ],
)
def test_a_full_disk_is_one_sentence(
    patched: str, call: Callable[[], Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    for module in ("emolib.models", "emolib.data.hub"):
        monkeypatch.setattr(f"{module}.hub_problem", lambda: None)
    monkeypatch.setattr("emolib.data.hub.hub_is_offline", lambda: False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", False)
    monkeypatch.setattr(patched, full)
    with pytest.raises(StorageError, match=r"no space left for the download .* HF_HOME"):
        call()
