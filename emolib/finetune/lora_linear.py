"""PEFT's LoRA layers as one function each: the same numbers from fewer passes over memory.

PEFT computes `base(x) + lora_B(lora_A(dropout(x))) · scaling` with a tensor for each step, in float32 a quarter of a
training step on a CPU. Within `fused_lora(model)` a layer adds the low-rank product into the base layer's result, and
does the same backward, under autocast in the precision of that. PEFT stays in charge of everything else; a layer that
is more than this formula (4-bit weights, dropout, DoRA, several adapters) keeps its own forward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["fused_lora"]


@contextlib.contextmanager
def fused_lora(model: Any) -> Iterator[None]:
    """Within it, the plain LoRA layers of `model` run fused; gradients of what ran stay right after it."""
    layers = _plain_layers(model)
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _plain_layers(model: Any) -> list[Any]:
    from peft.tuners.lora import Linear

    return [module for module in model.modules() if type(module) is Linear and _is_plain(module)]


def _is_plain(layer: Any) -> bool:
    base, names = layer.base_layer, layer.active_adapters
    frozen = not any(parameter.requires_grad for parameter in base.parameters())
    if type(base) is not nn.Linear or not frozen or len(names) != 1 or names[0] not in layer.lora_A:
        return False
    (name,) = names
    weights = base.weight, layer.lora_A[name].weight, layer.lora_B[name].weight
    return (
        isinstance(layer.lora_dropout[name], nn.Identity)
        and not (layer.merged or layer.disable_adapters or layer.fan_in_fan_out)
        and name not in layer.lora_variant
        and "forward" not in vars(layer)  # another library's own, such as accelerate's hooks
        and layer.lora_B[name].bias is None
        and len({weight.dtype for weight in weights}) == 1
    )


def _forward(layer: Any, x: Tensor) -> Tensor:
    (name,) = layer.active_adapters
    base, a, b = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    return _LoraLinear.apply(x, base.weight, base.bias, a, b, layer.scaling[name], dtype)


class _LoraLinear(torch.autograd.Function):
    """x [..., I] · W [O, I]ᵀ + bias + scaling · x · A [r, I]ᵀ · B [O, r]ᵀ, with W and the bias frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.scaling, ctx.shape, ctx.dtypes = scaling, x.shape, (x.dtype, a.dtype, b.dtype)
        rows, weight, a, b = (tensor.to(dtype) for tensor in (x.reshape(-1, x.shape[-1]), weight, a, b))
        low = rows @ a.t()
        result = rows @ weight.t() if bias is None else torch.addmm(bias.to(dtype), rows, weight.t())
        result.addmm_(low, b.t(), alpha=scaling)
        ctx.save_for_backward(rows, weight, a, b, low)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, a, b, low = ctx.saved_tensors
        of_x_in, of_a_in, of_b_in = ctx.dtypes
        gradient = gradient.reshape(-1, gradient.shape[-1])
        of_low = (gradient @ b).mul_(ctx.scaling)
        of_a = (of_low.t() @ rows).to(of_a_in)
        of_b = (gradient.t() @ low).mul_(ctx.scaling).to(of_b_in)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight).addmm_(of_low, a).view(ctx.shape).to(of_x_in)
        return of_x, None, None, of_a, of_b, None, None
