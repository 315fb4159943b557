"""Writes demonstrations: safe responses to harmful requests, the base model's own answers to benign ones, and recoveries."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import DemonstrationsSettings, UserError
from medsafe_train.judges.refusal import VERSION as JUDGE_VERSION
from medsafe_train.judges.refusal import label
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources.prompt_sets import Prompt, PromptSet, TrainingSets
from medsafe_train.teachers import TEACHERS, base, template
from medsafe_train.teachers.base import Ask

VERSION = 2
# The base model's own answers, as they come: to benign requests, to harmful ones, and going on from an assent.
OWN = "own_answers.partial.jsonl"
# Kinds of demonstrations that decline; the others must not.
DECLINE = ("safe", "recovery")


def made_from(
    settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference, seed: int
) -> dict[str, Any]:
    """What decides the demonstrations."""
    answers = bool(sets.benign or sets.replay or settings.recovery)
    return {
        "version": VERSION,
        "teacher": settings.teacher.name,
        "teacher_version": TEACHERS[settings.teacher.name][0],
        "judge_version": JUDGE_VERSION,
        "seed": seed,
        **{
            kind: [[prompts.name, prompts.fingerprint()] for prompts in getattr(sets, kind)]
            for kind in ("harmful", "benign", "replay")
        },
        "recovery": settings.recovery,
        "model": model.made_from() if answers else None,
        "base_version": base.VERSION if answers else None,
        "max_new_tokens": settings.max_new_tokens if answers else None,
    }


def run(
    store: Store, settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference, seed: int
) -> Artifact:
    """An artifact with `demonstrations.jsonl` (`id, request, response, kind, principle, source`; `prefill` where the
    answer has begun, `rejected` where there is a worse answer to prefer it to), `rejected.jsonl` and `counts.json`."""

    def build(folder: Path) -> None:
        written = _safe(settings, sets.harmful, seed)
        own = _own_answers(folder, settings, sets, model, seed)
        written += _benign(sets, own, seed)
        if settings.recovery:
            written = _with_rejected(written, own) + _recoveries(written, own, sets, model, seed)
        kept, rejected = _gate(written)
        if not any(d["kind"] == "safe" for d in kept):
            raise UserError("no safe response passed the gate: choose another teacher or other requests")
        artifacts.write_jsonl(folder / "demonstrations.jsonl", kept)
        artifacts.write_jsonl(folder / "rejected.jsonl", rejected)
        artifacts.write_json(folder / "counts.json", _counts(kept, rejected))
        (folder / OWN).unlink(missing_ok=True)

    numbers = {kind: sum(len(s.prompts) for s in getattr(sets, kind)) for kind in ("harmful", "benign", "replay")}
    with progress.stage(
        "demonstrations",
        f"{numbers['harmful']} harmful requests → teacher {settings.teacher.name}, "
        f"{numbers['benign']} benign and {numbers['replay']} far ones → the base model",
    ):
        made = store.make("demonstrations", made_from(settings, sets, model, seed), build)
        counts = made.json("counts.json")
        for reason, number in counts["reasons"].items():
            progress.say(f"rejected {number}: {reason}")
        progress.say(", ".join(f"{number} {kind}" for kind, number in counts["kinds"].items()) + f"  {made.folder}")
    return made


def _safe(settings: DemonstrationsSettings, sets: list[PromptSet], seed: int) -> list[dict[str, Any]]:
    asked = _asked(sets)
    _, write = TEACHERS[settings.teacher.name]
    responses = write(list(asked.values()), seed)
    return [
        _demonstration(id, prompt, response, "safe", settings.teacher.name)
        for (id, prompt), response in zip(asked.items(), responses, strict=True)
    ]


def _asked(sets: list[PromptSet]) -> dict[str, Prompt]:
    return {f"{s.name}/{prompt.id}": prompt for s in sets for prompt in s.prompts}


def _own_answers(
    folder: Path, settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference, seed: int
) -> dict[str, dict[str, Any]]:
    """What the base model answers: to benign requests, and for recoveries to harmful ones and from an assent on."""
    benign, harmful = _asked(sets.benign), _asked(sets.harmful)
    asks = [Ask(id, prompt.prompt) for id, prompt in (benign | _asked(sets.replay)).items()]
    if settings.recovery:
        asks += [Ask(f"assented/{id}", p.prompt, base.assent(p.prompt, seed)) for id, p in benign.items()]
        asks += [Ask(f"complied/{id}", p.prompt) for id, p in harmful.items()]
    return base.answer(asks, model, settings.max_new_tokens, Ledger(folder / OWN), "base model answers")


def _benign(sets: TrainingSets, own: dict[str, dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    found = []
    for kind, asked in (("benign", _asked(sets.benign)), ("replay", _asked(sets.replay))):
        refusals = template.write(list(asked.values()), seed)
        for (id, prompt), refusal in zip(asked.items(), refusals, strict=True):
            found.append({**_demonstration(id, prompt, _whole(own[id]), kind, "base"), "rejected": refusal})
    return found


def _with_rejected(written: list[dict[str, Any]], own: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    # The answer that a safe response is to be preferred to: the base model's own, where it complies.
    return [
        {**item, "rejected": answer}
        if item["kind"] == "safe" and (answer := _complied(own, item["id"]))
        else item
        for item in written
    ]


def _complied(own: dict[str, dict[str, Any]], id: str) -> str:
    answer = own[f"complied/{id}"]["response"]
    return answer if label(answer) == "compliance" else ""


def _recoveries(
    written: list[dict[str, Any]], own: dict[str, dict[str, Any]], sets: TrainingSets, model: ModelReference, seed: int
) -> list[dict[str, Any]]:
    """For each safe response one whose answer begins to comply; for each benign request its answer from an assent on."""
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    found = []
    for item in written:
        if item["kind"] == "safe":
            prefill = base.begun(item["request"], _complied(own, item["id"]), tokenizer, seed)
            found.append({**item, "id": f"{item['id']}/recovery", "kind": "recovery", "prefill": prefill})
    for id, prompt in _asked(sets.benign).items():
        response = _whole(own[f"assented/{id}"])
        found.append(
            {
                **_demonstration(f"{id}/recovery", prompt, response, "recovery_benign", "base"),
                "prefill": base.assent(prompt.prompt, seed),
            }
        )
    return found


def _whole(answer: dict[str, Any]) -> str:
    return base.whole_sentences(answer["response"]) if answer["finish_reason"] == "length" else answer["response"]


def _demonstration(id: str, prompt: Prompt, response: str, kind: str, source: str) -> dict[str, Any]:
    return {
        "id": id,
        "request": prompt.prompt,
        "response": response,
        "kind": kind,
        "principle": prompt.principle,
        "source": source,
    }


def _gate(demonstrations: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    # Safe responses have to decline; answers to benign requests must not.
    kept, rejected = [], []
    for item in demonstrations:
        declines = label(item["response"]) != "compliance"
        if not item["response"]:
            rejected.append({**item, "reason": "empty, or no whole sentence"})
        elif item["kind"] in DECLINE and not declines:
            rejected.append({**item, "reason": "does not decline"})
        elif item["kind"] not in DECLINE and declines:
            rejected.append({**item, "reason": "the base model declines this benign request"})
        else:
            kept.append(item)
    return kept, rejected


def _counts(kept: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kinds": dict(Counter(item["kind"] for item in kept)),
        "rejected": len(rejected),
        "reasons": dict(Counter(item["reason"] for item in rejected)),
    }
