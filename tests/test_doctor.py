"""The doctor finds what is there, explains each default, and never waits for a network that is not."""

from __future__ import annotations

import json
import time

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
