"""The loss of a batch: one module whose `forward` returns it, so that data-parallel training works.

Two ways to the same number: `shared_prefix_loss` runs the prompt's constant part once for the batch,
`padded_loss` runs every prompt whole. `verify` holds one against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from emolib.finetune.joint_prefix import run_jointly
from emolib.prompting.prefix import head

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PromptLoss", "Verification", "padded_loss", "shared_prefix_loss", "verify"]

#: Largest relative differences of loss and gradient between the two ways that count as rounding.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.05}


class PromptLoss(nn.Module):
    """A causal language model with the loss of `collate`'s batches.

    `forward(**batch, num_items_in_batch=W)` returns {"loss": Σ weight · cross-entropy / W}; without W the
    batch's own weight is taken. `shared` chooses between the two ways and may be changed between steps.
    """

    def __init__(self, model: Any, prefix_ids: Sequence[int], *, loss_on: str, shared: bool) -> None:
        super().__init__()
        self.model = model
        self.prefix_ids = tuple(prefix_ids)
        self.loss_on = loss_on
        self.shared = shared

    def forward(self, num_items_in_batch: Tensor | float | None = None, **batch: Tensor) -> dict[str, Tensor]:
        """The loss of `batch`; see the class."""
        total = self.total(batch, loss_on=self.loss_on)
        items = self.items(batch) if num_items_in_batch is None else num_items_in_batch
        return {"loss": total / items}

    def total(self, batch: dict[str, Tensor], *, loss_on: str) -> Tensor:
        """Return Σ weight · cross-entropy of `batch`, a scalar."""
        way = shared_prefix_loss if self.shared else padded_loss
        return way(self.model, self.prefix_ids, batch, loss_on=loss_on)

    def items(self, batch: dict[str, Tensor]) -> Tensor:
        """The weight of all targets of `batch`, a scalar."""
        weight = batch["target_weights"].sum()
        if self.loss_on == "all":
            weight = weight + (len(self.prefix_ids) - 1) * len(batch["input_ids"])
        return weight


def shared_prefix_loss(model: Any, prefix_ids: Sequence[int], batch: dict[str, Tensor], *, loss_on: str) -> Tensor:
    """Σ weight · cross-entropy of `batch`, the prefix run once for all of it."""
    branches = batch["branches"]
    of_prefix, hidden = run_jointly(
        model,
        prefix_ids,
        batch["input_ids"],
        positions=batch["positions"],
        branches=branches if bool((branches > 1).any()) else None,
    )
    at = batch["target_at"]
    states = torch.where((at < 0)[:, None], of_prefix[-1], hidden[batch["target_rows"], at.clamp(min=0)])
    losses = cross_entropy(head(model, states).float(), batch["target_ids"], reduction="none")
    total = (losses * batch["target_weights"]).sum()
    if loss_on == "all":
        targets = torch.tensor(list(prefix_ids[1:]), device=hidden.device)
        own = cross_entropy(head(model, of_prefix[:-1]).float(), targets, reduction="sum")
        total = total + len(hidden) * own
    return total


def padded_loss(model: Any, prefix_ids: Sequence[int], batch: dict[str, Tensor], *, loss_on: str) -> Tensor:
    """Σ weight · cross-entropy of `batch`, every prompt run whole and padded: the plain way.

    An example with a soft label becomes one row for each of its branches.
    """
    rows = _whole_rows(prefix_ids, batch, loss_on)
    device = batch["input_ids"].device
    length = max(len(ids) for ids, _, _ in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long, device=device)
    targets = torch.zeros(len(rows), length, dtype=torch.long, device=device)
    weights = torch.zeros(len(rows), length, device=device)
    mask = torch.zeros(len(rows), length, dtype=torch.long, device=device)
    for index, (row, row_targets, row_weights) in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        targets[index, : len(row)] = torch.tensor(row_targets)
        weights[index, : len(row)] = torch.tensor(row_weights)
        mask[index, : len(row)] = 1
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    wanted = weights > 0
    losses = cross_entropy(logits[wanted].float(), targets[wanted], reduction="none")
    return (losses * weights[wanted]).sum()


def _whole_rows(
    prefix_ids: Sequence[int], batch: dict[str, Tensor], loss_on: str
) -> list[tuple[list[int], list[int], list[float]]]:
    """Tokens, the target after each, and its weight, for every branch of every example."""
    rows = []
    offset = len(prefix_ids)
    targets = [
        (row, at, target, weight)
        for row, at, target, weight in zip(
            batch["target_rows"].tolist(),
            batch["target_at"].tolist(),
            batch["target_ids"].tolist(),
            batch["target_weights"].tolist(),
            strict=True,
        )
    ]
    for index, (ids, branches) in enumerate(zip(batch["input_ids"].tolist(), batch["branches"].tolist(), strict=True)):
        own = [entry[1:] for entry in targets if entry[0] == index]
        trunk = branches.count(0)
        # The targets at the text's end are the first tokens of its labels, branch by branch.
        for branch in range(1, max(branches) + 1):
            kept = [at for at, of in enumerate(branches) if of in (0, branch)]
            place = {at: offset + new for new, at in enumerate(kept)}
            tokens = [*prefix_ids, *(ids[at] for at in kept)]
            row_targets, row_weights = [0] * len(tokens), [0.0] * len(tokens)
            starts = 0
            for at, target, weight in own:
                # The trunk's own targets count once, with the first branch; at its end stand the labels' starts.
                starts_a_label = at == trunk - 1
                starts += starts_a_label
                if (at < trunk - 1 and branch > 1) or (starts_a_label and starts != branch):
                    continue
                if at in place or at == -1:
                    where = offset - 1 if at == -1 else place[at]
                    row_targets[where], row_weights[where] = target, weight
            if loss_on == "all" and branch == 1:
                row_targets[: offset - 1] = prefix_ids[1:]
                row_weights[: offset - 1] = [1.0] * (offset - 1)
            rows.append((tokens, row_targets, row_weights))
    return rows


@dataclass(frozen=True)
class Verification:
    """How far the shared-prefix loss and gradient are from the plain way, relatively, and what is allowed."""

    loss_error: float
    gradient_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """True where both errors are within the tolerance."""
        return self.loss_error <= self.tolerance and self.gradient_error <= self.tolerance


def verify(
    model: Any, prefix_ids: Sequence[int], batch: dict[str, Tensor], *, loss_on: str, dtype: str
) -> Verification:
    """Loss and gradient of `batch`: shared prefix against whole prompts."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def measured(way: Any) -> tuple[float, Tensor]:
        loss = way(model, prefix_ids, batch, loss_on=loss_on)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        parts = [torch.zeros(1) if gradient is None else gradient.float().flatten().cpu() for gradient in gradients]
        return loss.item(), torch.cat(parts)

    loss, gradient = measured(shared_prefix_loss)
    plain_loss, plain_gradient = measured(padded_loss)
    scale = plain_gradient.norm().clamp(min=1e-12)
    return Verification(
        abs(loss - plain_loss) / max(abs(plain_loss), 1e-12),
        float((gradient - plain_gradient).norm() / scale),
        TOLERANCES[dtype],
    )
