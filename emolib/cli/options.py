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
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from emolib.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Command", "Options", "Parser", "argument", "command", "given", "option", "option_of", "suggestion"]

_METAVARS = {int: "N", float: "X", str: "NAME"}
_NUMBERS = {int: "a whole number", float: "a number"}


def option(text: str, default: Any = MISSING, **metadata: Any) -> Any:
    """Return a field that is an option with the help `text`, required when it has no default.

    `metadata` may have `flag` (default: the field's name), `metavar` and `choices` as in argparse, and `environment`,
    the variable that holds the value when the option is not given.
    """
    return field(default=default, metadata={"help": text, **metadata})


def option_of(function: str, parameter: str, text: str, **metadata: Any) -> Any:
    """Return a field for `parameter` of `function`, a "module:name": None when not given, so that its default holds."""
    return option(text, None, default_of=(function, parameter), **metadata)


def argument(text: str, default: Any = MISSING) -> Any:
    """Return a field that is a positional argument."""
    return option(text, default, positional=True)


def given(**values: Any) -> dict[str, Any]:
    """Return those of `values` that are not None, to be passed to the function of an `option_of`."""
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Options:
    """The fields of the data class `kind` as options, without those that `skip` names.

    `base` is an instance whose values are the defaults, `flags` adds names to the option of a field. `layered` values
    go over those of a file or a preset: what was given is read as a mapping, and booleans have a --no- form. `title`
    heads the options in the help, `default` is the form in which a default is shown.
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

    def read(self, values: Mapping[str, Any]) -> Any:
        """Return an instance with `values` of a parser and the defaults; of `layered` ones what was given."""
        found: dict[str, Any] = {}
        for entry in fields(self.kind):
            value = values.get(self._place(entry), os.environ.get(entry.metadata.get("environment", "")) or None)
            if value is not None:
                found[entry.name] = tuple(value) if isinstance(value, list) else value
        if self.layered:
            return found
        return self.kind(**found) if self.base is None else replace(self.base, **found)

    def _place(self, entry: Field[Any]) -> str:
        return f"{self.kind.__name__}.{entry.name}"

    def _add(self, parser: Parser, group: Any, entry: Field[Any], hint: Any) -> None:
        needed = entry.default is MISSING and entry.default_factory is MISSING
        how: dict[str, Any] = {"default": None, "help": self._help(entry)}
        if hint is bool:
            paired = self.layered or entry.default is True
            how.update(action=argparse.BooleanOptionalAction if paired else "store_const", dest=self._place(entry))
            how.update({} if paired else {"const": True})
        else:
            how.update(_values(entry, hint))
        if entry.metadata.get("positional"):
            many = "nargs" in how
            how.update(metavar=entry.name.upper(), nargs=("+" if many else None) if needed else "*" if many else "?")
            parser.note(group.add_argument(self._place(entry), **how))
        else:
            names = [f"--{entry.metadata.get('flag', entry.name).replace('_', '-')}", *self.flags.get(entry.name, ())]
            parser.note(group.add_argument(*names, **{**how, "dest": self._place(entry), "required": needed}))

    def _help(self, entry: Field[Any]) -> str:
        text, default = entry.metadata["help"], _shown(self._default(entry))
        return (f"{text} ({self.default.format(default)})" if default else text).replace("%", "%%")

    def _default(self, entry: Field[Any]) -> Any:
        if "environment" in entry.metadata:
            return f"${entry.metadata['environment']}"
        if "default_of" in entry.metadata:
            return _default_of(*entry.metadata["default_of"])
        value = getattr(self.base, entry.name) if self.base else entry.default
        return None if value is MISSING else value


@dataclass(frozen=True)
class Command:
    """A command: the function that does it, and the options that it takes, each kind as an argument."""

    run: Callable[..., None]
    options: Sequence[Options]

    def parser(self, name: str, summary: str) -> Parser:
        """Return the parser of the command's options."""
        parser = Parser(prog=f"emolib {name}", description=summary)
        for one in self.options:
            one.add_to(parser)
        return parser

    def read(self, parser: Parser, words: Sequence[str]) -> list[Any]:
        """Return the arguments of the function that `words` give; UsageError when they make no sense."""
        values = parser.values(words)
        return [one.read(values) for one in self.options]


def command(*kinds: type[DataclassInstance] | Options) -> Callable[[Callable[..., None]], Command]:
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
            shown = f"{action.metavar} ..." if action.nargs in ("+", "*") else f"{action.metavar}"
            shown = " ".join([*action.option_strings[:1], shown])
            self.usage = f"{self.usage} {shown if action.required else f'[{shown}]'}"

    def values(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the values that were given, by destination; UsageError when `words` make no sense."""
        self._refuse_unknown(words)
        found, surplus = self.parse_known_args(words)
        if surplus:
            self.error(f"{'unknown option' if surplus[0].startswith('-') else 'one argument too many:'} {surplus[0]}")
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


def _values(entry: Field[Any], hint: Any) -> dict[str, Any]:
    """Return how argparse reads the values of an option of type `hint`."""
    many: dict[str, Any] = {}
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is tuple:
        hint, *rest = get_args(hint)
        many["nargs"] = "+" if rest == [...] else 1 + len(rest)
    choices = get_args(hint) if get_origin(hint) is Literal else entry.metadata.get("choices")
    if choices:
        return {**many, "type": _reader(str, choices), "metavar": f"{{{','.join(choices)}}}"}
    return {**many, "type": _reader(hint), "metavar": entry.metadata.get("metavar", _METAVARS.get(hint, "PATH"))}


def _reader(kind: type, choices: Sequence[str] = ()) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if choices and text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {_NUMBERS.get(kind, 'a path')}") from None

    return read


def _default_of(function: str, parameter: str) -> Any:
    from importlib import import_module
    from inspect import signature

    module, _, name = function.partition(":")
    return signature(getattr(import_module(module), name)).parameters[parameter].default


def _shown(value: Any) -> str:
    if value is None or value is False or value == () or value == "":
        return ""
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
