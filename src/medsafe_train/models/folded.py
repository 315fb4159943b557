"""An adapter added to a layer's weights while that layer is computed, where that costs less than the adapter's own products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# For fewer tokens than this, adding to the weights costs more than the low-rank products.
LEAST_TOKENS = 256


@contextmanager
def folded(model: Any) -> Iterator[None]:
    """Inside, an adapter that is switched on costs next to nothing, if there is one.

    The base model's weights stay as they are: the sum lives for one layer's call. Only in float32 and on a CPU, where the
    low-rank products are slow for what they compute: 16 bits would round what is added, and quantised weights are never added to.
    """
    layers = _layers(model) if hasattr(model, "peft_config") else []
    for layer in layers:
        layer.forward = _forward(layer)  # hides the class's own, until it is deleted
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _layers(model: Any) -> list[Any]:
    from peft.tuners.lora import Linear

    return [module for module in model.modules() if isinstance(module, Linear) and _foldable(module)]


def _foldable(layer: Any) -> bool:
    import torch

    base, active = layer.get_base_layer(), layer.active_adapters
    if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] not in layer.lora_A:
        return False
    # DoRA and its like scale the sum, and a bias is no part of the weight.
    special = active[0] in layer.lora_variant or layer.lora_bias.get(active[0], False)
    plain = type(base) is torch.nn.Linear and base.weight.dtype == torch.float32
    return plain and base.weight.device.type == "cpu" and not special and "forward" not in vars(layer)


def _forward(layer: Any) -> Any:
    import torch

    from medsafe_train.models import products

    plain, base, name = layer.forward, layer.get_base_layer(), layer.active_adapters[0]
    a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    product = products.linear if products.possible(base.weight) else torch.nn.functional.linear

    def forward(inputs: Any, *rest: Any, **named: Any) -> Any:
        if inputs.shape[:-1].numel() < LEAST_TOKENS:
            return plain(inputs, *rest, **named)
        return product(inputs, torch.addmm(base.weight, b, a, alpha=scale), base.bias)

    return forward
