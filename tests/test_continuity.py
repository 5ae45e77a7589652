"""Talking after fine-tuning: the adapter switched off is the base model again, and the figures say what they name."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from runs import save_run, save_tiny_base

from emolib.cli import main
from emolib.emotion_model import AdapterSource, load_emotion_model
from emolib.errors import InputError, ModelError
from emolib.evaluate import measure_continuity
from emolib.evaluate.continuity import Conversation, conversations, dialogue_scores, greedy_replies

TALK = Conversation("earlier fact", ("I live in Rome.", "Nice!", "Where do I live?"), ("rome",), "You live in Rome.")


def scores(*replies: str):
    return dialogue_scores([TALK] * len(replies), replies, perplexity=9.0)


def test_the_set_has_forty_conversations_of_several_turns_in_four_kinds():
    found = conversations()
    assert len(found) >= 40
    assert {talk.kind for talk in found} == {
        "earlier fact",
        "change of topic",
        "follow-up question",
        "emotional support",
    }
    for talk in found:
        assert len(talk.turns) >= 3
        assert len(talk.turns) % 2 == 1, "the user has the last word"
        assert talk.continued_by(talk.reference), talk
    assert len({talk.turns for talk in found}) == len(found)


def test_turns_are_the_users_and_the_assistants_in_turn():
    assert [message["role"] for message in TALK.messages] == ["user", "assistant", "user"]


def test_a_reply_continues_when_a_word_of_the_rule_begins_one_of_its_words():
    assert TALK.continued_by("In ROME, of course")
    assert not TALK.continued_by("In a chrome house")


def test_a_bare_label_is_format_lock_and_a_sentence_with_one_is_not():
    assert scores("joy", "Joy.", "I hear joy in that", "hello").format_lock == 0.5


def test_repetition_counts_four_word_sequences_seen_before_in_the_same_reply():
    assert scores("a b c d e f").repetition == 0
    assert scores("a b c d a b c d").repetition == pytest.approx(1 / 5)
    assert scores("a b c d", "a b c d").repetition == 0


def test_distinct_words_are_counted_over_all_replies():
    found = scores("one two", "one two")
    assert (found.distinct_1, found.distinct_2) == (0.5, 0.5)
    assert found.words == 2


def test_empty_replies_have_figures_too():
    found = scores("", "")
    assert (found.words, found.distinct_1, found.repetition, found.continues) == (0, 0, 0, 0)


@pytest.fixture(scope="module")
def switched():
    """The embedded base with the bundled adapter, and the base alone."""
    tuned = load_emotion_model("everyday")
    return tuned, load_emotion_model(AdapterSource(tuned.source.base, None))


def test_switched_off_the_adapter_leaves_the_base_model_token_for_token(switched):
    tuned, base = switched
    chosen = [conversations()[0], conversations()[30]]
    alone = greedy_replies(base, chosen, max_new_tokens=12)
    assert greedy_replies(tuned, chosen, tuned.without_adapter, max_new_tokens=12) == alone
    assert greedy_replies(tuned, chosen, nullcontext, max_new_tokens=12) != alone, "the adapter does nothing"


def test_replies_in_a_batch_are_those_of_each_alone(switched):
    _, base = switched
    chosen = [conversations()[0], conversations()[30]]
    alone = [greedy_replies(base, [talk], max_new_tokens=8)[0] for talk in chosen]
    assert greedy_replies(base, chosen, max_new_tokens=8) == alone


def test_a_model_without_a_chat_template_cannot_converse(tmp_path: Path):
    run = save_run(tmp_path / "run", save_tiny_base(tmp_path / "base"))
    with pytest.raises(ModelError, match="no chat template"):
        measure_continuity(run)


def test_a_base_model_has_nothing_to_compare():
    with pytest.raises(InputError, match="without an adapter"):
        measure_continuity("smollm2-135m")


def test_a_run_keeps_what_was_measured_with_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    base = save_tiny_base(tmp_path / "base")
    settings = json.loads((base / "tokenizer_config.json").read_text())
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    (base / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
    run = save_run(tmp_path / "run", base)
    found = measure_continuity(run, max_new_tokens=3, chosen=conversations()[:2])
    assert found.switched_equals_base == 1
    assert set(found.scores) == {"base", "merged", "switched off"}
    assert json.loads((run / "continuity.json").read_text())["scores"] == found.as_dict()["scores"]
    assert (run / "figures" / "forgetting.png").is_file()
    assert "perplexity" in found.table()


def test_evaluate_asks_what_to_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err
