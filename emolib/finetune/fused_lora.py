"""LoRA's forward and backward with fewer passes over memory.

PEFT computes `x Wᵀ + scaling · (x Aᵀ) Bᵀ` with a temporary as large as the output for the product, another for
the scaling and a third for the sum, and as many on the way back. Here both low-rank products are added in place
by the product itself. The numbers are PEFT's up to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["fused_lora"]


class _LoraLinear(torch.autograd.Function):
    """x [T, in], weight [out, in] frozen, down [r, in], up [out, r] -> [T, out]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        inner = x @ down.t()
        out = torch.addmm(bias, x, weight.t()) if bias is not None else x @ weight.t()
        out.addmm_(inner, up.t(), alpha=scale)
        ctx.save_for_backward(x, weight, down, up, inner)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up, inner = ctx.saved_tensors
        inner_grad = (grad @ up).mul_(ctx.scale)
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = grad @ weight
            x_grad.addmm_(inner_grad, down)
        return x_grad, None, None, inner_grad.t() @ x, (grad.t() @ inner).mul_(ctx.scale), None


@contextlib.contextmanager
def fused_lora(model: nn.Module) -> Iterator[None]:
    """Let the LoRA layers of `model` run fused within the block, where that is exact.

    Those over plain linear layers in the adapter's own number format, with one active adapter, no dropout and
    not merged are; the rest, and everything under autocast, stay PEFT's.
    """
    changed = [module for module in model.modules() if _is_plain_lora(module)]
    for module in changed:
        module.forward = MethodType(_forward, module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _is_plain_lora(module: nn.Module) -> bool:
    from peft.tuners.lora import Linear

    if type(module) is not Linear or type(module.base_layer) is not nn.Linear or len(module.active_adapters) != 1:
        return False
    name = module.active_adapters[0]
    weight = module.base_layer.weight
    return (
        name in module.lora_A
        and isinstance(module.lora_dropout[name], nn.Identity)
        and not getattr(module, "lora_variant", {}).get(name)
        and module.lora_A[name].weight.dtype == weight.dtype
        and module.lora_A[name].bias is None
        and module.lora_B[name].bias is None
        and not weight.requires_grad
    )


def _forward(self: Any, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    if arguments or options or self.disable_adapters or self.merged or torch.is_autocast_enabled(x.device.type):
        return type(self).forward(self, x, *arguments, **options)
    name = self.active_adapters[0]
    base = self.base_layer
    flat = _LoraLinear.apply(
        x.reshape(-1, x.shape[-1]),
        base.weight,
        base.bias,
        self.lora_A[name].weight,
        self.lora_B[name].weight,
        self.scaling[name],
    )
    return flat.view(*x.shape[:-1], flat.shape[-1])
