"""A model hub on this machine: what huggingface_hub and datasets ask for over HTTP, from a folder on disk.

    with hub_in_a_box(folder) as hub:      HF_ENDPOINT=hub.url

FOLDER/models/OWNER/NAME and FOLDER/datasets/OWNER/NAME hold the files of each repository, which has one commit. A
repository whose name is in `gated` is refused, as the real hub refuses one whose licence was not accepted.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KINDS = {"models": "", "datasets": "datasets/"}


@dataclass(frozen=True)
class Repository:
    """A folder of files under a name."""

    name: str
    folder: Path

    @property
    def commit(self) -> str:
        """The hash of the one commit."""
        return hashlib.sha1(self.name.encode()).hexdigest()

    def paths(self) -> list[str]:
        """The files' paths in the repository."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [path.relative_to(self.folder).as_posix() for path in files]

    def entry(self, path: str) -> dict[str, Any]:
        """What the hub says of a file."""
        file = self.folder / path
        return {"type": "file", "path": path, "size": file.stat().st_size, "oid": etag(file)}


def etag(file: Path) -> str:
    """Return what identifies the content of `file`."""
    return hashlib.sha1(file.read_bytes()).hexdigest()


@dataclass
class Hub:
    """A running hub: its address, and what it was asked."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def hub_in_a_box(folder: Path, gated: Iterable[str] = ()) -> Iterator[Hub]:
    """Serve the repositories in `folder` until the block ends."""
    refused = set(gated)
    hub = Hub("")

    class Handler(_Handler):
        root, closed, asked = folder, refused, hub.asked

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    closed: set[str]
    asked: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        is_json = "json" in self.headers.get("Content-Type", "")
        fields = json.loads(body or "{}") if is_json else urllib.parse.parse_qs(body)
        self._answer(fields.get("paths", []))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, wanted: list[str] | str = ()) -> None:
        self.asked.append(f"{self.command} {self.path}")
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/")
        if not path:
            return self._send(200, b"a hub in a box")
        parts = path.split("/")
        if parts[0] == "api" and parts[1:2] and parts[1] in _KINDS and len(parts) >= 4:
            return self._tell(parts[1], "/".join(parts[2:4]), parts[4:], wanted)
        kind = "datasets" if parts[0] == "datasets" else "models"
        parts = parts[1:] if kind == "datasets" else parts
        if len(parts) > 4 and parts[2] == "resolve":
            return self._give(kind, "/".join(parts[:2]), "/".join(parts[4:]))
        return self._refuse(404, "RepoNotFound", f"nothing is at {self.path}")

    def _repository(self, kind: str, name: str) -> Repository | None:
        if name in self.closed:
            self._refuse(403, "GatedRepo", f"Access to {name} is restricted: you must accept its licence")
            return None
        folder = self.root / kind / name
        if not folder.is_dir():
            self._refuse(401, "RepoNotFound", f"Repository Not Found: {name}")
            return None
        return Repository(name, folder)

    def _tell(self, kind: str, name: str, rest: list[str], wanted: list[str] | str) -> None:
        """Answer a question of the API about a repository."""
        repository = self._repository(kind, name)
        if repository is None:
            return None
        paths = repository.paths()
        if rest[:1] == ["tree"]:
            below = "/".join(rest[2:])
            found = [path for path in paths if not below or path.startswith(f"{below}/")]
            recursive = "recursive=true" in self.path.lower()
            return self._json(self._files(repository, found, below, recursive))
        if rest[:1] == ["paths-info"]:
            wanted = [wanted] if isinstance(wanted, str) else wanted
            folders = [path for path in wanted if (repository.folder / path).is_dir()]
            return self._json(
                [repository.entry(path) for path in wanted if path in paths]
                + [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
            )
        siblings = [{"rfilename": path, "size": repository.entry(path)["size"]} for path in paths]
        told = {"id": name, "sha": repository.commit, "siblings": siblings, "tags": [], "private": False}
        return self._json({**told, "gated": False, "disabled": False, "downloads": 0, "likes": 0})

    @staticmethod
    def _files(repository: Repository, found: list[str], below: str, recursive: bool) -> list[dict[str, Any]]:
        start = len(below) + 1 if below else 0
        deep = [path for path in found if "/" in path[start:]]
        folders = sorted({path[: path.index("/", start)] for path in deep})
        listed = found if recursive else [path for path in found if path not in deep]
        return [
            *({"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders),
            *(repository.entry(path) for path in listed),
        ]

    def _give(self, kind: str, name: str, path: str) -> None:
        """Send a file, or the part of it that was asked for."""
        repository = self._repository(kind, name)
        if repository is None:
            return
        file = repository.folder / path
        headers = {"X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if not file.is_file():
            self._refuse(404, "EntryNotFound", f"Entry not found: {path}", headers)
            return
        content = file.read_bytes()
        headers["ETag"] = f'"{etag(file)}"'
        first, last = self._range(len(content))
        if (first, last) != (0, len(content) - 1):
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206 if "Content-Range" in headers else 200, content[first : last + 1], headers)

    def _range(self, size: int) -> tuple[int, int]:
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        first, _, last = asked.partition("-")
        return int(first or 0), min(int(last or size - 1), size - 1)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        self._send(status, json.dumps({"error": message}).encode(), {**told, "Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


# --- what the paper's way asks for -----------------------------------------------------------------

#: As dair-ai/emotion numbers them.
CARER_ORDER = ("sadness", "joy", "love", "anger", "fear", "surprise")

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_CARD = """---
license: other
configs:
- config_name: split
  default: true
  data_files:
  - split: train
    path: split/train-*
  - split: validation
    path: split/validation-*
  - split: test
    path: split/test-*
- config_name: unsplit
  data_files:
  - split: train
    path: unsplit/train-*
---
Sentences of emolib under the name of another data set, for tests.
"""


def fill_hub(folder: Path) -> Path:
    """Write a tiny Qwen2 of random weights under Qwen's names, and sentences of ours under CARER's, into `folder`."""
    whole = _save_tiny_qwen(folder / "models" / "Qwen" / "Qwen2.5-7B")
    for name in ("Qwen2.5-7B-unsloth-bnb-4bit", "Qwen2.5-7B-bnb-4bit"):
        # Not in 4 bits, which need a GPU: the stand-ins load them as they are.
        copy = folder / "models" / "unsloth" / name
        copy.mkdir(parents=True)
        for file in whole.iterdir():
            (copy / file.name).hardlink_to(file)
    _save_emotion(folder / "datasets" / "dair-ai" / "emotion")
    return folder


def _save_tiny_qwen(folder: Path) -> Path:
    """A Qwen2 of two layers, with a tokenizer of 2,000 tokens."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    Qwen2ForCausalLM(config).to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    """A byte-level BPE of our sentences; each label is one token, often enough among them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from emolib import sample_corpus
    from emolib.prompting.templates import CORRECTED, PAPER

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    labels = [label for label in CARER_ORDER for _ in range(200)]
    texts = [*sample_corpus("train").texts, *[PAPER.template, CORRECTED.template] * 50, *labels]
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        chat_template=_CHAT_TEMPLATE,
    )


def _save_emotion(folder: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    from emolib import sample_corpus

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(CARER_ORDER))})
    corpus = sample_corpus("train")
    rows = [(text, CARER_ORDER.index(label)) for text, label in zip(corpus.texts, corpus.labels, strict=True)]
    # What is wrong with CARER: rows that come twice, with one label and with two, and a test row in the training.
    flaws = [rows[0], rows[1], (rows[2][0], (rows[2][1] + 1) % 6), (rows[701][0], (rows[701][1] + 1) % 6)]
    splits = {"train": [*rows[:600], *flaws], "validation": rows[600:700], "test": rows[700:820]}
    everything = [row for split in splits.values() for row in split]
    for config, name, chosen in [*(("split", *split) for split in splits.items()), ("unsplit", "train", everything)]:
        made = Dataset.from_dict(
            {"text": [text for text, _ in chosen], "label": [label for _, label in chosen]}, features
        )
        (folder / config).mkdir(parents=True, exist_ok=True)
        made.to_parquet(folder / config / f"{name}-00000-of-00001.parquet")
    (folder / "README.md").write_text(_CARD, encoding="utf-8")
