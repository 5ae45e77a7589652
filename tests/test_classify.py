"""The emotion classifier on torch: one pass over each text gives what the whole prompt gives."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import save_run, save_tiny_base

from emolib.classify import EmotionClassifier
from emolib.classify.torch_scorer import length_batches
from emolib.cli import main
from emolib.emotion_model import find_adapter, load_emotion_model, write_notes
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, ModelError, UsageError
from emolib.prompting.templates import PAPER

TEXTS = [
    "i feel so very alone tonight",
    "hello?",
    "What a day, I could sing! " * 6,
    "They left.",
    "Ünïcödé 你好 😀",
    "a",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classify")
    return save_run(folder / "run", save_tiny_base(folder / "base"))


@pytest.fixture(scope="module")
def classifier(run: Path) -> EmotionClassifier:
    return EmotionClassifier.load(run)


def whole_prompt_logits(run: Path, text: str) -> np.ndarray:
    """The scores of the labels' first tokens after the whole prompt, the plain way: no cache, no padding, unmerged."""
    import torch

    loaded = load_emotion_model(run)
    ids = loaded.tokenizer(PAPER.render(text.strip()), return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = loaded.model(ids).logits[0, -1]
    first = [loaded.tokenizer(label)["input_ids"][0] for label in EMOTIONS]
    return logits[first].numpy()


def test_scores_equal_those_of_the_whole_prompt_one_text_at_a_time(run, classifier):
    scores = classifier.scorer.label_logits(TEXTS)
    expected = np.stack([whole_prompt_logits(run, text) for text in TEXTS])
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_answers_do_not_depend_on_the_company_of_other_texts(classifier):
    together = classifier.classify(TEXTS)
    alone = [classifier.classify([text])[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert one.as_dict() == pytest.approx(other.as_dict(), abs=1e-4)


def test_blank_text_gives_every_label_the_same_and_abstains(classifier):
    blank, spoken = classifier.classify(["   ", "i feel fine"])
    assert set(blank.probabilities.values()) == {1 / 6}
    assert blank.abstained
    assert spoken.probabilities != blank.probabilities
    assert classifier.classify([]) == []


def test_lines_are_answered_while_the_input_is_still_open(classifier):
    read = []

    def lines() -> Iterator[str]:
        for number in range(20):
            read.append(number)
            yield f"line {number}\r\n"

    answers = classifier.classify_lines(lines())
    assert next(answers)[0] == "line 0"
    assert read == [0]
    assert [text for text, _ in answers] == [f"line {number}" for number in range(1, 20)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_stream_is_read_as_unicode_whatever_the_code_page_of_the_console(classifier, encoding):
    content = "sad café\r\n你好\n".encode(encoding)
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="cp1252")
    assert [text for text, _ in classifier.classify_lines(stream)] == ["sad café", "你好"]


def test_a_line_in_the_code_page_of_the_console_stops_nothing(classifier):
    stream = io.TextIOWrapper(io.BytesIO("one\nsad café\n".encode("cp1252")), encoding="cp1252")
    assert [text for text, _ in classifier.classify_lines(stream)] == ["one", "sad café"]
    stream = io.TextIOWrapper(io.BytesIO(b"one\nsad caf\xe9\n"), encoding="utf-8")
    assert [text for text, _ in classifier.classify_lines(stream)] == ["one", "sad caf\ufffd"]


def test_half_an_emoji_and_a_byte_order_mark_change_no_answer(classifier):
    plain = classifier.classify(["so happy today"])[0]
    for text in ("so happy today \ud83d", "\ufeffso happy today", "\ude00so happy today"):
        assert classifier.classify([text])[0] == plain
    assert list(classifier.classify_lines(["\ufeffso happy today \ud83d\n"])) == [("so happy today ", plain)]


def test_temperature_and_threshold_of_the_adapter_are_used(run, tmp_path):
    warm = save_run(tmp_path / "run", find_adapter(run).base)
    write_notes(warm / "adapter", temperature=10.0, abstain_below=0.99)
    cold, warmed = EmotionClassifier.load(run), EmotionClassifier.load(warm)
    before, after = cold.classify(["hello?"])[0], warmed.classify(["hello?"])[0]
    assert after.label == before.label
    assert after.confidence < before.confidence
    assert after.abstained


def test_run_adapter_and_base_are_told_apart(run):
    assert find_adapter(run).adapter == find_adapter(run / "adapter").adapter == run / "adapter"
    assert find_adapter("smollm2-135m").adapter is None
    base = find_adapter(find_adapter(run).base)
    assert base.adapter is None
    assert EmotionClassifier.load(base.base).classify(["hello?"])[0].label in EMOTIONS


def test_run_without_an_adapter_says_what_to_do(run, tmp_path):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(ModelError, match="emolib train"):
        EmotionClassifier.load(tmp_path)


def test_missing_folder_and_unknown_name_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        EmotionClassifier.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a run folder"):
        EmotionClassifier.load(str(tmp_path))
    with pytest.raises(UsageError, match="'everydayy'"):
        EmotionClassifier.load("everydayy")


def test_adapter_of_another_base_is_refused(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in (run / "adapter").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    write_notes(other, base_model={"name": "smollm2-135m"})
    with pytest.raises(ModelError, match="does not fit the base model smollm2-135m"):
        EmotionClassifier.load(other)
    write_notes(other, base_model={"name": "smollm2-135m", "sha256": "0" * 64})
    with pytest.raises(ModelError, match="trained on another smollm2-135m"):
        EmotionClassifier.load(other)


def test_adapter_whose_base_is_elsewhere_says_what_to_do(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in (run / "adapter").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/content/my-model"
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(
        ModelError, match=r"base model in /content/my-model, which is not on this machine; copy"
    ) as raised:
        find_adapter(other)
    advice = str(raised.value).partition("write ")[2].partition(" into ")[0]
    write_notes(other, **json.loads(advice.replace("its new path", find_adapter(run).base)))
    assert find_adapter(other).base == find_adapter(run).base
    write_notes(other, base_model={"name": "unsloth/Qwen2.5-7B-bnb-4bit"})
    assert find_adapter(other).base == "qwen2.5-7b"


def test_damaged_adapter_is_named(run, tmp_path):
    damaged = save_run(tmp_path / "run", find_adapter(run).base)
    weights = damaged / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        EmotionClassifier.load(damaged)


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    batches = list(length_batches(lengths, budget))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or max(lengths[row] for row in rows) * len(rows) <= budget


def test_command_writes_a_json_line_for_each_line(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("i feel fine\n\nthey left\n"))
    assert main(["classify", "--model", str(run)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["i feel fine", "", "they left"]
    assert rows[0]["label"] in EMOTIONS
    assert rows[1]["label"] is None
    assert sum(rows[2]["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main(["classify", "--model", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_one_text_is_judged_on_one_core_and_many_on_all(run: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    import emolib.prompting.prefix as shared_prefix

    classifier, cores, before = EmotionClassifier.load(run), [], torch.get_num_threads()
    judge = shared_prefix.label_scores
    monkeypatch.setattr(
        shared_prefix, "label_scores", lambda *rest: cores.append(torch.get_num_threads()) or judge(*rest)
    )
    torch.set_num_threads(2)
    try:
        classifier.classify(["They left."])
        classifier.classify(["They left."] * 40)
        assert cores == [1, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
