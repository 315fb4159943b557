"""What many prompts begin with, passed through the model once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# A shorter beginning is not worth the mask that attention to it takes.
LEAST = 8
# Layers whose keys and values are all that they remember; others carry a state along that is no part of a `Prefix`.
KINDS = {"full_attention", "sliding_attention", "chunked_attention"}


def shared(rows: list[list[int]]) -> list[int]:
    """The tokens that all rows begin with; none where they are too few to be worth it."""
    if len(rows) < 2:
        return []
    first = rows[0]
    length = min(len(row) for row in rows)
    for row in rows[1:]:
        if row[:length] != first[:length]:
            length = next(n for n, (a, b) in enumerate(zip(first, row, strict=False)) if a != b)
    return first[:length] if length >= LEAST else []


@dataclass(frozen=True)
class Prefix:
    """The keys and values of a beginning, layer by layer, for one row."""

    layers: list[tuple[Any, Any]]

    def __len__(self) -> int:
        """Its tokens."""
        return int(self.layers[0][0].shape[-2]) if self.layers else 0

    def cache(self) -> Any:
        """A cache to go on from, for any number of rows; None without a beginning.

        Each layer's keys and values are joined to the beginning's while that layer is computed and then let go of, so that
        nothing is kept a row: a plain cache would hold the beginning once for every row of the batch.
        """
        return _cache(self.layers) if self.layers else None


def prefilled(model: Any, ids: list[int]) -> Prefix:
    """A beginning, passed through the model as it is now (its adapter on or off).

    Empty where keys and values are not all that a layer remembers (state-space, recurrent and hybrid models).
    """
    if not ids or not _attends_only(model):
        return Prefix([])
    import torch
    from transformers import DynamicCache

    cache: Any = DynamicCache()
    with torch.inference_mode():
        model(torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers]
    whole = len(layers) == model.config.get_text_config().num_hidden_layers
    return Prefix(layers if whole and all(_holds(keys, len(ids)) for keys, _ in layers) else [])


def _attends_only(model: Any) -> bool:
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return not model._is_stateful and KINDS.issuperset(kinds)


def _holds(keys: Any, length: int) -> bool:
    return keys is not None and keys.dim() == 4 and keys.shape[-2] == length


def _cache(layers: list[tuple[Any, Any]]) -> Any:
    import torch
    from transformers import DynamicCache

    class Joined(DynamicCache):
        """Answers with beginning and what is new, and keeps nothing of it."""

        def update(self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any) -> Any:
            before = layers[layer_idx]
            return tuple(
                torch.cat([old.expand(len(new), -1, -1, -1), new], dim=-2)
                for old, new in zip(before, (key_states, value_states), strict=True)
            )

    cache = Joined()
    for number, (keys, values) in enumerate(layers):
        DynamicCache.update(cache, keys, values, number)
    return cache
