"""Lets a model, base or fine-tuned, answer a prompt set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import EvaluationSettings
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources.prompt_sets import PromptSet

VERSION = 1


def made_from(
    settings: EvaluationSettings, prompts: PromptSet, model: ModelReference, adapter: Artifact | None
) -> dict[str, Any]:
    """What decides the responses."""
    return {
        "version": VERSION,
        "prompts": prompts.fingerprint(),
        "set": prompts.name,
        "model": model.made_from(),
        "adapter": adapter.id if adapter else None,
        "max_new_tokens": settings.max_new_tokens,
        "batch_tokens": settings.batch_tokens,
    }


def run(
    store: Store, settings: EvaluationSettings, prompts: PromptSet, model: ModelReference, adapter: Artifact | None
) -> Artifact:
    """An artifact with `responses.jsonl`: `id, set, principle, prompt, response, finish_reason`."""
    by_id = {prompt.id: prompt for prompt in prompts.prompts}

    def build(folder: Path) -> None:
        from medsafe_train.artifacts import write_jsonl
        from medsafe_train.models import generate
        from medsafe_train.models.load import load

        loaded = load(model, adapter.path("adapter") if adapter else None)
        items = [(id, model.prompt(loaded.tokenizer, prompt.prompt)) for id, prompt in by_id.items()]
        ledger = Ledger(folder / "answers.partial.jsonl")
        generate.answer(
            loaded, items, settings.max_new_tokens, settings.batch_tokens, ledger, f"{arm} answers {prompts.name}"
        )
        records = (_record(by_id[id], prompts.name, ledger.records[id]) for id in by_id)
        write_jsonl(folder / "responses.jsonl", records)
        ledger.path.unlink()

    arm = "fine-tuned" if adapter else "base"
    with progress.stage("responses", f"{arm} model answers {len(by_id)} {prompts.kind} requests of {prompts.name}"):
        return store.make("responses", made_from(settings, prompts, model, adapter), build)


def _record(prompt: Any, name: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "set": name,
        "principle": prompt.principle,
        "prompt": prompt.prompt,
        "response": answer["response"],
        "finish_reason": answer["finish_reason"],
    }
