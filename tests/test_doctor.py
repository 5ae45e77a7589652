"""The doctor finds what is there, explains each default, and never waits for a network that is not."""

from __future__ import annotations

import json
import time
from pathlib import Path

from emolib import cli
from emolib.doctor import examine

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
