"""Linear layers in oneDNN's layout multiply as torch's own do, and whatever cannot be packed is left alone."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_model

from emolib.classify import packed_linear
from emolib.classify.packed_linear import PackedLinear, pack_linears

pytestmark = pytest.mark.skipif(not packed_linear._has_packed_products(), reason="this torch has no oneDNN")


def packed(model: torch.nn.Module) -> int:
    return sum(isinstance(module, PackedLinear) for module in model.modules())


@pytest.mark.parametrize("rows", [(1, 1), (1, 17), (3, 40), (16, 64)])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma"])
def test_a_packed_model_says_what_it_said_before(family: str, rows: tuple[int, int]) -> None:
    model = tiny_model(family)
    ids = torch.randint(0, model.config.vocab_size, rows)
    with torch.inference_mode():
        before = model(ids).logits
        pack_linears(model)
        torch.testing.assert_close(model(ids).logits, before, rtol=1e-4, atol=1e-5)
    assert packed(model) == 2 * 7
    assert type(model.get_output_embeddings()) is torch.nn.Linear


def test_rows_that_lie_apart_in_memory_are_multiplied_too() -> None:
    linear = torch.nn.Linear(24, 10)
    rows = torch.randn(2, 5, 48)[..., ::2]
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(rows), linear(rows))


def test_what_multiplies_in_its_own_way_is_left_alone() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(rows)

    model = tiny_model()
    own = model.model.layers[0].mlp.up_proj
    model.model.layers[0].mlp.up_proj = Doubled(own.in_features, own.out_features, bias=False)
    pack_linears(model)
    assert packed(model) == 2 * 7 - 1


def test_other_precisions_and_a_torch_without_onednn_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model().bfloat16()
    pack_linears(model)
    assert packed(model) == 0
    monkeypatch.setattr(packed_linear, "_has_packed_products", lambda: False)
    model = tiny_model()
    pack_linears(model)
    assert packed(model) == 0
