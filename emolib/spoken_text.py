"""Text as a speaker says it: "25°C" is "25 degrees Celsius", and code, addresses and `*smiles*` are not read aloud.

Rules, not a library: wetext (the Apache-2.0 one that knows most) makes "No... wait" into "number.. wait" and "24/7"
into "twenty four sevenths", and adds 50 MB. Numbers stay digits, because every voice reads them in its own language.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["spoken_text"]

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


#: Most clauses: words, and nothing that a rule looks for.
_PLAIN = re.compile(r"[A-Za-z ,'?!]+\.?")
_NOT_PLAIN = re.compile(r"\b(?:xD+\b|(?:etc|jr|sr|inc|ltd|vs|approx)\.)", re.IGNORECASE)


def spoken_text(text: str) -> str:
    """Return English `text` with signs, units and abbreviations in words, and without what is only there to be read.

    In a text with Chinese characters, only degrees become words.

    Lines stay apart; one that ends without a mark gets a full stop, unless the next line goes on with the sentence.
    """
    if _PLAIN.fullmatch(text) and not _NOT_PLAIN.search(text):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    rules = _CHINESE if _HAN.search(text) else (*_SIGNS, *_NUMBERS, *_ABBREVIATIONS)
    for pattern, replacement in (*_NOT_SPOKEN, *rules):
        text = pattern.sub(replacement, text)
    return _end_lines(text)


# --- what is not spoken --------------------------------------------------------------------------

#: Verbs without their ending.
_GESTURES = (
    "beam|blink|blush|bow|breath|chuckl|clap|clear|cough|cri|cry|cuddl|exhal|frown|gasp|giggl|grin|groan|gulp|hesitat|hold"
    "|hug|inhal|kiss|laugh|lean|listen|look|nod|pat|paus|plac|rais|reach|roll|shak|shrug|sigh|sit|smil|smirk|sniff|sniffl"
    "|snort|sob|squeez|stand|tak|tear|think|tilt|trembl|walk|wav|whisper|wink|wip|yawn"
)
#: Words that alone between asterisks are a gesture too, without an ending: *sigh*
_BARE_GESTURES = "blush|chuckle|cough|gasp|giggle|grin|gulp|hug|laugh|nod|shrug|sigh|smile|sniff|sob|wave|wink|yawn"
_GESTURE = rf"(?:\w+ly )?(?:(?:{_GESTURES})(?:[a-z]?ing|e?s)\b[^*()\[\]\n]{{0,80}}|(?:{_BARE_GESTURES}))"
_BEFORE_GESTURE = r"(?:^|(?<=[.!?…,:;\"”)\n])|(?<=[.!?…,:;\"”)] ))"
_GESTURE_IN_MARKS = rf"(?:\*{{1,2}}_?{_GESTURE}_?\*{{1,2}}|\({_GESTURE}\)|\[{_GESTURE}\])"

_HOST = r"(?:www\.)*((?:[\w-]+\.)*[\w-]+)"
_ADDRESS_REST = r"(?::\d+)?(?:[/?#][^\s<>\"”)\]]*[\w/])?"
_FACE = r"[:;][-'’]?[)(\]\[DPpOo/\\|*3]+|=[)(DP]+|[xX]D+|<3+|</3|\^_*\^|[-TtoO>]_+[-TtoO<]"

_CELL = r"[ \t]*:?-{2,}+:?[ \t]*"

_NOT_SPOKEN: tuple[Rule, ...] = (
    # A block of code, to its end if it is not closed.
    (re.compile(r"^[ \t]*(```++|~~~++)[^\n`]*+\n.*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL), "\n"),
    # An address is its host: "see example.org".
    (re.compile(rf"<?\bhttps?://(?:[^\s/@]+@)?{_HOST}{_ADDRESS_REST}>?", re.IGNORECASE), r"\1"),
    (re.compile(rf"\bwww\.{_HOST}{_ADDRESS_REST}", re.IGNORECASE), r"\1"),
    (re.compile(r"(?<![\w@./-])((?:[a-z0-9-]+\.)+[a-z]{2,6})/[^\s<>\"”)\]]*[\w/]"), r"\1"),
    # *smiles*, if it stands apart: "it *looks* good" is emphasis.
    (re.compile(rf"{_BEFORE_GESTURE}[ \t]*{_GESTURE_IN_MARKS}", re.IGNORECASE), " "),
    (re.compile(rf"{_GESTURE_IN_MARKS}(?=[ \t]*(?:\n|\Z))", re.IGNORECASE), " "),
    (re.compile(rf"(?<!\S)(?:{_FACE})(?=$|[\s.,!?])", re.MULTILINE), " "),
    # Rules between sections and tables.
    (re.compile(rf"^[ \t]*\|?{_CELL}(?:\|{_CELL})*\|?[ \t]*$", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*([*_=])(?:[ \t]*\1){2,}[ \t]*$", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*\|(.+)\|[ \t]*$", re.MULTILINE), lambda row: ", ".join(re.split(r"\s*\|\s*", row[1].strip()))),
)

# --- signs ---------------------------------------------------------------------------------------

#: A number, a variable or a bracket beside an operator.
_LEFT, _RIGHT = r"(?:(?<=\d)|(?<=\b[A-Za-z])|(?<=\)))", r"(?=[-+]?\d|[A-Za-z]\b|\()"

_SIGNS: tuple[Rule, ...] = (
    (re.compile(r"(?<=[^\W\d_])[´`ʹʼ′](?=[^\W\d_])"), "'"),
    (re.compile(rf"{_LEFT}[ ]?[*×·][ ]?{_RIGHT}"), " times "),
    (re.compile(rf"{_LEFT}[ ]?÷[ ]?{_RIGHT}"), " divided by "),
    (re.compile(rf"{_LEFT}[ ]?(?:<=|≤)[ ]?{_RIGHT}"), " is at most "),
    (re.compile(rf"{_LEFT}[ ]?(?:>=|≥)[ ]?{_RIGHT}"), " is at least "),
    (re.compile(r"^[ \t]*(?:[-=]{1,3}>|[→⇒➜➔➡])\s*", re.MULTILINE), ""),
    (re.compile(r"[ \t]*(?:[-=]{1,3}>|[→⇒➜➔➡])[ \t]*"), " to "),
    (re.compile(rf"{_LEFT}(?:[ ]<[ ]|<(?=\d)){_RIGHT}"), " is less than "),
    (re.compile(rf"{_LEFT}(?:[ ]>[ ]|>(?=\d)){_RIGHT}"), " is greater than "),
    (re.compile(r"(?<=[\w)])[ ]?={1,3}[ ]?(?=[\w(-])"), " equals "),
    (re.compile(r"(?<=\d)[ ][-−][ ](?=\d)"), " minus "),
    (re.compile(r"(?<=[^\W\d_])\*{1,3}(?=[^\W\d_])"), ""),
    # Emphasis, before its asterisks would become spaces inside a word or before a mark.
    (re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]*?[^\s*])\1(?![\w*])"), r"\2"),
    (re.compile(r"(?<![\w_])(_{1,3})(?=[^\s_])([^_\n]*?[^\s_])\1(?![\w_])"), r"\2"),
    (re.compile(r"\b([A-G])#(?!\w)"), r"\1 sharp"),
    (re.compile(r"(?<!\w)#(?=\d)"), "number "),
    (re.compile(r"(?<![\w~])~(?=\d)"), "about "),
)


# --- numbers and their units ---------------------------------------------------------------------

_MONTHS = "January February March April May June July August September October November December".split()
_FRACTIONS = {"1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter", "3/4": "three quarters"}
_UNITS = {
    "km/h": "kilometer per hour", "mph": "mile per hour", "km": "kilometer", "cm": "centimeter", "mm": "millimeter",
    "kg": "kilogram", "mg": "milligram", "ml": "milliliter", "lb": "pound", "lbs": "pound", "oz": "ounce",
    "ft": "foot", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "ms": "millisecond",
    "hrs": "hour", "mins": "minute", "secs": "second",
}  # fmt: skip
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
_SCALES = {"°C": "Celsius", "°F": "Fahrenheit", "℃": "Celsius", "℉": "Fahrenheit", "°": ""}


def _plural(count: str, unit: str) -> str:
    if count.lstrip("-−") == "1":
        return unit
    first, *rest = unit.split(" ")
    return " ".join(["feet" if first == "foot" else f"{first}s", *rest])


def _degrees(found: re.Match[str]) -> str:
    scale = _SCALES[found[2].replace(" ", "")]
    return f"{found[1]} {_plural(found[1], 'degree')} {scale}".rstrip()


def _money(found: re.Match[str]) -> str:
    unit = _CURRENCIES[found[1]]
    whole, cents, scale = found[2], found[3], found[4]
    if scale:
        return f"{whole}{f'.{cents}' if cents else ''}{scale} {unit}s"
    said = f"{whole} {_plural(whole, unit)}"
    return f"{said} {cents.lstrip('0')}" if cents and int(cents) else said


def _date(found: re.Match[str]) -> str:
    year, month, day = found[1], int(found[2]), int(found[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return found[0]
    return f"{_MONTHS[month - 1]} {day}, {year}"


def _range(found: re.Match[str]) -> str:
    """20-25 and 2020-2024 are ranges; 555-1234 is not."""
    first, last = found.groups()
    alike = len(first) == len(last) or max(len(first), len(last)) <= 2
    return f"{first} to {last}" if alike else found[0]


_NUMBERS: tuple[Rule, ...] = (
    (re.compile(r"(?<![\d-])(\d{4})-(\d\d)-(\d\d)(?![\d-])"), _date),
    (re.compile(r"(?<![\w.,-])(\d{1,4})[-–—](\d{1,4})(?![\d-]|[.,]\d)"), _range),
    (re.compile(r"([$£€])[ ]?(\d+(?:,\d{3})*)(?:\.(\d\d?))?(?![\d.,]*\d)([ ](?:thousand|million|billion))?"), _money),
    (re.compile(r"(?<![\w.,])([-−]?\d+(?:[.,]\d+)*)[ ]?(°[ ]?[CF]\b|[℃℉]|°(?![ ]?\w))"), _degrees),
    (
        re.compile(rf"(?<![\w.,])([-−]?\d+(?:[.,]\d+)*)[ ]?({'|'.join(_UNITS)})(?![\w/])"),
        lambda found: f"{found[1]} {_plural(found[1], _UNITS[found[2]])}",
    ),
    (re.compile(r"(?<![\w/.])([12]/[23]|[13]/4)(?![\w/])"), lambda found: _FRACTIONS.get(found[1], found[0])),
    (re.compile(r"(?<![\w/])24/7(?![\w/])"), "24 7"),
)

# --- abbreviations: their dots would end a sentence -------------------------------------------------

_TITLES = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "St": "Saint", "Mt": "Mount",
    "Gen": "General", "Capt": "Captain", "Lt": "Lieutenant", "Col": "Colonel", "Sgt": "Sergeant", "Rev": "Reverend",
    "Gov": "Governor", "Sen": "Senator",
}  # fmt: skip
_SHORT = {
    "e.g.": "for example", "i.e.": "that is", "vs.": "versus", "approx.": "approximately", "a.m.": "AM", "p.m.": "PM",
    "etc.": "et cetera", "jr.": "Junior", "sr.": "Senior", "inc.": "Incorporated", "ltd.": "Limited",
}  # fmt: skip
#: Of these, the dot ends a sentence too if a capital or nothing follows.
_MAY_END = {"a.m.", "p.m.", "etc.", "jr.", "sr.", "inc.", "ltd."}
_SENTENCE_STARTS = (
    "A|After|All|An|And|As|At|But|Do|For|He|Her|His|How|I|If|In|Is|It|Let|Maybe|My|No|Not|Now|On|Or|Our|She|So|That|The|Then"
    "|There|They|This|To|Was|We|Were|What|When|Where|Who|Why|With|Would|Yes|You|Your"
)


def _short_form(found: re.Match[str]) -> str:
    word = found[1].lower()
    ends = word in _MAY_END and re.match(r"[\"'”’)\]]*(?:\s*\Z|\s+[A-Z]|\n)", found.string[found.end() :])
    return _SHORT[word] + ("." if ends else "")


_ABBREVIATIONS: tuple[Rule, ...] = (
    (re.compile(r"(?<=[a-z] )St\.(?=[ ]+[a-z]|,)"), "Street"),
    (
        re.compile(rf"\b({'|'.join(_TITLES)})\.(?=[ ]+(?!(?:{_SENTENCE_STARTS})\b)[A-Z])"),
        lambda found: _TITLES[found[1]],
    ),
    (re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, _SHORT))})(?!\w)", re.IGNORECASE), _short_form),
    (re.compile(r"\bNos?\.(?=[ ]?\d)"), "number"),
    (re.compile(r"\b(?:[A-Z]\.[ ]?){2,5}(?=[A-Z][a-z])"), lambda found: found[0].replace(".", " ").replace("  ", " ")),
    (re.compile(rf"\b([A-Z][a-z]+ [A-Z])\.(?= (?!(?:{_SENTENCE_STARTS})\b)[A-Z][a-z])"), r"\1"),
    (re.compile(r"(?<![\w/.])([a-z]+)/([a-z]+)(?![\w/.])"), lambda pair: _alternatives(*pair.groups())),
)


def _alternatives(first: str, second: str) -> str:
    return f"{first} {second}" if "or" in (first, second) else f"{first} or {second}"


# --- Chinese ---------------------------------------------------------------------------------------

_HAN = re.compile("[\u3400-\u9fff]")
_CHINESE: tuple[Rule, ...] = ((re.compile("°[ ]?C|℃"), "摄氏度"), (re.compile("°[ ]?F|℉"), "华氏度"))

# --- lines -----------------------------------------------------------------------------------------

_ITEM = re.compile(r"\s*(?:#{1,6}\s|[-+*•–]\s|\d{1,3}[.)]\s)")
_MARKS = tuple(".!?…,;:。！？，；：、-–—(")


def _end_lines(text: str) -> str:
    """Return `text` with a full stop behind each line that ends a sentence or an item without a mark."""
    lines = text.split("\n")
    following, blank = "", False
    for place in range(len(lines) - 1, -1, -1):
        line = lines[place]
        if not line.strip():
            blank = True
            continue
        if following and _ends_without_mark(line) and (blank or not _goes_on(line, following)):
            said = _said(line)
            lines[place] = f"{said}{'。' if _HAN.match(said[-1]) else '.'}"
        following, blank = line, False
    return "\n".join(line for line in lines if line.strip())


def _said(line: str) -> str:
    return line.rstrip().rstrip("*_`~ ")


def _ends_without_mark(line: str) -> bool:
    said = _said(line)
    return any(map(str.isalnum, said)) and not said.rstrip("\"'”’)]").endswith(_MARKS)


def _goes_on(line: str, following: str) -> bool:
    """Whether a sentence is only broken between the two lines."""
    begins = following.lstrip(" \t>*_\"'“‘([")[:1]
    return begins.islower() and not _ITEM.match(line) and not _ITEM.match(following)
