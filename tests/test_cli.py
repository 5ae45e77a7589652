"""The command line: options are the fields of data classes, help is quick, and bad use is one sentence."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import emolib.finetune
from emolib.classify import classify_file
from emolib.cli import COMMANDS, find_command, main
from emolib.data.clean_settings import CleanSettings
from emolib.export.serving import DEFAULT_OPTIONS
from emolib.finetune import TrainSettings, get_task, preset
from emolib.finetune.tasks import TASKS
from emolib.llama.server import LlamaServerOptions
from emolib.stack import Stack
from emolib.tts import serve

ROOT = Path(__file__).parent.parent
RUNNABLE = [name for name, (module, _) in COMMANDS.items() if module]
GROUPS = ["", *(name for name, (module, _) in COMMANDS.items() if not module)]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    "environments/README.md",
)
HEAVY = {"torch", "transformers", "polars", "matplotlib", "fastapi", "asyncio", "requests", "sounddevice", "xllamacpp"}


def read(line: str) -> dict[type, Any]:
    """Return what the function of a command gets when `line` is typed, by the class of the options."""
    words = shlex.split(line)
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    command = find_command(name)
    found = command.read(command.parser(name, ""), words[len(name.split()) :])
    return {one.kind: value for one, value in zip(command.options, found, strict=True)}


def loaded_by(*words: str) -> set[str]:
    """Return the modules that are loaded after `emolib` with `words` has shown its help."""
    program = (
        "import sys; from emolib.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=environment, timeout=60
    )
    return set(result.stderr.split())


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: emolib {name}")
    assert COMMANDS[name][1] in shown


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_lists_its_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    listed = capsys.readouterr().out.partition("commands:\n")[2].splitlines()
    children = {child: about for child, (_, about) in COMMANDS.items() if child.rpartition(" ")[0] == name}
    assert [line.split(maxsplit=1) for line in listed] == [
        [child.split()[-1], about] for child, about in children.items()
    ]


@pytest.mark.parametrize("name", RUNNABLE)
def test_help_shows_the_default_of_each_option_once(name: str) -> None:
    for action in find_command(name).parser(name, "")._actions:
        shown = len(re.findall(r"\((?:default|paper): ", action.help or ""))
        if isinstance(action, argparse._HelpAction) or action.required:
            assert shown == 0, action
        elif action.nargs == 0:  # a switch, off unless it is given
            assert shown <= 1, action
        elif action.option_strings:
            assert shown == 1, f"{name} {action.option_strings} has {shown} defaults: {action.help}"


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"emolib {emolib.__version__}\n"


def test_help_for_all_loads_no_command() -> None:
    ours = {name for name in loaded_by("--help") if name.startswith("emolib")}
    assert ours == {
        *("emolib", "emolib.cli", "emolib.cli.console", "emolib.cli.options", "emolib.errors", "emolib.lazy")
    }


@pytest.mark.parametrize("name", RUNNABLE)
def test_help_for_a_command_loads_its_group_alone_and_nothing_heavy(name: str) -> None:
    loaded = loaded_by(*name.split(), "--help")
    groups = {f"emolib.cli.{module}" for module, _ in COMMANDS.values() if module}
    assert loaded & groups == {f"emolib.cli.{COMMANDS[name][0]}"}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252"])
def test_a_console_of_another_code_page_gets_question_marks_and_no_traceback(encoding: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "emolib.cli", "talk", "--help"]
    result = subprocess.run(command, capture_output=True, encoding=encoding, env=environment, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert "WAV, FLAC, MP3" in result.stdout


def test_json_loses_no_character_on_a_console_of_another_code_page() -> None:
    program = "from emolib.cli.console import prepare_streams, print_json; prepare_streams(); print_json('été 好')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    assert json.loads(result.stdout) == "été 好"


# --- bad use -------------------------------------------------------------------------------------

BAD_USE = [
    ("", "name a command: clean, plan, train"),
    ("voice", "name a command: add, list, play, remove; see `emolib voice --help`"),
    ("trian", "unknown command 'trian', did you mean train?"),
    ("voice ad", "unknown command 'ad', did you mean add?"),
    ("--bogus", "unknown option --bogus"),
    ("talk --recognizr whisper", "unknown option --recognizr, did you mean --recognizer?; see `emolib talk --help`"),
    ("train --batch-sise=4", "unknown option --batch-sise, did you mean --batch-size?"),
    ("mic -x", "unknown option -x"),
    ("mic loud", "one argument too many: loud"),
    ("voice list all", "one argument too many: all"),
    ("train --data x", "required: --out; see `emolib train --help`"),
    ("clean --out x", "required: SOURCE"),
    ("voice add", "required: NAME"),
    ("talk --in", "argument --in: expected at least one argument"),
    ("clean x --out y --shares 0.1", "argument --shares: expected 2 arguments"),
    ("clean x --out y --shares 0.1 much", "argument --shares: 'much' is not a number"),
    ("serve-llm --port 80.5", "argument --port: '80.5' is not a whole number"),
    ("mic --backend alsa", "argument --backend: 'alsa' is none of sounddevice, pyaudio"),
    ("serve-tts --engine festival", "'festival' is none of auto, piper, fish, espeak-ng"),
    ("voice add x --emotion glee", "'glee' is none of"),
    ("talk --speech polly", "unknown speech 'polly'; use own, fish"),
    ("talk --stack nosuch", "neither a stack with a name"),
    ("chat --voice anna", "unknown option --voice"),
    ("classify --out x", "--in FILE and --out FOLDER go together"),
    ("evaluate x", "--data CORPUS, --dialogue, or both"),
    ("export x --out y --merged --adapter", "choose one of them"),
    ("export x --out y --safetensors --quant f16", "leave them out"),
    ("plan --preset cpu --set learning_rate", "write NAME=VALUE"),
    ("plan --preset cpu --loss-on everything", "loss_on is one of response, all"),
    ("plan --preset gpu", "unknown preset 'gpu'"),
    ("train --data x --out y --preset cpu --steps 0", "max_steps is a number of steps, or -1"),
    ("clean x --out y --near 0.1", "near_threshold is a similarity"),
    ("clean x --out y --skip typos", "unknown cleaning rule 'typos'"),
]


@pytest.mark.parametrize(("line", "message"), BAD_USE, ids=[line for line, _ in BAD_USE])
def test_bad_use_is_one_sentence_with_exit_code_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("emolib: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert list(tmp_path.iterdir()) == []


# --- options are fields --------------------------------------------------------------------------


def test_defaults_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMOLIB_LLAMA_KEY", raising=False)
    assert read("clean x --out y")[CleanSettings] == CleanSettings()
    assert read("talk")[Stack] == read("chat")[Stack] == read("train --data x --out y")[TrainSettings] == {}
    server = read("serve-llm")[LlamaServerOptions]
    assert (server.slots, server.threads, server.host) == (4, DEFAULT_OPTIONS.threads, LlamaServerOptions.host)


@pytest.mark.parametrize(
    ("name", "function", "parameters"),
    [
        ("classify", classify_file, ["part_rows"]),
        ("serve-tts", serve, ["host", "port", "engine"]),
    ],
)
def test_help_shows_the_default_of_a_function_which_gets_nothing_when_nothing_is_given(
    name: str, function: Callable[..., Any], parameters: list[str]
) -> None:
    options = find_command(name).options[0]
    helps = {action.dest: action.help for action in find_command(name).parser(name, "")._actions}
    for parameter in parameters:
        default = inspect.signature(function).parameters[parameter].default
        assert f"(default: {default})" in helps[f"{options.kind.__name__}.{parameter}"]
        assert getattr(read(name)[options.kind], parameter) is None


def test_help_shows_the_defaults_of_each_task() -> None:
    helps = " ".join(action.help or "" for action in find_command("plan").parser("plan", "")._actions)
    for task in map(get_task, TASKS):
        assert f"{task.name} {task.planned_rows}" in helps
        assert f"{task.name} {task.planned_tokens}" in helps


def test_the_options_of_the_speech_service_are_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    monkeypatch.setattr("emolib.tts.serve", lambda **options: called.append(options), raising=False)
    monkeypatch.delenv("EMOLIB_TTS_API_KEY", raising=False)
    assert main(["serve-tts"]) == main(["serve-tts", "--port", "0", "--engine", "piper", "--references", "x"]) == 0
    assert called == [{}, {"port": 0, "engine": "piper", "references": Path("x")}]
    assert called[1].keys() <= inspect.signature(serve).parameters.keys()


def test_settings_take_what_is_given() -> None:
    line = "clean a.csv b.csv --out c --near 0.8 --max-tokens 100 --arrow --text-column said --conflicts soft"
    assert read(line)[CleanSettings] == CleanSettings(
        near_threshold=0.8, max_tokens=100, arrow=True, text_column="said", conflicts="soft"
    )
    assert read("serve-llm --port 0 --api-key k")[LlamaServerOptions].api_key == "k"


def test_a_key_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOLIB_LLAMA_KEY", "secret")
    assert read("serve-llm")[LlamaServerOptions].api_key == "secret"
    assert read("serve-llm --api-key other")[LlamaServerOptions].api_key == "other"
    with pytest.raises(SystemExit):
        main(["serve-llm", "--help"])
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert "EMOLIB_LLAMA_KEY" in shown


def test_parts_of_a_stack_go_over_those_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "emolib.toml"
    file.write_text('understanding = true\nreply = "gpt"\nemotion = "carer"\n')
    parts = read(f"chat --stack {file} --no-understanding --model everyday")[Stack]
    assert parts == {"understanding": False, "emotion": "everyday"}
    assert Stack.load(file).with_changes(**parts) == Stack(reply="gpt", emotion="everyday")


class _Stopped(Exception):
    """Raised in place of a training."""


def trained_with(line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[TrainSettings, dict[str, Any]]:
    """Return the settings that `emolib train` with `line` trains with, and its other options."""
    calls: list[tuple[TrainSettings, dict[str, Any]]] = []

    def stop(data: str, out: Path, settings: TrainSettings, **more: Any) -> None:
        calls.append((settings, more))
        raise _Stopped

    monkeypatch.setattr(emolib.finetune, "train", stop, raising=False)
    with pytest.raises(_Stopped):
        main(["train", "--data", "x", "--out", "y", "--preset", "cpu", *shlex.split(line)])
    return calls[0]


def test_a_training_starts_from_its_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, more = trained_with("", monkeypatch)
    assert settings == preset("cpu", max_steps=60)
    assert more == {"validation": None, "resume": True}


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (
            "--learning-rate 5e-4 --batch-size 4 --loss-on all",
            {"learning_rate": 5e-4, "batch_size": 4, "loss_on": "all"},
        ),
        ("--model base --steps -1 --seed 7", {"base_model": "base", "max_steps": -1, "seed": 7}),
        ("--set dtype=float32 lora_rank=8", {"dtype": "float32", "lora_rank": 8}),
        ("--learning-rate 5e-4 --set learning_rate=1e-4 max_steps=3", {"learning_rate": 1e-4, "max_steps": 3}),
        ("--epochs 2", {"epochs": 2.0, "max_steps": -1}),
        ("--task chat", {"task": "chat", "max_steps": -1}),
        ("--epochs 2 --steps 5", {"epochs": 2.0, "max_steps": 5}),
    ],
)
def test_settings_of_a_training_are_options(
    line: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = trained_with(line, monkeypatch)
    assert settings == preset("cpu", **{"max_steps": 60, **changes})


def test_a_training_can_start_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained_with("--no-resume", monkeypatch)[1]["resume"] is False


# --- what is written elsewhere -------------------------------------------------------------------


def commands_in(path: Path) -> list[str]:
    """Return the commands that a Markdown file shows, in blocks and in a line of text."""
    text = path.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
    shown = re.findall(r"^emolib .+$", blocks, re.MULTILINE) + re.findall(r"`(emolib [a-z][^`]*)`", text)
    shown += re.findall(r"^    +(?:[A-Z_]+=\S+ )*(emolib .+)$", text, re.MULTILINE)
    return sorted({re.split(r" [<#|…]", line)[0].strip() for line in shown})


@pytest.mark.parametrize("line", [line for name in DOCUMENTS for line in commands_in(ROOT / name)])
def test_a_command_of_the_documents_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    if len(words) > 1 and " ".join(words) not in COMMANDS:
        read(shlex.join(words))
    else:
        assert " ".join(words) in COMMANDS
