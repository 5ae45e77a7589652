"""The instruction that the model is given around each text, in its parts.

A template has a constant part before the text, the text, a constant part after it, and the label.
Training and inference run the constant part once and share it (`emolib.prompting.prefix`).
"""

from __future__ import annotations

from dataclasses import dataclass

from emolib.errors import UsageError
from emolib.labels import CARER, LabelSet

__all__ = ["CORRECTED", "PAPER", "PROMPT_NAMES", "Prompt", "get_prompt"]


@dataclass(frozen=True)
class Prompt:
    """An instruction template: `prefix`, the text, `bridge`, then the label.

    `name` is what a run folder records.
    """

    name: str
    prefix: str
    bridge: str

    @classmethod
    def from_template(cls, name: str, template: str) -> Prompt:
        """Split `template` at its two `{}` slots: the text, and the label that ends it."""
        parts = template.split("{}")
        if len(parts) != 3 or parts[2].strip():
            raise UsageError(
                f"prompt template {name!r} needs two slots {{}}: one for the text and, at its end,"
                f" one for the label; it has {len(parts) - 1}"
            )
        return cls(name, parts[0], parts[1])

    @property
    def template(self) -> str:
        """The whole template with its two `{}` slots."""
        return self.prefix + "{}" + self.bridge + "{}"

    def render(self, text: str, label: str = "") -> str:
        """The prompt for `text`, followed by `label` where one is given."""
        return self.prefix + text + self.bridge + label


_ALPACA = """\
Below is an instruction that describes a task, paired with an input that provides further context. \
Write a response that appropriately completes the request.

### Instruction:
{instruction}

### Input:
{{}}

### Response:
{{}}"""

#: The paper's instruction to the letter: it says five types and lists six.
_PAPER = (
    "Then there are five types: anger, fear, joy, love, sadness, and surprise. You need to"
    " determine which category the emotion of input belongs to and return."
)
#: The instruction of each template for a label set, with its number of labels and their names.
_INSTRUCTIONS = {
    "paper": "Then there are {count} types: {labels}. You need to determine which category the emotion of input"
    " belongs to and return.",
    "corrected": "There are {count} {kind}: {labels}. Determine which of them the input expresses and return its name"
    " only.",
}
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

PROMPT_NAMES = tuple(_INSTRUCTIONS)


def get_prompt(name: str, labels: LabelSet = CARER) -> Prompt:
    """Return the template `name` for the label set `labels`; UsageError lists the known names.

    The labels stand in it in alphabetical order, as in the paper's. For the six emotions `paper` is the paper's prompt
    to the letter, and `corrected` the same task with the count and the grammar put right.
    """
    if name not in _INSTRUCTIONS:
        raise UsageError(f"unknown prompt {name!r}; known: {', '.join(PROMPT_NAMES)}")
    return Prompt.from_template(name, _ALPACA.format(instruction=_instruction(name, labels)))


def _instruction(name: str, labels: LabelSet) -> str:
    six = set(labels) == set(CARER)
    if six and name == "paper":
        return _PAPER
    listed = sorted(labels)
    count = _COUNTS[len(labels) - 2] if len(labels) - 2 < len(_COUNTS) else str(len(labels))
    joined = " and ".join(listed) if len(listed) == 2 else f"{', '.join(listed[:-1])}, and {listed[-1]}"
    return _INSTRUCTIONS[name].format(count=count, labels=joined, kind="emotions" if six else "labels")


#: The paper's prompt, and the corrected one, for the six emotions.
PAPER = get_prompt("paper")
CORRECTED = get_prompt("corrected")
