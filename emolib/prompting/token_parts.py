"""A prompt taken apart: which part each token belongs to, and whether it counts in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emolib.prompting.encoding import PromptEncoder

__all__ = ["TokenPart", "token_parts"]


@dataclass(frozen=True)
class TokenPart:
    """One token: its text, its part (prefix, text, bridge or label), and whether each `loss_on` counts it.

    A token counts if the model is trained to predict it from what stands before.
    """

    token: str
    part: str
    response: bool
    all: bool

    @property
    def shown(self) -> str:
        """The token with what cannot be seen made visible: · for a leading space, ↵ for a line break."""
        text = self.token.replace("\n", "↵")
        return f"·{text[1:]}" if text.startswith(" ") else text


def token_parts(encoder: PromptEncoder, text: str, label: str) -> list[TokenPart]:
    """Return the tokens of the prompt for `text` with its `label`, in order, as training sees them.

    The marks come from the examples themselves: `loss_on="all"` counts every token but the first.
    """
    example = encoder.example(text, label)
    whole = encoder.example(text, label, loss_on="all")
    prefix, suffix = list(encoder.prefix_ids), [*example.input_ids, encoder.end_id]
    trunk = example.branches.count(0)
    # A target at place t is the token after it; -1 is the last token of the prefix.
    of_response, of_all = ({at + 1 for at in targets} for targets in (example.target_at, whole.target_at))
    words = len(encoder.tokenizer(text.strip(), add_special_tokens=False)["input_ids"])
    parts = [TokenPart(_decoded(encoder, token), "prefix", False, place > 0) for place, token in enumerate(prefix)]
    for place, token in enumerate(suffix):
        part = "label" if place >= trunk else "text" if place < words else "bridge"
        parts.append(TokenPart(_decoded(encoder, token), part, place in of_response, place in of_all))
    return parts


def _decoded(encoder: PromptEncoder, token: int) -> str:
    return encoder.tokenizer.decode([token], clean_up_tokenization_spaces=False)
