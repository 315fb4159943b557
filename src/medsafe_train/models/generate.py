"""Greedy answers in batches, kept item by item."""

from __future__ import annotations

from typing import Any

from medsafe_train import progress, prompts
from medsafe_train.artifacts import Ledger
from medsafe_train.models.load import Loaded, free_memory


def answer(
    loaded: Loaded,
    items: list[tuple[str, list[int]]],
    max_new_tokens: int,
    batch_tokens: int,
    ledger: Ledger,
    what: str,
) -> None:
    """Answer every (id, prompt tokens), greedily, and add `id, response, finish_reason` to the ledger.

    `finish_reason` is `stop` or `length`; what a model thinks aloud before its answer is no part of that, and kept as `thought`.
    A batch holds at most `batch_tokens` tokens, padding and answer counted.
    Batches depend on the items alone, not on what the ledger holds: an answer can differ in rounding with what it
    is batched with, so a run that goes on after being killed repeats the batch it was in, and ends the same.
    """
    done = sum(id in ledger.records for id, _ in items)
    with progress.bar(len(items), what, "answer") as bar:
        bar.update(done)
        for batch in batches(items, max_new_tokens, batch_tokens):
            missing = sum(id not in ledger.records for id, _ in batch)
            if missing:
                ledger.add(_answer_batch(loaded, batch, max_new_tokens))
                bar.update(missing)


def batches(items: list[tuple[str, list[int]]], extra: int, batch_tokens: int) -> list[list[tuple[str, list[int]]]]:
    """Items longest first, in batches whose padded size with `extra` tokens each stays within the budget."""
    found: list[list[tuple[str, list[int]]]] = []
    width = 0
    for item in sorted(items, key=lambda item: -len(item[1])):
        if not found or (len(found[-1]) + 1) * width > batch_tokens:
            found.append([])
            width = len(item[1]) + extra
        found[-1].append(item)
    return found


def _answer_batch(loaded: Loaded, batch: list[tuple[str, list[int]]], max_new_tokens: int) -> list[dict[str, Any]]:
    import torch

    new = None
    try:
        new = generate(loaded, [ids for _, ids in batch], max_new_tokens)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    if new is not None:
        return [{"id": id, **_cut(loaded, asked, ids)} for (id, asked), ids in zip(batch, new, strict=True)]
    # Outside the handler: inside it, the exception still holds the tensors that did not fit.
    free_memory()
    half = len(batch) // 2
    return _answer_batch(loaded, batch[:half], max_new_tokens) + _answer_batch(loaded, batch[half:], max_new_tokens)


def generate(loaded: Loaded, asked: list[list[int]], max_new_tokens: int) -> list[list[int]]:
    """The new tokens for each prompt, greedily chosen; what follows the end of an answer is padding."""
    import torch
    from transformers import GenerationConfig

    inputs = loaded.tokenizer.pad({"input_ids": asked}, padding=True, return_tensors="pt").to(loaded.model.device)
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(loaded.stop_ids),
        pad_token_id=loaded.tokenizer.pad_token_id,
    )
    with torch.inference_mode():
        output = loaded.model.generate(**inputs, generation_config=settings)
    return output[:, inputs["input_ids"].shape[1] :].tolist()


def _cut(loaded: Loaded, asked: list[int], ids: list[int]) -> dict[str, str]:
    end = next((n for n, id in enumerate(ids) if id in loaded.stop_ids), None)
    opened = prompts.opens_thought(loaded.tokenizer, loaded.tokenizer.decode(asked))
    text, thought = prompts.parted(loaded.tokenizer.decode(ids[:end], skip_special_tokens=True), opened)
    found = {"response": text, "finish_reason": "length" if end is None else "stop"}
    return {**found, "thought": thought} if thought else found
