"""Writes demonstrations: safe responses to harmful requests, the base model's own answers to benign ones (replay)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import DemonstrationsSettings, UserError
from medsafe_train.judges.refusal import VERSION as JUDGE_VERSION
from medsafe_train.judges.refusal import label
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources.prompt_sets import PromptSet
from medsafe_train.teachers import TEACHERS

VERSION = 1
BATCH_TOKENS = 8192
REPLAY = "replay.partial.jsonl"


def made_from(
    settings: DemonstrationsSettings,
    harmful: list[PromptSet],
    benign: list[PromptSet],
    model: ModelReference,
    seed: int,
) -> dict[str, Any]:
    """What decides the demonstrations."""
    return {
        "version": VERSION,
        "teacher": settings.teacher.name,
        "teacher_version": TEACHERS[settings.teacher.name][0],
        "judge_version": JUDGE_VERSION,
        "seed": seed,
        "harmful": [[prompts.name, prompts.fingerprint()] for prompts in harmful],
        "benign": [[prompts.name, prompts.fingerprint()] for prompts in benign],
        # The base model answers the benign requests only.
        "model": model.made_from() if benign else None,
        "max_new_tokens": settings.max_new_tokens if benign else None,
    }


def run(
    store: Store,
    settings: DemonstrationsSettings,
    harmful: list[PromptSet],
    benign: list[PromptSet],
    model: ModelReference,
    seed: int,
) -> Artifact:
    """An artifact with `demonstrations.jsonl` (`id, request, response, kind, principle, source`), `rejected.jsonl` and
    `counts.json`."""

    def build(folder: Path) -> None:
        safe = _safe_responses(settings, harmful, seed)
        replay = _replay(folder, settings, benign, model)
        kept, rejected = _gate(safe + replay)
        if not any(d["kind"] == "safe" for d in kept):
            raise UserError("no safe response passed the gate: choose another teacher or other requests")
        artifacts.write_jsonl(folder / "demonstrations.jsonl", kept)
        artifacts.write_jsonl(folder / "rejected.jsonl", rejected)
        artifacts.write_json(folder / "counts.json", _counts(kept, rejected))
        (folder / REPLAY).unlink(missing_ok=True)

    n_harmful, n_benign = (sum(len(s.prompts) for s in sets) for sets in (harmful, benign))
    with progress.stage(
        "demonstrations",
        f"{n_harmful} harmful requests → teacher {settings.teacher.name}, {n_benign} benign → the base model",
    ):
        made = store.make("demonstrations", made_from(settings, harmful, benign, model, seed), build)
        counts = made.json("counts.json")
        for reason, number in counts["reasons"].items():
            progress.say(f"rejected {number}: {reason}")
        progress.say(
            f"{counts['safe']} safe responses, {counts['replay']} replay answers, {counts['rejected']} rejected  {made.folder}"
        )
    return made


def _safe_responses(settings: DemonstrationsSettings, sets: list[PromptSet], seed: int) -> list[dict[str, Any]]:
    prompts = [(prompt, prompts.name) for prompts in sets for prompt in prompts.prompts]
    _, write = TEACHERS[settings.teacher.name]
    responses = write([prompt for prompt, _ in prompts], seed)
    return [
        _demonstration(name, prompt.id, prompt.prompt, response, "safe", prompt.principle, settings.teacher.name)
        for (prompt, name), response in zip(prompts, responses, strict=True)
    ]


def _replay(
    folder: Path, settings: DemonstrationsSettings, sets: list[PromptSet], model: ModelReference
) -> list[dict[str, Any]]:
    if not sets:
        return []
    from medsafe_train.models import generate
    from medsafe_train.models.load import load

    prompts = {f"{prompts.name}/{prompt.id}": prompt for prompts in sets for prompt in prompts.prompts}
    loaded = load(model)
    items = [(id, model.prompt(loaded.tokenizer, prompt.prompt)) for id, prompt in prompts.items()]
    ledger = Ledger(folder / REPLAY)
    generate.answer(loaded, items, settings.max_new_tokens, BATCH_TOKENS, ledger, "base model answers benign requests")
    answers = [ledger.records[id] for id in prompts]
    return [
        _demonstration(
            answer["id"].split("/")[0],
            answer["id"].split("/", 1)[1],
            prompts[answer["id"]].prompt,
            whole_sentences(answer["response"]) if answer["finish_reason"] == "length" else answer["response"],
            "replay",
            prompts[answer["id"]].principle,
            "base",
        )
        for answer in answers
    ]


def _demonstration(
    name: str, id: str, request: str, response: str, kind: str, principle: int | None, source: str
) -> dict[str, Any]:
    return {
        "id": f"{name}/{id}",
        "request": request,
        "response": response,
        "kind": kind,
        "principle": principle,
        "source": source,
    }


def whole_sentences(text: str) -> str:
    """A text cut off in the middle, up to the end of its last whole sentence or line; empty if there is none."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)|[^\n](?=\n)", text)]
    cut = text[: ends[-1]] if ends else ""
    return re.sub(r"\n+\s*(?:\d+[.)]|[-*•#]+)\s*$", "", cut).rstrip()


def _gate(demonstrations: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    # Safe responses have to decline; answers to benign requests must not.
    kept, rejected = [], []
    for item in demonstrations:
        declines = label(item["response"]) != "compliance"
        if not item["response"]:
            rejected.append({**item, "reason": "empty, or no whole sentence"})
        elif item["kind"] == "safe" and not declines:
            rejected.append({**item, "reason": "does not decline"})
        elif item["kind"] == "replay" and declines:
            rejected.append({**item, "reason": "the base model declines this benign request"})
        else:
            kept.append(item)
    return kept, rejected


def _counts(kept: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = Counter(item["kind"] for item in kept)
    return {
        "safe": kinds["safe"],
        "replay": kinds["replay"],
        "rejected": len(rejected),
        "reasons": dict(Counter(item["reason"] for item in rejected)),
    }
