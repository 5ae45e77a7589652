"""The doctor finds what is there, explains each default, and never waits for a network that is not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from scripted_server import scripted_server

from emolib import cli
from emolib.doctor import examine, examine_stack
from emolib.stack import Stack

NO_KEYS = {"HF_HUB_OFFLINE": "1"}


def stage(findings: object, name: str) -> object:
    return next(stage for stage in findings.stages if stage.name == name)


def test_every_stage_has_a_default_and_a_reason() -> None:
    findings = examine(NO_KEYS)
    assert [stage.name for stage in findings.stages] == [
        "base model",
        "emotion",
        "recogniser",
        "end of turn",
        "voice",
        "replies",
        "tracking",
    ]
    assert all(stage.uses and stage.because for stage in findings.stages)


def test_keys_decide_where_words_are_sent() -> None:
    assert "nothing leaves" in stage(examine(NO_KEYS), "replies").because
    with_keys = examine({**NO_KEYS, "OPENAI_API_KEY": "sk-secret", "WANDB_API_KEY": "w-secret"})
    assert stage(with_keys, "replies").uses == "OpenAI GPT"
    assert stage(with_keys, "tracking").uses == "W&B online"


@pytest.mark.parametrize(
    ("url", "uses", "because"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1", "the server on this machine"),
        ("https://user:secret@example.com/v1", "https://example.com/v1", "your words are sent to that server"),
    ],
)
def test_a_server_of_the_environment_replies_and_its_place_is_said(url: str, uses: str, because: str) -> None:
    found = stage(examine({**NO_KEYS, "OPENAI_BASE_URL": url}), "replies")
    assert found.uses == uses
    assert because in found.because
    assert "nothing leaves" not in found.because


def test_the_model_of_a_chat_server_is_named_and_several_have_to_be_chosen_from() -> None:
    with scripted_server(models=["qwen3:8b"]) as server:
        (part,) = (part for part in examine_stack(Stack(reply=server.url)).parts if part.name == "reply")
        assert (part.ready, part.detail) == (True, f"answers: qwen3:8b at {server.url}")
    with scripted_server(models=["qwen3:8b", "gemma3:4b"]) as server:
        (part,) = (part for part in examine_stack(Stack(reply=server.url)).parts if part.name == "reply")
        assert not part.ready
        assert f"{server.url}#qwen3:8b" in part.detail


def test_the_tracking_is_what_wandb_itself_would_do(tmp_path: Path) -> None:
    netrc = {**NO_KEYS, "NETRC": str(tmp_path / "netrc")}
    assert stage(examine(netrc), "tracking").because == "not logged in; nothing is sent"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    found = stage(examine(netrc), "tracking")
    assert (found.uses, found.because) == ("W&B online", "you are logged in (wandb login)")
    assert stage(examine({**netrc, "WANDB_MODE": "disabled"}), "tracking").uses == "log.jsonl, W&B disabled"
    assert "nothing is sent" not in stage(examine({**NO_KEYS, "WANDB_MODE": "online"}), "tracking").because


def test_a_key_is_never_printed() -> None:
    findings = examine({**NO_KEYS, "OPENAI_API_KEY": "sk-secret", "WANDB_API_KEY": "w-secret"})
    assert "secret" not in findings.table() + json.dumps(findings.as_dict())


def test_a_hub_that_does_not_answer_costs_at_most_five_seconds() -> None:
    started = time.monotonic()
    findings = examine({"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert time.monotonic() - started < 5
    assert findings.machine["hub"].startswith("http://127.0.0.1:9 does not answer: ")
    assert stage(findings, "base model").uses == "smollm2-135m"


def test_the_command_prints_json_and_a_table(capsys: object) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    assert {"machine", "stages"} == json.loads(capsys.readouterr().out).keys()
    assert cli.main(["doctor"]) == 0
    assert "base model" in capsys.readouterr().out
