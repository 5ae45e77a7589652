"""One command, `emolib`, thin over the library: each command parses its options and calls one function.

A group of commands has a module; only that of the command that is called is loaded. Options come from the fields of
data classes (`emolib.cli.options`).
"""

from __future__ import annotations

import errno
import os
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from emolib import __version__
from emolib.cli.console import prepare_streams
from emolib.cli.options import Command, Parser, suggestion
from emolib.errors import EmolibError

__all__ = ["COMMANDS", "find_command", "main"]

#: Each command with its module and what it does; a command without a module has commands of its own.
COMMANDS: dict[str, tuple[str, str]] = {
    "clean": ("data", "Clean a corpus and report what was found in it."),
    "plan": ("training", "Show what a training needs, before any weights are loaded."),
    "train": ("training", "Fine-tune a base model with LoRA."),
    "plot": ("training", "Draw the curves of a run."),
    "evaluate": ("evaluation", "Evaluate a run by strict exact match, beside its base model."),
    "classify": ("evaluation", "Classify texts: standard input, or a file of any size."),
    "export": ("serving", "Write a run as GGUF files for llama.cpp, or as safetensors."),
    "talk": ("conversation", "Answer what is spoken, in a voice that fits its emotion."),
    "chat": ("conversation", "Chat in text, with the emotion of each line beside it."),
    "serve-llm": ("serving", "Serve chat and emotion from one model, on llama.cpp."),
    "serve-tts": ("serving", "Serve speech synthesis over HTTP."),
    "voice": ("", "Keep reference clips of voices (voiceprints)."),
    "voice add": ("voices", "Add a reference clip of 3 to 30 s to a voice."),
    "voice list": ("voices", "List the voices and their clips."),
    "voice play": ("voices", "Play the reference clip of a voice."),
    "voice remove": ("voices", "Delete a voice."),
    "mic": ("machine", "Measure the room and show what the microphone hears."),
    "demo": ("machine", "Do all of it on the sample corpus and write a report."),
    "doctor": ("machine", "Show what is found on this machine, and what each stage uses."),
}
_ABOUT = "Teach a language model to hear emotion in words, and talk to it."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `emolib` and return its exit code: 0, 1 for a failure, 2 for bad use."""
    prepare_streams()
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
    except EmolibError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("stopped; what was finished is kept, and the same command resumes from there", 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == "emolib":
            raise
        return _fail(f"this command needs the package {package}, which is not installed; `make setup` installs all", 1)
    except BrokenPipeError:
        # The reader of our output has gone (`emolib … | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if sys.platform == "win32" and error.errno == errno.EINVAL:
            return 0  # what a pipe without a reader is there
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail("no space left on the disk; free some and run the same command again", 1)
    return 0


def find_command(name: str) -> Command:
    """Load and return the command called `name`, such as "train" or "voice add"."""
    module, _ = COMMANDS[name]
    return getattr(import_module(f"emolib.cli.{module}"), name.replace("-", "_").replace(" ", "_"))


def _run(words: Sequence[str], group: str = "") -> None:
    """Run the command that `words` start with, one of those in `group`."""
    name = f"{group} {words[0]}".strip() if words else group
    if name == group or name not in COMMANDS:
        _answer_without_command(words, group)
    elif not COMMANDS[name][0]:
        _run(words[1:], name)
    else:
        command = find_command(name)
        command.run(*command.read(command.parser(name, COMMANDS[name][1]), words[1:]))


def _answer_without_command(words: Sequence[str], group: str) -> None:
    """Show help or the version; UsageError for a command that is missing or not known."""
    known = {name[len(group) :].strip(): about for name, (_, about) in COMMANDS.items() if _group_of(name) == group}
    parser = Parser(prog=f"emolib {group}".strip(), formatter_class=RawDescriptionHelpFormatter)
    parser.usage = f"{parser.prog} COMMAND [options]"
    parser.description = COMMANDS[group][1] if group else _ABOUT
    width = max(map(len, known))
    parser.epilog = "\n".join(["commands:", *(f"  {name:{width}}  {about}" for name, about in known.items())])
    if not group:
        parser.add_argument("--version", action="version", version=f"emolib {__version__}")
    if words and not words[0].startswith("-"):
        parser.error(f"unknown command {words[0]!r}{suggestion(words[0], known)}")
    if surplus := parser.parse_known_args(words)[1]:
        parser.error(f"unknown option {surplus[0]}")
    parser.error(f"name a command: {', '.join(known)}")


def _group_of(name: str) -> str:
    return name.rpartition(" ")[0]


def _fail(message: str, exit_code: int) -> int:
    sys.stdout.flush()
    print(f"emolib: {message}", file=sys.stderr)
    return exit_code
