"""One way of `benchmarks.deploy` in a process of its own; prints what it measured as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

QUESTION = "Tell me something interesting about rivers."
TOKENS = 64


def main(engine: str, data: Path, count: int, files: Sequence[Path]) -> None:
    texts = [line.rpartition(";")[0] for line in data.read_text(encoding="utf-8").splitlines()[:count]]
    began = time.perf_counter()
    classify, stream = _torch() if engine == "torch" else _llama(files)
    classify(texts[:1])
    load = time.perf_counter() - began
    began = time.perf_counter()
    classify(texts)
    speed = len(texts) / (time.perf_counter() - began)
    for _ in range(2):
        began = time.perf_counter()
        arrived = [time.perf_counter() for _ in stream()]
    gaps = [after - before for before, after in pairwise(arrived)]
    result = {
        "load_s": round(load, 1),
        "peak_mb": round(_peak_mb()),
        "texts_per_s": round(speed, 1),
        "first_token_ms": round(1000 * (arrived[0] - began)),
        "tokens_per_s": round(len(gaps) / sum(gaps), 1) if gaps else 0.0,
        "reply_tokens": len(arrived),
    }
    print(json.dumps(result))


def _peak_mb() -> float:
    # Not getrusage: its maximum takes in the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _torch() -> tuple[Any, Any]:
    from threading import Thread

    import torch
    from transformers import TextIteratorStreamer

    from emolib.classify.torch_scorer import TorchScorer
    from emolib.emotion_model import load_emotion_model

    loaded = load_emotion_model("carer")
    scorer = TorchScorer.of(loaded)
    messages = [{"role": "user", "content": QUESTION}]
    ids = loaded.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]

    def stream() -> Iterator[str]:
        class EachToken(TextIteratorStreamer):
            # One piece a token, where the library's own streamer waits for whole words.
            def put(self, value: Any) -> None:
                if self.next_tokens_are_prompt:
                    self.next_tokens_are_prompt = False
                    return
                self.on_finalized_text(self.tokenizer.decode(value.tolist()))

        pieces = EachToken(loaded.tokenizer)

        def generate() -> None:
            with torch.inference_mode(), loaded.without_adapter():
                loaded.model.generate(
                    input_ids=ids, max_new_tokens=TOKENS, do_sample=False, streamer=pieces,
                    attention_mask=torch.ones_like(ids), pad_token_id=loaded.encoder.end_id,
                )  # fmt: skip

        thread = Thread(target=generate)
        thread.start()
        yield from (piece for piece in pieces if piece)
        thread.join()

    return scorer.label_logits, stream


def _llama(files: Sequence[Path]) -> tuple[Any, Any]:
    import requests

    from emolib.classify import EmotionClassifier
    from emolib.export import open_llm_server
    from emolib.llama.server import LlamaServerOptions

    model, *adapters = files
    options = LlamaServerOptions(slots=4, slot_tokens=1024, threads=os.cpu_count() or 1)
    server, _ = open_llm_server(model, adapters, options)
    classifier = EmotionClassifier.load(server.listening_address)

    def stream() -> Iterator[str]:
        body = {
            "messages": [{"role": "user", "content": QUESTION}], "max_tokens": TOKENS, "temperature": 0,
            "stream": True, "cache_prompt": False,
        }  # fmt: skip
        # The closure holds the server: it stops when nothing does.
        url = f"{server.listening_address}/v1/chat/completions"
        # A connection of its own: the server closes one that has carried a stream, also while it is asked again.
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, json=body, stream=True, timeout=120)
            for line in answer.iter_lines():
                if line.startswith(b"data: {"):
                    choices = json.loads(line[6:])["choices"]
                    if choices and choices[0]["delta"].get("content"):
                        yield choices[0]["delta"]["content"]

    return classifier.scorer.label_logits, stream


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), [Path(name) for name in sys.argv[4:]])
