"""How likely a model finds each option of a question, in batches, kept question by question."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medsafe_train.config import UserError
from medsafe_train.models import head, packed, products
from medsafe_train.models.folded import folded
from medsafe_train.models.memory import freed_memory_kept
from medsafe_train.models.prefix import Prefix, prefilled, shared

if TYPE_CHECKING:  # benchmarks/qa_gpu.py runs this where there is little more than torch, transformers and peft
    from medsafe_train.artifacts import Ledger
    from medsafe_train.models.load import Loaded


@dataclass(frozen=True)
class Item:
    """A question's tokens and the tokens of each option."""

    id: str
    context: list[int]
    options: list[list[int]]


@dataclass(frozen=True)
class _Row:
    """One input to the model; after the token at `starts[n]`, and on, it is asked for `targets[n]`."""

    item: str
    inputs: list[int]
    option: int | None  # None: all options, a token each, read off the last position
    targets: list[int]

    @property
    def places(self) -> list[int]:
        """The positions whose logits are needed."""
        last = len(self.inputs)
        return [last - 1] if self.option is None else list(range(last - len(self.targets), last))


def score(loaded: Loaded, items: list[Item], batch_tokens: int, ledger: Ledger, what: str) -> None:
    """Add `id, loglikelihoods, tokens` for every item to the ledger: natural logarithms summed over an option's tokens, and
    how many tokens each has.

    What all contexts begin with (the worked examples) passes through the model once. Options of one token each are read off a
    single forward pass. Only the logits that are asked for are computed, in float32 whatever the model's format: in
    bfloat16, options tie. As in `generate.answer`, batches do not depend on what the ledger holds.
    """
    from medsafe_train import progress

    with progress.bar(len(items), what, "question") as bar:
        bar.update(sum(item.id in ledger.records for item in items))
        for found in scored(loaded, items, batch_tokens, ledger.records):
            bar.update(sum(record["id"] not in ledger.records for record in found))
            ledger.add(found)


def scored(
    loaded: Loaded, items: list[Item], batch_tokens: int, known: Container[str]
) -> Iterator[list[dict[str, Any]]]:
    """The same records, batch by batch, without those batches of which all is known."""
    if all(item.id in known for item in items):
        return
    numbers = {item.id: [len(option) for option in item.options] for item in items}
    attention = packed.attention(loaded.model, _fused(loaded.model))
    with attention, products.quick(loaded.model), folded(loaded.model), freed_memory_kept():
        # The last token of a context is not shared: its logits are what is asked for.
        prefix = prefilled(loaded.model, shared([item.context[:-1] for item in items]))
        rows = [row for item in items for row in _rows(item, len(prefix))]
        for batch in _batches(rows, batch_tokens):
            found: dict[str, dict[int, float]] = {row.item: {} for row in batch}
            if all(id in known for id in found):
                continue
            for row, values in zip(batch, _score_or_halve(loaded, batch, prefix), strict=True):
                _check_finite(row.item, values, loaded.model.dtype)
                found[row.item] |= values
            yield [
                {"id": id, "loglikelihoods": [values[n] for n in range(len(values))], "tokens": numbers[id]}
                for id, values in found.items()
            ]


def _check_finite(id: str, values: dict[int, float], dtype: Any) -> None:
    wrong = next((value for value in values.values() if not math.isfinite(value)), None)
    if wrong is not None:
        raise UserError(
            f"question {id}: the log-likelihood of an option is {wrong}, as the model's numbers overflow in "
            f"{str(dtype).removeprefix('torch.')}: use model.dtype=bfloat16 or float32"
        )


def _rows(item: Item, begin: int) -> list[_Row]:
    context = item.context[begin:]
    if all(len(option) == 1 for option in item.options):
        return [_Row(item.id, context, None, [option[0] for option in item.options])]
    return [_Row(item.id, (context + option)[:-1], n, option) for n, option in enumerate(item.options)]


def _batches(rows: list[_Row], batch_tokens: int) -> list[list[_Row]]:
    # A question's rows stay together, so that its record is written in one piece.
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.item, []).append(row)
    found: list[list[_Row]] = []
    width = 0
    for group in sorted(groups.values(), key=lambda group: -max(len(row.inputs) for row in group)):
        if not found or (len(found[-1]) + len(group)) * width > batch_tokens:
            found.append([])
            width = max(len(row.inputs) for row in group)
        found[-1] += group
    return found


def _score_or_halve(loaded: Loaded, batch: list[_Row], prefix: Prefix) -> list[dict[int, float]]:
    import torch

    try:
        return _score_batch(loaded, batch, prefix)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    from medsafe_train.models.load import free_memory

    free_memory()
    half = len(batch) // 2
    return _score_or_halve(loaded, batch[:half], prefix) + _score_or_halve(loaded, batch[half:], prefix)


def _score_batch(loaded: Loaded, batch: list[_Row], prefix: Prefix) -> list[dict[int, float]]:
    import torch

    with torch.inference_mode():
        if packed.possible(loaded.model):
            logits = _packed_logits(loaded.model, batch, prefix)
        else:
            logits = _padded_logits(loaded, batch, prefix)
        chances = torch.log_softmax(logits, dim=-1)
    found, start = [], 0
    for row in batch:
        count = len(row.places)
        found.append(_read(row, chances[start : start + count]))
        start += count
    return found


def _packed_logits(model: Any, batch: list[_Row], prefix: Prefix) -> Any:
    places, start = [], 0
    for row in batch:
        places += [start + place for place in row.places]
        start += len(row.inputs)
    with _logits_at(model, [0] * len(places), places):
        return packed.logits(model, [row.inputs for row in batch], prefix.layers, places).reshape(len(places), -1)


def _padded_logits(loaded: Loaded, batch: list[_Row], prefix: Prefix) -> Any:
    import torch

    width = max(len(row.inputs) for row in batch)
    pad = loaded.tokenizer.pad_token_id
    # Padded on the right: no real token ever sees the padding, so no mask is needed.
    ids = torch.tensor([row.inputs + [pad] * (width - len(row.inputs)) for row in batch], device=loaded.model.device)
    rows = [n for n, row in enumerate(batch) for _ in row.places]
    places = [place for row in batch for place in row.places]
    with _logits_at(loaded.model, rows, places):
        logits = loaded.model(ids, past_key_values=prefix.cache(), use_cache=prefix.cache() is not None).logits
        return logits.reshape(len(rows), -1)


def _read(row: _Row, chances: Any) -> dict[int, float]:
    if row.option is None:
        values = chances[0, row.targets].tolist()
        return dict(enumerate(values))
    import torch

    return {row.option: float(chances[torch.arange(len(row.targets)), row.targets].double().sum())}


def _fused(model: Any) -> str:
    # Plain attention, chosen on a CPU for short rows, takes twice the time after a thousand tokens of worked examples.
    chosen: str = model.config._attn_implementation
    return "sdpa" if chosen == "eager" and model.device.type == "cpu" and model._supports_sdpa else chosen


@contextmanager
def _logits_at(model: Any, rows: list[int], places: list[int]) -> Iterator[None]:
    """Inside, the model's last matrix sees these positions alone and answers in float32."""
    last = model.get_output_embeddings()
    hooks = [
        last.register_forward_pre_hook(lambda _, inputs: (inputs[0][rows, places], *inputs[1:])),
        last.register_forward_hook(lambda last, inputs, logits: head.in_float32(last, inputs[0], logits)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
