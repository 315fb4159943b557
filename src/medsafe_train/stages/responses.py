"""Lets a model, base or fine-tuned, answer a prompt set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import EvaluationSettings
from medsafe_train.models.arm import Arm
from medsafe_train.prompts import cut_to_tokens, prefilled_ids
from medsafe_train.sources.prompt_sets import PromptSet

VERSION = 1


def prefills(settings: EvaluationSettings, prompts: PromptSet) -> bool:
    """Whether a set is also asked with an answer begun: harmful ones, and their benign twins for comparison."""
    return bool(settings.prefill) and (prompts.kind == "harmful" or any(prompt.pair for prompt in prompts.prompts))


def made_from(settings: EvaluationSettings, prompts: PromptSet, arm: Arm, prefilled: bool = False) -> dict[str, Any]:
    """What decides the responses."""
    begun = {"prefill": settings.prefill, "prefill_tokens": settings.prefill_tokens} if prefilled else {}
    return {
        "version": VERSION,
        "prompts": prompts.fingerprint(),
        "set": prompts.name,
        **arm.made_from(),
        "max_new_tokens": settings.max_new_tokens,
        "batch_tokens": settings.batch_tokens,
        **begun,
    }


def run(store: Store, settings: EvaluationSettings, prompts: PromptSet, arm: Arm, prefilled: bool = False) -> Artifact:
    """An artifact with `responses.jsonl`: `id, set, principle, prompt, response, finish_reason`.

    `prefilled`: the model goes on from the first `prefill_tokens` tokens of `prefill`, which are not part of the response.
    """
    by_id = {prompt.id: prompt for prompt in prompts.prompts}

    def build(folder: Path) -> None:
        from medsafe_train.artifacts import write_jsonl
        from medsafe_train.models import generate

        loaded = arm.load()
        begun = cut_to_tokens(loaded.tokenizer, settings.prefill or "", settings.prefill_tokens) if prefilled else ""
        items = [
            (id, prefilled_ids(loaded.tokenizer, prompt.prompt, begun, arm.base.system_prompt))
            for id, prompt in by_id.items()
        ]
        ledger = Ledger(folder / "answers.partial.jsonl")
        generate.answer(
            loaded, items, settings.max_new_tokens, settings.batch_tokens, ledger, f"{arm.name} answers {prompts.name}"
        )
        records = (_record(by_id[id], prompts.name, ledger.records[id]) for id in by_id)
        write_jsonl(folder / "responses.jsonl", records)
        ledger.path.unlink()

    how = ", begun with assent" if prefilled else ""
    with progress.stage(
        "responses", f"{arm.name} model answers {len(by_id)} {prompts.kind} requests of {prompts.name}{how}"
    ):
        return store.make("responses", made_from(settings, prompts, arm, prefilled), build)


def _record(prompt: Any, name: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "set": name,
        "principle": prompt.principle,
        "prompt": prompt.prompt,
        "response": answer["response"],
        "finish_reason": answer["finish_reason"],
    }
