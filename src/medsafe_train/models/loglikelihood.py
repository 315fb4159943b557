"""How likely a model finds each option of a question, in batches, kept question by question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medsafe_train import progress
from medsafe_train.artifacts import Ledger
from medsafe_train.models.load import Loaded, free_memory


@dataclass(frozen=True)
class Item:
    """A question's tokens and the tokens of each option."""

    id: str
    context: list[int]
    options: list[list[int]]


@dataclass(frozen=True)
class _Row:
    item: str
    option: int | None  # None: all options, a token each
    inputs: list[int]
    targets: list[int]


def score(loaded: Loaded, items: list[Item], batch_tokens: int, ledger: Ledger, what: str) -> None:
    """Add `id, loglikelihoods` (natural logarithm, summed over an option's tokens) for every item to the ledger.

    Options of one token each are read off a single forward pass. Only the last positions' logits are computed. As in
    `generate.answer`, batches do not depend on what the ledger holds.
    """
    rows = [row for item in items for row in _rows(item)]
    batches = _batches(rows, batch_tokens)
    with progress.bar(len(items), what, "question") as bar:
        bar.update(sum(item.id in ledger.records for item in items))
        for batch in batches:
            wanted = {item.id: item for item in items if item.id in {row.item for row in batch}}
            if any(id not in ledger.records for id in wanted):
                found: dict[str, dict[int, float]] = {id: {} for id in wanted}
                for row, values in zip(batch, _score_or_halve(loaded, batch), strict=True):
                    found[row.item] |= values
                bar.update(sum(id not in ledger.records for id in found))
                ledger.add(
                    {"id": id, "loglikelihoods": [values[n] for n in range(len(values))]}
                    for id, values in found.items()
                )


def _rows(item: Item) -> list[_Row]:
    if all(len(option) == 1 for option in item.options):
        return [_Row(item.id, None, item.context, [option[0] for option in item.options])]
    return [_Row(item.id, n, (item.context + option)[:-1], option) for n, option in enumerate(item.options)]


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


def _score_or_halve(loaded: Loaded, batch: list[_Row]) -> list[dict[int, float]]:
    import torch

    try:
        return _score_batch(loaded, batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    free_memory()
    half = len(batch) // 2
    return _score_or_halve(loaded, batch[:half]) + _score_or_halve(loaded, batch[half:])


def _score_batch(loaded: Loaded, batch: list[_Row]) -> list[dict[int, float]]:
    import torch

    keep = max(1 if row.option is None else len(row.targets) for row in batch)
    inputs = loaded.tokenizer.pad({"input_ids": [row.inputs for row in batch]}, padding=True, return_tensors="pt")
    inputs = inputs.to(loaded.model.device)
    # Padding is on the left, so positions have to be counted from each row's first real token.
    positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = loaded.model(**inputs, position_ids=positions, logits_to_keep=keep, use_cache=False).logits
        chances = torch.log_softmax(logits.float(), dim=-1).cpu()
    return [_read(row, chances[n]) for n, row in enumerate(batch)]


def _read(row: _Row, chances: Any) -> dict[int, float]:
    if row.option is None:
        return {n: float(chances[-1, token]) for n, token in enumerate(row.targets)}
    last = chances[-len(row.targets) :]
    return {row.option: float(sum(last[n, token] for n, token in enumerate(row.targets)))}
