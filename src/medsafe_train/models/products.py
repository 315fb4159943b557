"""Matrix products in float32 on a CPU by oneDNN: the same sums in a different order, twice as fast as MKL's on AMD's processors that have AVX-512."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick(model: Any) -> Iterator[None]:
    """Inside, the linear layers that `possible` names compute with `linear`; no gradients."""
    import torch

    # What has a forward of its own keeps it: another's, or this one's, where two scorings are open.
    layers: list[Any] = [
        module
        for module in model.modules()
        if type(module) is torch.nn.Linear and possible(module.weight) and "forward" not in vars(module)
    ]
    for layer in layers:
        layer.forward = _forward(layer)  # hides the class's own, until it is deleted
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def possible(weight: Any) -> bool:
    """Whether products with this weight can be computed so."""
    import torch

    there = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return there and weight.dtype == torch.float32 and weight.device.type == "cpu"


def linear(inputs: Any, weight: Any, bias: Any) -> Any:
    """torch.nn.functional.linear by oneDNN, of which PyTorch asks nothing in float32 where MKL is there."""
    import torch

    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


def _forward(layer: Any) -> Any:
    def forward(inputs: Any) -> Any:
        return linear(inputs, layer.weight, layer.bias)

    return forward
