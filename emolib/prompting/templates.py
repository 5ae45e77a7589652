"""The instruction that the model is given around each text, in its parts.

A template has a constant part before the text, the text, a constant part after it, and the label.
Training and inference run the constant part once and share it (`emolib.prompting.prefix`).
"""

from __future__ import annotations

from dataclasses import dataclass

from emolib.errors import UsageError

__all__ = ["CORRECTED", "PAPER", "PROMPTS", "Prompt", "get_prompt"]


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

#: The paper's prompt to the letter: it says five types and lists six.
PAPER = Prompt.from_template(
    "paper",
    _ALPACA.format(
        instruction="Then there are five types: anger, fear, joy, love, sadness, and surprise. You need to"
        " determine which category the emotion of input belongs to and return."
    ),
)

#: The same task with the count and the grammar put right.
CORRECTED = Prompt.from_template(
    "corrected",
    _ALPACA.format(
        instruction="There are six emotions: anger, fear, joy, love, sadness, and surprise. Determine which"
        " of them the input expresses and return its name only."
    ),
)

PROMPTS: dict[str, Prompt] = {prompt.name: prompt for prompt in (PAPER, CORRECTED)}


def get_prompt(name: str) -> Prompt:
    """The prompt called `name`; UsageError lists the known ones."""
    try:
        return PROMPTS[name]
    except KeyError:
        raise UsageError(f"unknown prompt {name!r}; known: {', '.join(PROMPTS)}") from None
