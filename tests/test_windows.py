"""What Windows does otherwise, as far as it can be tested elsewhere: names, code pages, processes, open files."""

from __future__ import annotations

import ast
import csv
import ctypes
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import emolib
from emolib.adapter_files import base_stem
from emolib.errors import ModelError, StorageError, UsageError
from emolib.files import file_stem, is_reserved_name, looks_like_path, storage_errors, write_text
from emolib.models import BaseModel
from emolib.speech.funasr import locate_model
from emolib.stack import Stack
from emolib.tts import VoiceLibrary

PACKAGE = Path(emolib.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = Path(__file__).parent
#: What Python's documentation says is there on Unix only.
POSIX_MODULES = set("crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty".split())
POSIX_NAMES = {
    "os": set(
        "chown chroot confstr ctermid eventfd fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg"
        " getpgid getpgrp getpriority getresgid getresuid getsid getuid getxattr killpg lchown lockf major makedev"
        " mkfifo mknod nice openpty pathconf pipe2 posix_fadvise posix_spawn pread pwrite register_at_fork"
        " sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid setpgid setpgrp setpriority"
        " setsid setuid setxattr statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid WNOHANG".split()
    ),
    "signal": set(
        "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH"
        " alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait".split()
    ),
    "socket": {"AF_UNIX", "SO_REUSEPORT", "socketpair", "recv_fds", "send_fds"},
    "loop": {"add_signal_handler"},
    "multiprocessing": {"fork"},
}
GUARD = re.compile(r"hasattr|os\.name|sys\.platform")


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def unguarded(tree: ast.AST, guarded: bool = False) -> Iterator[str]:
    """The names in `tree` that only POSIX systems have, and that no condition or except clause looks after."""
    if isinstance(tree, ast.If | ast.IfExp) and GUARD.search(ast.unparse(tree.test)):
        guarded = True
    if isinstance(tree, ast.Try):
        caught = " ".join(ast.unparse(handler.type) for handler in tree.handlers if handler.type)
        guarded = guarded or "AttributeError" in caught or "ImportError" in caught
    if not guarded:
        if isinstance(tree, ast.Import):
            yield from sorted({alias.name for alias in tree.names} & POSIX_MODULES)
        if isinstance(tree, ast.ImportFrom):
            names = {f"{tree.module}.{alias.name}" for alias in tree.names}
            yield from sorted(names & {f"{owner}.{name}" for owner, known in POSIX_NAMES.items() for name in known})
            yield from sorted({tree.module or ""} & POSIX_MODULES)
        if isinstance(tree, ast.Attribute) and tree.attr in POSIX_NAMES.get(ast.unparse(tree.value), ()):
            yield ast.unparse(tree)
        if isinstance(tree, ast.keyword) and tree.arg == "preexec_fn":
            yield "preexec_fn"
        if isinstance(tree, ast.Constant) and tree.value in ("fork", "forkserver"):
            yield f"{tree.value!r}"
    for child in ast.iter_child_nodes(tree):
        yield from unguarded(child, guarded)


def test_no_module_needs_a_posix_system() -> None:
    found = {named(path): list(unguarded(ast.parse(path.read_text(encoding="utf-8")))) for path in MODULES}
    assert {name: needed for name, needed in found.items() if needed} == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os, signal\nos.killpg(1, signal.SIGKILL)", ["os.killpg", "signal.SIGKILL"]),
        ("from os import fork", ["os.fork"]),
        ("import fcntl", ["fcntl"]),
        ("try:\n import resource\nexcept ImportError:\n resource = None", []),
        ("user = os.getuid() if hasattr(os, 'getuid') else 0", []),
        ("multiprocessing.get_context('fork')", ["'fork'"]),
    ],
)
def test_the_search_finds_what_it_looks_for(code: str, found: list[str]) -> None:
    assert list(unguarded(ast.parse(code))) == found


def is_text_without_encoding(call: ast.Call) -> bool:
    """Whether `call` opens text in the code page of the machine, which is not UTF-8 on Windows."""
    keywords = {keyword.arg for keyword in call.keywords}
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("run", "Popen", "check_output"):
        return bool(keywords & {"text", "universal_newlines"}) and "encoding" not in keywords
    if isinstance(call.func, ast.Name):
        if call.func.id != "open":
            return False
        modes = call.args[1:2]
    elif isinstance(call.func, ast.Attribute) and call.func.attr in ("read_text", "write_text"):
        return "encoding" not in keywords
    elif isinstance(call.func, ast.Attribute) and call.func.attr == "open":
        modes = call.args[:1]
        if not modes or not isinstance(modes[0], ast.Constant) or not re.fullmatch("[rwaxt+]+", str(modes[0].value)):
            return False
    else:
        return False
    return "encoding" not in keywords and not any("b" in ast.unparse(mode) for mode in modes)


def test_no_module_leaves_the_encoding_of_text_to_the_machine() -> None:
    calls = {
        f"{named(path)}:{node.lineno}": node
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert [where for where, call in calls.items() if is_text_without_encoding(call)] == []


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5-7B-Instruct"),
        ("C:\\models\\Qwen2.5-7B-Instruct\\", "Qwen2.5-7B-Instruct"),
        ("/home/me/models/Qwen2.5-7B-Instruct/", "Qwen2.5-7B-Instruct"),
        ("qwen3:8b", "qwen3-8b"),
    ],
)
def test_a_name_for_files_has_no_folders_and_no_colons(name: str, stem: str) -> None:
    assert file_stem(name) == stem
    assert base_stem(BaseModel(name, "path", Path(name))) == stem.lower()


@pytest.mark.parametrize("name", ["con", "NUL", "Aux", "com1", "LPT9", "nul.txt"])
def test_names_that_windows_keeps_for_devices_are_refused(name: str, tmp_path: Path) -> None:
    assert is_reserved_name(name)
    with pytest.raises(UsageError, match="is not a name for a voice"):
        VoiceLibrary(tmp_path).open(name)


@pytest.mark.parametrize("name", ["control", "com", "null", "iris"])
def test_names_that_only_begin_like_a_device_are_fine(name: str) -> None:
    assert not is_reserved_name(name)


@pytest.mark.parametrize("path", ["C:\\models\\paraformer", "models\\paraformer", "D:/models/x", "..\\x", "~/x", "/x"])
def test_a_path_of_windows_is_no_name_of_a_hub(path: str) -> None:
    assert looks_like_path(path)
    with pytest.raises(ModelError, match="is not a folder"):
        locate_model(path)


@pytest.mark.parametrize("name", ["iic/SenseVoiceSmall", "paraformer-zh", "qwen2.5:7b", "runs/mine"])
def test_a_name_of_a_hub_is_no_path(name: str) -> None:
    assert not looks_like_path(name)


def test_the_parts_of_a_stack_may_be_paths_with_drive_letters() -> None:
    stack = Stack(
        recognizer="whisper:C:\\models\\whisper", voice_emotion="emotion2vec:C:\\models\\emotion", reply="C:\\x.gguf"
    )
    assert stack.recognizer.partition(":")[2] == "C:\\models\\whisper"


# --- what the system answers ------------------------------------------------------------------------------------------


def test_a_name_that_windows_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose another folder"), storage_errors(tmp_path / "a:b?.csv"):
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_file_that_excel_holds_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Access is denied")

    target = tmp_path / "report.csv"
    target.write_text("old", encoding="utf-8")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(StorageError, match="close the program that has it open"):
        write_text(target, "new")
    assert target.read_text(encoding="utf-8") == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_fields_of_a_csv_are_bounded_by_what_a_long_of_32_bits_holds(tmp_path: Path) -> None:
    from emolib.data.readers import read_source

    (tmp_path / "a.csv").write_text("text,label\nI sing,joy\n", encoding="utf-8")
    list(read_source(tmp_path / "a.csv"))
    assert 0 < csv.field_size_limit() == ctypes.c_int32(csv.field_size_limit()).value


# --- code pages -------------------------------------------------------------------------------------------------------

CHAT = """
import sys
from emolib.cli.console import prepare_streams
from emolib.dialogue import TextChat
from scripted_engines import Replies, ScriptedClassifier, scores
from emolib.stack import Engines
prepare_streams()
reply = Replies("That is wonderful! \\U0001f389 \\u2192 \\u597d")
chat = TextChat(Engines(None, ScriptedClassifier(scores("joy")), reply, None))
turns = chat.run(sys.stdin)
print(ascii(turns[0].transcript), file=sys.stderr)
"""


@pytest.mark.parametrize("code_page", ["cp1252", "cp850", "cp437", "cp932"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_chat_reads_and_writes_on_a_console_of_another_code_page(code_page: str, encoding: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "PYTHONIOENCODING": code_page}
    command = [sys.executable, "-c", CHAT]
    line = "Das Café ist schön.\n".encode(encoding)
    result = subprocess.run(command, input=line, capture_output=True, env=environment, timeout=60)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    assert ascii("Das Café ist schön.") in result.stderr.decode()
    assert "That is wonderful!" in result.stdout.decode(code_page)


# --- open files -------------------------------------------------------------------------------------------------------

#: Windows neither replaces nor deletes a file that is open or mapped; here the system lets that pass, so we look.
WATCHED = r"""
import os, sys
from pathlib import Path

def open_files():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            pass
    with open("/proc/self/maps") as maps:
        for line in maps:
            yield line.split(maxsplit=5)[-1].strip()

def watch(event, arguments):
    if event not in ("os.rename", "os.remove", "os.rmdir"):
        return
    for path in arguments[:2 if event == "os.rename" else 1]:
        path = os.path.realpath(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else ""
        if path.startswith(folder):
            held = [name for name in open_files() if name == path or name.startswith(path + os.sep)]
            if held:
                raise SystemExit(f"{event} of {path} while {held} is open")

folder = os.path.realpath(sys.argv[1])
os.chdir(folder)
import torch, transformers
from emolib.audio import AudioClip, write_wav
from emolib.data import clean_corpus
from emolib.dialogue import History
from emolib.finetune import train
from emolib.tts import VoiceLibrary
from scripted_engines import QUESTION
from tiny_models import tiny_model, tiny_tokenizer
import test_training
rows = [f"nobody came to platform {number},sadness\nwe danced on floor {number},joy\n" for number in range(50)]
Path("corpus.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
tiny_model().save_pretrained("base")
tiny_tokenizer().save_pretrained("base")
sys.addaudithook(watch)
for times in range(2):
    clean_corpus("corpus.csv", Path("clean"))
    history = History()
    history.add("Hello?", "Yes.")
    history.save(Path("history.jsonl"))
    write_wav(Path("answer.wav"), QUESTION)
    VoiceLibrary(Path("voices")).add("me", QUESTION, "Hello.")
    train(test_training.corpus(), Path("run"), test_training.settings("base", max_steps=4 + 2 * times))
VoiceLibrary(Path("voices")).remove("me")
print("done")
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="open files are listed in /proc")
def test_nothing_is_replaced_or_deleted_while_it_is_open(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    command = [sys.executable, "-c", WATCHED, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=200)
    assert result.stdout.endswith("done\n"), result.stderr[-2000:]


def test_json_of_a_turn_is_plain_on_any_console() -> None:
    program = "from emolib.cli.console import prepare_streams, print_json; prepare_streams(); print_json('🎉')"
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "PYTHONIOENCODING": "cp850"}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    assert json.loads(result.stdout) == "🎉"
