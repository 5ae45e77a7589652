"""Files of conversations: what is read, and what becomes of rows that cannot be used."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from emolib.data import load_conversations
from emolib.errors import InputError, UsageError
from emolib.prompting.chat import Message

GOOD = [
    {"role": "user", "content": " My train was cancelled. ", "emotion": "anger"},
    {"role": "assistant", "content": "Again! Nobody told you?"},
]


def said(role: str, content: Any = "Hi.", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps({"messages": row}, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_conversation_is_read_with_its_emotions(tmp_path: Path) -> None:
    longer = [said("system", "Be brief."), *GOOD, said("user", "No.", emotion="lasting sadness"), GOOD[1]]
    corpus = load_conversations(write(tmp_path / "talk.jsonl", GOOD, "", longer))
    assert corpus.conversations[0] == (
        Message("user", "My train was cancelled.", "anger"),
        Message("assistant", "Again! Nobody told you?"),
    )
    assert [message.role for message in corpus.conversations[1]] == ["system", "user", "assistant", "user", "assistant"]
    assert (corpus.name, list(corpus.lines), list(corpus.rejects)) == ("talk", [1, 3], [])


def test_an_absent_emotion_is_not_known(tmp_path: Path) -> None:
    rows = [[said("user"), GOOD[1]], [said("user", emotion=None), GOOD[1]]]
    corpus = load_conversations(write(tmp_path / "talk.jsonl", *rows))
    assert [row[0].emotion for row in corpus.conversations] == [None, None]


def test_the_hash_is_that_of_the_rows(tmp_path: Path) -> None:
    corpora = [
        load_conversations(write(tmp_path / f"{number}.jsonl", *rows))
        for number, rows in enumerate(([GOOD], [GOOD, "not JSON"], [[{**GOOD[0], "emotion": "joy"}, GOOD[1]]]))
    ]
    assert corpora[0].sha256 == corpora[1].sha256 != corpora[2].sha256


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{broken", "not JSON"),
        ('{"text": "Hi.", "label": "joy"}', 'no list of "messages"'),
        ("[1, 2]", 'no list of "messages"'),
        ([], 'no list of "messages"'),
        ([GOOD[0], GOOD[0], GOOD[1]], "roles do not alternate: message 2 is of the user, not of the assistant"),
        ([GOOD[1], GOOD[0], GOOD[1]], "roles do not alternate: message 1 is of the assistant, not of the user"),
        ([*GOOD, GOOD[0]], "does not end with a message of the assistant"),
        ([said("system", "Be brief.")], "does not end with a message of the assistant"),
        ([*GOOD, said("system", "Be brief.")], "message 3 is a system message; it may only come first"),
        ([GOOD[0], said("assistant", " \n ")], "message 2 is empty"),
        ([GOOD[0], said("assistant", None)], "message 2 has no text"),
        ([GOOD[0], "Hello!"], "message 2 has no text"),
        ([said("tool"), GOOD[1]], "unknown role 'tool' .*system, user, assistant"),
        ([said("user", emotion="bored"), GOOD[1]], "unknown emotion 'bored' .*sadness, joy"),
        ([said("user", emotion=["joy"]), GOOD[1]], "unknown emotion"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path, row: Any, reason: str) -> None:
    path = write(tmp_path / "talk.jsonl", GOOD, row, GOOD)
    corpus = load_conversations(path)
    assert len(corpus) + len(corpus.rejects) == 3
    (reject,) = corpus.rejects
    assert reject.line == 2
    assert re.search(reason, reject.reason)
    with pytest.raises(InputError, match=rf"no conversation that can be used \(line 1: .*{reason}"):
        load_conversations(write(tmp_path / "bad.jsonl", row))


def test_a_gzip_file_that_is_cut_off_keeps_what_was_read(tmp_path: Path) -> None:
    whole = "".join(
        json.dumps({"messages": [{**GOOD[0], "content": f"Train {n}."}, GOOD[1]]}) + "\n" for n in range(500)
    )
    path = tmp_path / "talk.jsonl.gz"
    packed = gzip.compress(whole.encode())
    path.write_bytes(packed)
    assert len(load_conversations(path)) == 500
    path.write_bytes(packed[: len(packed) // 2])
    corpus = load_conversations(path)
    assert 0 < len(corpus) < 500
    assert "cut off" in corpus.rejects[-1].reason


def test_a_line_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.jsonl", GOOD)
    path.write_bytes(path.read_bytes() + b'{"messages": "\xff"}\n')
    corpus = load_conversations(path)
    assert (len(corpus), [reject.reason for reject in corpus.rejects]) == (1, ["the line is not valid UTF-8"])


@pytest.mark.parametrize(
    ("name", "content", "problem", "kind"),
    [
        ("talk.csv", b"text,label\n", r"talk\.csv is no file of conversations: they are JSON lines", UsageError),
        ("talk.jsonl", b"", "holds no conversation that can be used; each line is", InputError),
        ("talk.jsonl", b"\0\1\2", "binary file|holds no conversation", InputError),
        ("talk.jsonl", b"\x80\x04", "pickle", InputError),
        ("talk.jsonl", None, "does not exist", InputError),
        ("folder", None, "is a folder", InputError),
    ],
    ids=["csv", "empty", "binary", "pickle", "absent", "folder"],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, content: bytes | None, problem: str, kind: type[Exception]
) -> None:
    (tmp_path / "folder").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind, match=problem):
        load_conversations(tmp_path / name)
