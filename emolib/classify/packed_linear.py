"""Linear layers in the layout that oneDNN multiplies fastest: float32, on a CPU, for inference alone.

The products are those of `torch.nn.Linear` within rounding. torch's own float32 products go through MKL, which lays the
weights out anew for each of them; for the few tokens of a text that is half of its time.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["PackedLinear", "pack_linears"]

#: A few short texts; the layout is as good for one and for a thousand rows.
_USUAL_ROWS = 64


class PackedLinear(torch.nn.Module):
    """`linear` with its weights in oneDNN's layout; they cannot be read back or trained."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _USUAL_ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """The product [..., out] of `rows` [..., in]."""
        return torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, "none", [], "")


def pack_linears(model: Any) -> None:
    """Put a PackedLinear in place of each linear layer of `model` but its head, which shares its weights.

    Nothing is done where the model is not float32 on a CPU, or torch has no oneDNN.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32 or not _has_packed_products():
        return
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            # What derives from it (an adapter's layer, a quantised one) multiplies in its own way.
            if type(child) is torch.nn.Linear and child is not head:
                setattr(parent, name, PackedLinear(child))
    # The rest is copied: it is a part of one mapped file, which would keep the memory of what was replaced.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def _has_packed_products() -> bool:
    products = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and all(
        hasattr(products, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )
