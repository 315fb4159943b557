"""Measures how far the fine-tuned model has moved from the base model on what the base model answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.models.arm import Adapter
from medsafe_train.models.reference import ModelReference

VERSION = 3


def made_from(limit: int, base_responses: Artifact, model: ModelReference, adapter: Adapter) -> dict[str, Any]:
    """What decides the figures."""
    return {
        "version": VERSION,
        "limit": limit,
        "responses": base_responses.id,
        "model": model.made_from(),
        "adapter": adapter.id,
    }


def run(
    store: Store, limit: int, name: str, base_responses: Artifact, model: ModelReference, adapter: Adapter
) -> Artifact:
    """An artifact with `divergence.jsonl`: `id, kl, tokens`, the mean per-token KL(base ‖ fine-tuned) in nats along the
    base model's own answer, for the first `limit` prompts of a set that it answered with anything."""

    def build(folder: Path) -> None:
        from medsafe_train.models import divergence
        from medsafe_train.models.load import load

        loaded = load(model, adapter.path("adapter"))
        answered = [r for r in base_responses.records("responses.jsonl") if r["response"]][:limit]
        items = [
            (
                record["id"],
                *prompts.training_ids(
                    loaded.tokenizer,
                    model.prompt_format,
                    record["prompt"],
                    record["response"],
                    model.system_prompt,
                    ends=record["finish_reason"] == "stop",
                ),
            )
            for record in answered
        ]
        ledger = Ledger(folder / "divergence.partial.jsonl")
        divergence.measure(loaded, items, ledger, f"divergence from the base model on {name}")
        artifacts.write_jsonl(folder / "divergence.jsonl", (ledger.records[id] for id, _, _ in items))

    with progress.stage("divergence", f"fine-tuned against base model on {name}"):
        return store.make("divergence", made_from(limit, base_responses, model, adapter), build)
