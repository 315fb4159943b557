"""A model's last matrix, read in float32 whatever the model's format, with an adapter on it as without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# So many rows of the vocabulary's matrix are turned into float32 at a time.
VOCABULARY_ROWS = 16_384


def in_float32(head: Any, hidden: Any, logits: Any) -> Any:
    """What the head says after `hidden`, in float32; its own `logits` where they are, or where its weights cannot be read."""
    import torch

    if logits.dtype == torch.float32:
        return logits
    head = at_work(head)
    base = head.base_layer if _is_lora(head) else head
    if type(base) is not torch.nn.Linear:
        return logits.float()
    hidden = hidden.float()
    found = _product(base, hidden)
    for a, b, scale in _added(head):
        found = found + scale * _product(b, _product(a, hidden))
    return found


def at_work(head: Any) -> Any:
    """The layer that computes: of a head that an adapter replaces, the adapter's, or the model's own where that is off."""
    import torch

    if type(head) is torch.nn.Linear:
        return head
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    if isinstance(head, ModulesToSaveWrapper):
        active = next((name for name in head.active_adapters if name in head.modules_to_save), None)
        return head.original_module if head.disable_adapters or active is None else head.modules_to_save[active]
    return head.get_base_layer() if isinstance(head, BaseTunerLayer) and head.disable_adapters else head


def _is_lora(head: Any) -> bool:
    if not hasattr(head, "lora_A"):
        return False
    from peft.tuners.lora import Linear

    # DoRA and its like do more than add.
    return isinstance(head, Linear) and not any(name in head.lora_variant for name in head.active_adapters)


def _added(head: Any) -> Iterator[tuple[Any, Any, float]]:
    if _is_lora(head) and not head.merged:
        for name in head.active_adapters:
            if name in head.lora_A:
                yield head.lora_A[name], head.lora_B[name], head.scaling[name]


def _product(layer: Any, inputs: Any) -> Any:
    import torch

    found = torch.cat([inputs @ rows.float().T for rows in layer.weight.split(VOCABULARY_ROWS)], dim=-1)
    return found if layer.bias is None else found + layer.bias.float()
