"""Rows of several lengths passed through a model as one, without padding and each once: on a CPU, for models of a plain kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# In these families attention alone looks from one position at another, and it asks for nothing but a scale.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
ATTENTION = "medsafe_packed"
# Kinds of rotary positions whose frequencies depend on how long a row is.
FOLLOWING = ("dynamic", "longrope")


def possible(model: Any) -> bool:
    """Whether rows can be packed for this model: not on a GPU, and not where attention sees a window only.

    Nor where the frequencies of positions follow the longest row, which packing would make that of all.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windows = kinds != {"full_attention"} or getattr(config, "sliding_window", None)
    ropes = (getattr(config, "rope_parameters", None) or {}).get("rope_type") in FOLLOWING
    return model.device.type == "cpu" and config.model_type in FAMILIES and not windows and not ropes


def logits(model: Any, rows: list[list[int]], beginning: list[tuple[Any, Any]], wanted: list[int]) -> Any:
    """What the model says after the rows, one behind the other: 1 × tokens × vocabulary; right at the wanted positions alone.

    Every row goes on from the beginning (keys and values, layer by layer; empty for none) and sees no other row.
    """
    import torch

    start = beginning[0][0].shape[-2] if beginning else 0
    ids = torch.tensor([[id for row in rows for id in row]])
    places = torch.tensor([[start + n for row in rows for n in range(len(row))]])
    lengths = [len(row) for row in rows]
    with attention(model, ATTENTION), _last_layer_at(model, wanted):
        # Models hand what they do not know on to the attention; were it lost on the way, that would raise.
        return model(ids, position_ids=places, use_cache=False, lengths=lengths, beginning=beginning).logits


@contextmanager
def _last_layer_at(model: Any, wanted: list[int]) -> Iterator[None]:
    """Inside, the last layer computes what no other position needs at these positions alone."""

    def spread(_: Any, inputs: tuple[Any, ...], few: Any) -> Any:
        full = few.new_zeros(few.shape[0], count[-1], few.shape[-1])
        full[:, wanted] = few
        return full

    def only(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        count.append(inputs[0].shape[1])
        return (inputs[0][:, wanted], *inputs[1:])

    count: list[int] = []
    layer = model.get_decoder().layers[-1]
    modules = (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp)
    hooks = [hook for m in modules for hook in (m.register_forward_pre_hook(only), m.register_forward_hook(spread))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def attention(model: Any, name: str) -> Iterator[None]:
    """Inside, the model computes its attention this way."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)  # no mask is registered, so none is made
    chosen = model.config._attn_implementation
    if name != chosen:
        model.set_attn_implementation(name)
    try:
        yield
    finally:
        if name != chosen:
            model.set_attn_implementation(chosen)


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float,
    lengths: list[int],
    beginning: list[tuple[Any, Any]],
    **_: Any,
) -> tuple[Any, None]:
    import torch

    # Whole rows at a time: the kernel skips what comes later, and a mask would cost more than the attention of short rows.
    rows = zip(*(states.split(lengths, dim=-2) for states in (query, key, value)), strict=True)
    found = [_fused(q, k, v, scaling, True) for q, k, v in rows]
    out, sums = torch.cat([out for out, _ in found], dim=-2), torch.cat([sums for _, sums in found], dim=-1)
    if beginning:
        # All rows see all of the beginning, so that its keys are neither copied for each row nor masked. Two softmaxes are
        # one when weighed by their sums.
        keys, values = beginning[module.layer_idx]
        before, sums_before = _fused(query, keys, values, scaling, False)
        share = torch.sigmoid(sums - sums_before)[..., None]
        out = torch.lerp(before.float(), out.float(), share).to(query.dtype)
    return out.transpose(1, 2).contiguous(), None


def _fused(query: Any, key: Any, value: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    """Attention, and the logarithm of its softmax's sum at each position."""
    import torch

    found: tuple[Any, Any] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, scale=scale
    )
    return found
