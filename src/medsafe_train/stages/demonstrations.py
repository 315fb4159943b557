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
from medsafe_train.teachers.ask import Ask

VERSION = 1
BATCH_TOKENS = 8192
REPLAY = "replay.partial.jsonl"
WRITTEN = "written.partial.jsonl"
# Share of requests that the teacher may leave without an answer.
MOST_FAILED = 0.10


def made_from(
    settings: DemonstrationsSettings,
    harmful: list[PromptSet],
    benign: list[PromptSet],
    model: ModelReference,
    seed: int,
    teacher: ModelReference | None = None,
) -> dict[str, Any]:
    """What decides the demonstrations; `teacher` is the model that a local teacher loads."""
    return {
        "version": VERSION,
        "teacher": settings.teacher.name,
        "teacher_version": TEACHERS[settings.teacher.name].version,
        "teacher_made_from": TEACHERS[settings.teacher.name].made_from(settings.teacher, teacher),
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
    teacher: ModelReference | None = None,
) -> Artifact:
    """An artifact with `demonstrations.jsonl` (`id, request, response, kind, principle, source`), `rejected.jsonl` and
    `counts.json`."""

    def build(folder: Path) -> None:
        safe, failed = _safe_responses(folder, settings, harmful, seed, teacher)
        replay = _replay(folder, settings, benign, model)
        kept, rejected = _gate(safe + replay)
        rejected += failed
        if not any(d["kind"] == "safe" for d in kept):
            raise UserError("no safe response passed the gate: choose another teacher or other requests")
        artifacts.write_jsonl(folder / "demonstrations.jsonl", kept)
        artifacts.write_jsonl(folder / "rejected.jsonl", rejected)
        artifacts.write_json(folder / "counts.json", _counts(kept, rejected))
        (folder / REPLAY).unlink(missing_ok=True)
        (folder / WRITTEN).unlink(missing_ok=True)

    n_harmful, n_benign = (sum(len(s.prompts) for s in sets) for sets in (harmful, benign))
    with progress.stage(
        "demonstrations",
        f"{n_harmful} harmful requests → teacher {settings.teacher.name}, {n_benign} benign → the base model",
    ):
        made = store.make("demonstrations", made_from(settings, harmful, benign, model, seed, teacher), build)
        counts = made.json("counts.json")
        for reason, number in counts["reasons"].items():
            progress.say(f"rejected {number}: {reason}")
        progress.say(
            f"{counts['safe']} safe responses, {counts['replay']} replay answers, {counts['rejected']} rejected  {made.folder}"
        )
    return made


def _safe_responses(
    folder: Path, settings: DemonstrationsSettings, sets: list[PromptSet], seed: int, teacher: ModelReference | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    # Safe responses, and as rejections the requests that the teacher has failed on.
    prompts = [(prompt, prompts.name) for prompts in sets for prompt in prompts.prompts]
    name = settings.teacher.name
    asks = [Ask(f"{of}/{prompt.id}", prompt) for prompt, of in prompts]
    written = TEACHERS[name].write(asks, settings.teacher, teacher, seed, Ledger(folder / WRITTEN))
    safe, failed = [], []
    for (prompt, of), response in zip(prompts, written, strict=True):
        cut = whole_sentences(response.response) if response.finish_reason == "length" else response.response
        made = _demonstration(of, prompt.id, prompt.prompt, cut, "safe", prompt.principle, name)
        if response.error is None:
            safe.append(made)
        else:  # what follows the colon differs from request to request
            failed.append({**made, "reason": f"no answer from the teacher ({response.error.partition(':')[0]})"})
    _check_failures(name, failed, len(asks))
    return safe, failed


def _check_failures(teacher: str, failed: list[dict[str, Any]], total: int) -> None:
    if len(failed) > MOST_FAILED * total:
        reason, number = Counter(item["reason"] for item in failed).most_common(1)[0]
        raise UserError(
            f"teacher={teacher}: {len(failed)} of {total} requests failed, {number} with {reason}: what was answered is "
            "kept, and the same command asks for the others again; if that does not help, choose another teacher"
        )


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
