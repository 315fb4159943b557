"""The merged checkpoint: an adapter folded into its base, checked against the two."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from medsafe_train import progress
from medsafe_train.artifacts import write_json
from medsafe_train.models.generate import generate
from medsafe_train.models.load import Loaded, load, release
from medsafe_train.models.reference import ModelReference, size_of

# How long the answers are that the merged checkpoint has to give as base and adapter do.
CHECKED_TOKENS = 32
# Parameters up to which a model on a CPU is merged in float32.
FLOAT32_MOST = 2e9


def merge(folder: Path, model: ModelReference, adapter: Path, requests: list[str]) -> None:
    """Merge an adapter into the 16-bit base as `folder/merged`, and write `folder/merge_check.json`.

    The check compares greedy answers to the requests, and the logits of their first token, with base plus adapter.
    """
    release()
    # Merging into 4-bit weights would lose what was learned; and a model that needs 4 bits on this card does not fit
    # there in 16, so it is merged in main memory. On a CPU in float32: what an adapter adds is often smaller than what
    # bfloat16 rounds away, and float16, in which it is saved, keeps eight times as much of it.
    full = model if model.quantization == "none" else dataclasses.replace(model, quantization="none", device="cpu")
    full = dataclasses.replace(full, dtype="float32") if full.device == "cpu" and _fits(full) else full
    partial = folder / ".merged"
    shutil.rmtree(partial, ignore_errors=True)
    loaded = load(full, adapter)
    items = [full.prompt(loaded.tokenizer, request) for request in requests]
    expected = generate(loaded, items, CHECKED_TOKENS)
    logits = [_last_logits(loaded.model, ids) for ids in items]
    merged = loaded.model.merge_and_unload()
    # float16 keeps more of a float32 weight than bfloat16 does; a 16-bit model stays what it is.
    merged = merged.to(torch.float16) if full.dtype == "float32" else merged
    merged.config.use_cache = True
    # Read by plain generate(): the tokens that end an answer, the prompt format's among them.
    merged.generation_config.eos_token_id = list(loaded.stop_ids)
    merged.generation_config.pad_token_id = loaded.tokenizer.pad_token_id
    merged.save_pretrained(partial, max_shard_size="4GB")
    loaded.tokenizer.save_pretrained(partial)
    del merged
    tokenizer, stop_ids = loaded.tokenizer, loaded.stop_ids
    del loaded
    release()
    again = AutoModelForCausalLM.from_pretrained(
        partial, dtype=getattr(torch, full.dtype), device_map={"": full.device}
    ).eval()
    answers = generate(Loaded(again, tokenizer, stop_ids), items, CHECKED_TOKENS)
    differences = [
        float((_last_logits(again, ids) - before).abs().max()) for ids, before in zip(items, logits, strict=True)
    ]
    same = sum(a == b for a, b in zip(answers, expected, strict=True))
    record = {
        "dtype": "float16" if full.dtype == "float32" else full.dtype,
        "same_greedy_answers": same,
        "of": len(items),
        "tokens": CHECKED_TOKENS,
        "largest_logit_difference": max(differences),
    }
    write_json(folder / "merge_check.json", record)
    if same < len(items):
        progress.warn(
            f"merged checkpoint: {len(items) - same} of {len(items)} greedy answers differ from base plus adapter"
        )
    shutil.rmtree(folder / "merged", ignore_errors=True)
    partial.rename(folder / "merged")


def _fits(model: ModelReference) -> bool:
    # Twice the 16-bit weights, and as much again beside them; a large model is merged as it is.
    size = size_of(model)
    return size is not None and size < FLOAT32_MOST


def _last_logits(model: Any, ids: list[int]) -> Any:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids], device=model.device), logits_to_keep=1).logits[0, -1].float().cpu()
