"""Options of a command, read from the fields of data classes.

A field holds all of an option: its name, its type, its default and, in the metadata, its help text. The settings of
the library are such classes (`TrainSettings`, `Stack`, …); what belongs to the command line alone stands in a small
class beside its command.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from emolib.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Command", "Given", "Options", "Parser", "argument", "command", "option", "option_of", "suggestion"]

T = TypeVar("T", bound="DataclassInstance")

_METAVARS = {int: "N", float: "X", str: "NAME"}
_NUMBERS = {int: "a whole number", float: "a number"}


def option(text: str, default: Any = MISSING, **metadata: Any) -> Any:
    """Return a field that is an option with the help `text`, required when it has no default.

    `metadata` may have `flag` (default: the field's name), `metavar` and `choices` as in argparse, and `environment`,
    the variable that holds the value when the option is not given.
    """
    return field(default=default, metadata={"help": text, **metadata})


def option_of(function: str, parameter: str, text: str, **metadata: Any) -> Any:
    """Return a field that is an option with the default that `parameter` has in `function`, a "module:name"."""
    module, _, name = function.partition(":")

    def default() -> Any:
        from inspect import signature

        return signature(getattr(import_module(module), name)).parameters[parameter].default

    return field(default_factory=default, metadata={"help": text, **metadata})


def argument(text: str, default: Any = MISSING) -> Any:
    """Return a field that is a positional argument."""
    return field(default=default, metadata={"help": text, "positional": True})


@dataclass(frozen=True)
class Options:
    """The fields of the data class `kind` as options, without those that `skip` names.

    `base` is an instance whose values are the defaults, `flags` adds names to the option of a field. `layered` values
    go over those of a file or a preset, so every boolean has a --no- form. `title` heads the options in the help,
    `default` is the form in which a default is shown.
    """

    kind: type[DataclassInstance]
    base: DataclassInstance | None = None
    skip: Collection[str] = ()
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    layered: bool = False
    title: str | None = None
    default: str = "default: {}"

    def add_to(self, parser: Parser) -> None:
        """Add the options to `parser`."""
        group = parser.add_argument_group(self.title) if self.title else parser
        hints = get_type_hints(self.kind)
        for entry in fields(self.kind):
            if entry.name not in self.skip:
                self._add(parser, group, entry, hints[entry.name])

    def made(self, values: Mapping[str, Any]) -> Any:
        """Return an instance with `values`, the environment's for options that are not given, and the defaults."""
        variables = {
            entry.name: os.environ.get(entry.metadata["environment"])
            for entry in fields(self.kind)
            if "environment" in entry.metadata
        }
        values = {**{name: value for name, value in variables.items() if value}, **values}
        return self.kind(**values) if self.base is None else replace(self.base, **values)

    def destination(self, name: str) -> str:
        """Return the name under which the parser stores the field `name`."""
        return f"{self.kind.__name__}.{name}"

    def _add(self, parser: Parser, group: Any, entry: Field[Any], hint: Any) -> None:
        needed = entry.default is MISSING and entry.default_factory is MISSING
        names = [f"--{entry.metadata.get('flag', entry.name).replace('_', '-')}", *self.flags.get(entry.name, ())]
        how: dict[str, Any] = {"default": argparse.SUPPRESS, "help": self._help(entry, needed)}
        if hint is bool:
            paired = self.layered or entry.default is True
            how["action"] = argparse.BooleanOptionalAction if paired else "store_true"
        else:
            how.update(_values(entry, hint))
        if entry.metadata.get("positional"):
            names, how["metavar"] = [self.destination(entry.name)], entry.name.upper()
            if not needed:
                # argparse would hand the mark SUPPRESS itself to the type of the argument.
                how.update(nargs="*" if "nargs" in how else "?", default=None)
        else:
            how.update(dest=self.destination(entry.name), required=needed)
        parser.note(group.add_argument(*names, **how))

    def _help(self, entry: Field[Any], needed: bool) -> str:
        text = entry.metadata["help"]
        if "environment" in entry.metadata:
            text += f" ({self.default.format('$' + entry.metadata['environment'])})"
        elif not needed and (default := _shown(self._default(entry))):
            text += f" ({self.default.format(default)})"
        return text.replace("%", "%%")

    def _default(self, entry: Field[Any]) -> Any:
        if self.base is not None:
            return getattr(self.base, entry.name)
        return entry.default if entry.default_factory is MISSING else entry.default_factory()


class Given:
    """What a command line says: the values that were given, by the data class to which they belong."""

    def __init__(self, options: Sequence[Options], values: Mapping[str, Any]) -> None:
        self._options = {one.kind: one for one in options}
        self._values = values

    def changes(self, kind: type[DataclassInstance]) -> dict[str, Any]:
        """Return the values that were given for fields of `kind`, by name."""
        places = {entry.name: self._options[kind].destination(entry.name) for entry in fields(kind)}
        values = {name: self._values[place] for name, place in places.items() if place in self._values}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}

    def of(self, kind: type[T]) -> T:
        """Return an instance of `kind` with the values that were given, and its defaults for the others."""
        return self._options[kind].made(self.changes(kind))


@dataclass(frozen=True)
class Command:
    """A command: the function that does it, and the options that it takes."""

    run: Callable[[Given], None]
    options: Sequence[Options]

    def parser(self, name: str, summary: str) -> Parser:
        """Return the parser of the command's options."""
        parser = Parser(prog=f"emolib {name}", description=summary)
        for one in self.options:
            one.add_to(parser)
        return parser

    def start(self, parser: Parser, words: Sequence[str]) -> None:
        """Run the command with the options in `words`; UsageError when they make no sense."""
        self.run(Given(self.options, parser.values(words)))


def command(*kinds: type[DataclassInstance] | Options) -> Callable[[Callable[[Given], None]], Command]:
    """Return a decorator that makes a function the command with the options of `kinds`."""
    options = tuple(kind if isinstance(kind, Options) else Options(kind) for kind in kinds)
    return lambda function: Command(function, options)


class Parser(argparse.ArgumentParser):
    """argparse, with a usage line that fits on a screen, and bad use as a UsageError of one sentence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.usage = f"{self.prog} [options]"
        self._flags: list[str] = ["-h", "--help"]

    def note(self, action: argparse.Action) -> None:
        """Keep the names of an option for suggestions, and show what is needed in the usage line."""
        self._flags += action.option_strings
        if action.required or not action.option_strings:
            self.usage = f"{self.usage} {_needed(action)}"

    def values(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the values that were given, by destination; UsageError when `words` make no sense."""
        self._refuse_unknown(words)
        found, surplus = self.parse_known_args(words)
        if surplus:
            wrong = "unknown option" if surplus[0].startswith("-") else "one argument too many:"
            self.error(f"{wrong} {surplus[0]}")
        return {name: value for name, value in vars(found).items() if value not in (None, [])}

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError with `message` and the way to the help."""
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in name and not any(flag.startswith(name) for flag in self._flags):
                self.error(f"unknown option {name}{suggestion(name, self._flags)}")


def suggestion(word: str, known: Collection[str]) -> str:
    """Return ", did you mean …?" with the closest of `known`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, 1)
    return f", did you mean {close[0]}?" if close else ""


def _needed(action: argparse.Action) -> str:
    many = " ..." if action.nargs in ("+", "*") else ""
    if action.option_strings:
        return f"{action.option_strings[0]} {action.metavar}{many}"
    return f"{action.metavar}{many}" if action.nargs in (None, "+") else f"[{action.metavar}{many}]"


def _values(entry: Field[Any], hint: Any) -> dict[str, Any]:
    """Return how argparse reads the values of an option of type `hint`."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    many: dict[str, Any] = {}
    if get_origin(hint) is tuple:
        hint, *rest = get_args(hint)
        many["nargs"] = "+" if rest == [...] else 1 + len(rest)
    choices = get_args(hint) if get_origin(hint) is Literal else entry.metadata.get("choices")
    if choices:
        return {**many, "type": _choice(choices), "metavar": f"{{{','.join(choices)}}}"}
    metavar = entry.metadata.get("metavar", _METAVARS.get(hint, "PATH"))
    return {**many, "type": _number(hint) if hint in _NUMBERS else hint, "metavar": metavar}


def _choice(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return read


def _number(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {_NUMBERS[kind]}") from None

    return read


def _shown(value: Any) -> str:
    if value is None or value is False or value == () or value == "":
        return ""
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
