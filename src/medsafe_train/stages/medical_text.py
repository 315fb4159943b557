"""Measures how likely a model finds medical text that is known to be good: a loss that choosing between options cannot see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, question_prompts
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.models.arm import Arm
from medsafe_train.sources.questions import Benchmark, Question

VERSION = 3
# Every token of a text is read off the whole vocabulary.
BATCH_TOKENS = 2048


def made_from(limit: int, benchmark: Benchmark, arm: Arm) -> dict[str, Any]:
    """What decides the figures."""
    made, asked = arm.made_from(), _chosen(limit, benchmark)
    # The text is plain, whatever the model's prompt format.
    del made["model"]["prompt_format"], made["model"]["system_prompt"]
    return {
        "version": VERSION,
        "wording": question_prompts.VERSION,
        **made,
        "texts": artifacts.fingerprint(
            [[q.id, q.question, q.options, q.answer, q.context, q.reference] for q in asked]
        ),
    }


def run(store: Store, limit: int, benchmark: Benchmark, arm: Arm) -> Artifact:
    """An artifact with `texts.jsonl`: `id, loglikelihood, tokens` of the reference text of a benchmark's first `limit` questions.

    The text is the long answer, else the abstract, else the right answer in words; natural logarithm, summed over its tokens.
    """
    asked = _chosen(limit, benchmark)

    def build(folder: Path) -> None:
        from medsafe_train.models import loglikelihood
        from medsafe_train.models.load import context_length

        loaded, longest = arm.load(), context_length(arm.base)
        items = []
        for question in asked:
            before, text = question_prompts.reference_ids(loaded.tokenizer, benchmark, question)
            room = (longest or len(before) + len(text)) - len(before)
            if room > 0:  # what comes before may fill the context by itself
                items.append(loglikelihood.Item(question.id, before, [text[:room]]))
        ledger = Ledger(folder / "texts.partial.jsonl")
        loglikelihood.score(loaded, items, BATCH_TOKENS, ledger, f"{arm.name} on texts of {benchmark.name}")
        artifacts.write_jsonl(folder / "texts.jsonl", (_record(ledger.records[item.id]) for item in items))

    with progress.stage("medical_text", f"{arm.name} model on {len(asked)} medical texts of {benchmark.name}"):
        return store.make("medical_text", made_from(limit, benchmark, arm), build)


def _chosen(limit: int, benchmark: Benchmark) -> list[Question]:
    return benchmark.questions[:limit]


def _record(scored: dict[str, Any]) -> dict[str, Any]:
    return {"id": scored["id"], "loglikelihood": scored["loglikelihoods"][0], "tokens": scored["tokens"][0]}
