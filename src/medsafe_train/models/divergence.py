"""How far an adapter moves a model from its base, token by token."""

from __future__ import annotations

from typing import Any

from medsafe_train import progress
from medsafe_train.artifacts import Ledger
from medsafe_train.models.load import Loaded, without_adapter

# Rows of both models' logits over the vocabulary at a time, in tokens of answers.
ROWS_TOKENS = 1024


def measure(loaded: Loaded, items: list[tuple[str, list[int], list[int]]], ledger: Ledger, what: str) -> None:
    """Add `id, kl, tokens` for every (id, prompt tokens, answer tokens) to the ledger.

    `kl` is the mean over the answer's tokens of KL(base ‖ adapted), in nats, over the whole vocabulary: how much the
    adapter changes what the model would say next after its own words.
    """
    with progress.bar(len(items), what, "answer") as bar:
        bar.update(sum(id in ledger.records for id, _, _ in items))
        for batch in _batches(items):
            if all(id in ledger.records for id, _, _ in batch):
                continue
            values = _batch(loaded, batch)
            bar.update(sum(id not in ledger.records for id, _, _ in batch))
            ledger.add(
                {"id": id, "kl": value, "tokens": len(answer)}
                for (id, _, answer), value in zip(batch, values, strict=True)
            )


def _batches(items: list[tuple[str, list[int], list[int]]]) -> list[list[tuple[str, list[int], list[int]]]]:
    found: list[list[tuple[str, list[int], list[int]]]] = []
    width = 0
    for item in sorted(items, key=lambda item: -len(item[2])):
        if not found or (len(found[-1]) + 1) * width > ROWS_TOKENS:
            found.append([])
            width = len(item[2])
        found[-1].append(item)
    return found


def _batch(loaded: Loaded, batch: list[tuple[str, list[int], list[int]]]) -> list[float]:
    import torch

    keep = max(len(answer) for _, _, answer in batch) + 1
    rows = [prompt + answer for _, prompt, answer in batch]
    inputs = loaded.tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt").to(loaded.model.device)
    # Padding is on the left, so positions have to be counted from each row's first real token.
    positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)

    def chances() -> Any:
        logits = loaded.model(**inputs, position_ids=positions, logits_to_keep=keep, use_cache=False).logits
        return torch.log_softmax(logits[:, :-1].float(), dim=-1)

    with torch.inference_mode():
        adapted = chances()
        with without_adapter(loaded):
            base = chances()
        divergence = (base.exp() * (base - adapted)).sum(-1)
    return [float(divergence[n, -len(answer) :].mean()) for n, (_, _, answer) in enumerate(batch)]
