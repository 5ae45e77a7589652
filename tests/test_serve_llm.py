"""One llama.cpp server for chat and emotion: what one request switches on, no other request feels."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emolib.chat import Message, OpenAIReplyModel, server_adapters
from emolib.classify import EmotionClassifier
from emolib.cli import main
from emolib.emotion_model import find_adapter
from emolib.errors import ModelError, ServiceError, UsageError
from emolib.export import open_llm_server
from emolib.llama.gguf import GGUFHeader, check_fits
from emolib.llama.server import EmotionTask, LlamaServerOptions, start_server
from emolib.models import chat_gguf

TEXTS = ["nobody came to the station", "we won the final!", "the cellar door opened by itself"]
#: Nats by which scores of one model differ with how much of a prompt was cached: 4-bit weights round by batch.
ROUNDING = 0.25
QUESTIONS = ["What is the capital of France?", "Name three colours.", "Why is the sky blue?"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The embedded chat model with the bundled adapter, four slots."""
    running, names = open_llm_server(None, ["everyday"], LlamaServerOptions(slots=4, slot_tokens=512))
    assert names == ["everyday"]
    yield running.listening_address
    del running


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """The chat model alone."""
    running = start_server(chat_gguf(), LlamaServerOptions(slots=4, slot_tokens=512))
    yield running.listening_address
    del running


def test_a_server_with_adapters_remembers_no_prompts(tmp_path):
    with pytest.raises(UsageError, match="must not remember"):
        start_server(chat_gguf(), LlamaServerOptions(remembered_mib=1), [tmp_path / "adapter.gguf"])


def chat(url: str, question: str, tokens: int = 12, **more: Any) -> list[int]:
    """The tokens of a greedy reply, the prompt cache on."""
    body = {
        "messages": [{"role": "user", "content": question}], "max_tokens": tokens, "temperature": 0,
        "return_tokens": True, "cache_prompt": True, **more,
    }  # fmt: skip
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    return found.get("__verbose", {}).get("tokens") or found["choices"][0]["message"]["content"]


def test_the_adapter_is_off_for_clients_that_do_not_know_of_it(server: str, plain: str):
    assert [chat(server, question) for question in QUESTIONS] == [chat(plain, question) for question in QUESTIONS]


def test_interleaved_requests_give_what_each_gives_alone(server: str, plain: str):
    """The prompt caches of base and adapter must not mix, in whatever order the requests come."""
    alone = [chat(plain, question) for question in QUESTIONS]
    scorer = EmotionClassifier.load(server).scorer
    logits = scorer.label_logits(TEXTS)
    off = server_adapters(server).body
    assert off == {"lora": [{"id": 0, "scale": 0.0}]}
    without = replace(scorer, scales=[0.0]).label_logits(TEXTS)
    assert np.abs(without - logits).max() > 4 * ROUNDING, "the adapter does nothing"
    for _ in range(2):
        for number, question in enumerate(QUESTIONS):
            assert chat(server, question, **off) == alone[number]
            again = scorer.label_logits([TEXTS[number]])[0]
            assert again.argmax() == logits[number].argmax()
            np.testing.assert_allclose(again, logits[number], atol=ROUNDING)


def test_the_same_prompt_with_the_adapter_on_and_off_is_answered_by_two_models(server: str):
    on, off = {"lora": [{"id": 0, "scale": 1.0}]}, {"lora": [{"id": 0, "scale": 0.0}]}
    first = chat(server, QUESTIONS[0], **off)
    assert chat(server, QUESTIONS[0], **on) != first, "the adapter does nothing"
    assert chat(server, QUESTIONS[0], **off) == first


def test_requests_at_once_do_not_mix(server: str, plain: str):
    classifier = EmotionClassifier.load(server)
    labels = [scores.label for scores in classifier.classify(TEXTS)]
    alone = [chat(plain, question) for question in QUESTIONS]
    with ThreadPoolExecutor(4) as pool:
        talks = [pool.submit(chat, server, question) for question in QUESTIONS]
        judged = [pool.submit(classifier.classify, [text]) for text in TEXTS]
        assert [found.result()[0].label for found in judged] == labels
        assert [talk.result() for talk in talks] == alone


def test_the_server_says_what_its_adapter_needs(server: str):
    source = find_adapter("everyday")
    classifier = EmotionClassifier.load(server)
    assert classifier.temperature == pytest.approx(source.temperature, rel=1e-4)
    assert classifier.abstain_below == pytest.approx(source.abstain_below, rel=1e-4)
    by_name = EmotionClassifier.load(server, adapter="everyday")
    assert [scores.label for scores in by_name.classify(TEXTS)] == [
        scores.label for scores in classifier.classify(TEXTS)
    ]
    with pytest.raises(UsageError, match="everyday"):
        EmotionClassifier.load(server, adapter="other")


def test_the_served_adapter_answers_like_the_one_on_torch(server: str):
    here = EmotionClassifier.load("everyday").classify(TEXTS)
    there = EmotionClassifier.load(server).classify(TEXTS)
    assert [scores.label for scores in there] == [scores.label for scores in here]


def test_what_an_adapter_needs_survives_as_text():
    task = EmotionTask("corrected", 1.25, 0.4)
    assert EmotionTask.parse(str(task)) == task
    assert EmotionTask.parse("somebody else's adapter") is None


def test_a_server_of_another_kind_has_no_adapters_to_switch_off():
    assert server_adapters("http://127.0.0.1:9/v1").body == {}


def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve-llm", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_an_address_that_others_reach_wants_a_key(capsys: pytest.CaptureFixture[str]):
    assert main(["serve-llm", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "--api-key" in capsys.readouterr().err


def test_a_key_is_asked_for_and_never_shown():
    running = start_server(chat_gguf(), LlamaServerOptions(slot_tokens=256, api_key="a-secret"))
    with pytest.raises(ServiceError, match="EMOLIB_LLAMA_KEY") as refused:
        EmotionClassifier.load(running.listening_address)
    assert "a-secret" not in str(refused.value)


def header(kind: str, **changes: Any) -> GGUFHeader:
    """The header of a base, or of an adapter that fits it."""
    metadata: dict[str, Any] = {"general.architecture": "llama", "tokenizer.ggml.tokens": ["a", "b"]}
    shapes: dict[str, tuple[int, ...]] = {"blk.0.attn_q.weight": (64, 32)}
    if kind == "adapter":
        metadata = {"general.architecture": "llama", "general.type": "adapter", "emolib.vocabulary": "2"}
        shapes = {"blk.0.attn_q.weight.lora_a": (64, 8), "blk.0.attn_q.weight.lora_b": (8, 32)}
    return GGUFHeader(Path(f"{kind}.gguf"), {**metadata, **changes}, {}, changes.pop("shapes", shapes), 0, 0, 0)


def test_an_adapter_must_fit_its_base():
    check_fits(header("adapter"), header("base"))
    misfits = [
        (header("adapter"), header("base", **{"general.architecture": "qwen2"}), "qwen2"),
        (header("adapter"), header("base", **{"tokenizer.ggml.tokens": ["a"]}), "2 tokens"),
        (header("adapter"), header("base", shapes={"blk.0.attn_q.weight": (96, 32)}), "another|in the other"),
        (header("adapter"), header("base", shapes={}), "missing"),
    ]
    for adapter, base, what in misfits:
        with pytest.raises(ModelError, match=what):
            check_fits(adapter, base)
    with pytest.raises(UsageError, match="whole model"):
        check_fits(header("base"), header("base"))


def test_two_adapters_of_one_name_are_refused():
    with pytest.raises(UsageError, match="same name"):
        open_llm_server(None, ["everyday", "everyday"])


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`emolib serve-llm` in a process of its own, and its URL."""
    command = [sys.executable, "-m", "emolib.cli", "serve-llm", "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    first = running.stdout.readline()
    yield running, first.split()[2]
    running.kill()
    running.wait()


def test_the_command_serves_until_it_is_told_to_stop(process: tuple[subprocess.Popen[str], str]):
    running, url = process
    assert chat(url, QUESTIONS[0], tokens=2)
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0


DROPPED = """
from emolib.llama.server import LlamaServerOptions, start_server
from emolib.models import chat_gguf
for _ in range(6):
    start_server(chat_gguf(), LlamaServerOptions(slot_tokens=256))
print("done")
"""


def test_a_server_that_was_never_asked_is_dropped_at_once():
    result = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, encoding="utf-8", timeout=60)
    assert result.stdout == "done\n", result.stderr


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_the_command_stops_at_ctrl_c_while_it_is_loading(seconds: float):
    command = [sys.executable, "-m", "emolib.cli", "serve-llm", "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    time.sleep(1.0 + seconds)
    running.send_signal(signal.SIGINT)
    try:
        output, _ = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode in (0, 1)
    assert "Traceback" not in output


def test_a_server_that_dies_in_the_middle_of_a_reply_is_one_sentence(process: tuple[subprocess.Popen[str], str]):
    running, url = process
    model = OpenAIReplyModel(base_url=f"{url}/v1", api_key="local", retries=0, timeout=10, max_words=300)

    async def ask() -> list[str]:
        pieces = []
        try:
            async for piece in model.stream([Message("user", "Tell me a long story about a river.")], None):
                pieces.append(piece)
                running.kill()
        finally:
            await model.aclose()
        return pieces

    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1"):
        asyncio.run(ask())
    assert time.monotonic() - began < 60
