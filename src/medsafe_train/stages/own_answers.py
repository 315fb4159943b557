"""What the base model itself answers to the training requests: the ground of replay, recoveries and preference pairs.

Apart from the demonstrations, because it takes longest and depends on no seed, teacher or gate: made once, it serves them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import DemonstrationsSettings
from medsafe_train.judges.refusal import VERSION as JUDGE_VERSION
from medsafe_train.judges.refusal import hesitates
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources.prompt_sets import TrainingSets, asked, limited
from medsafe_train.teachers import base
from medsafe_train.teachers.base import Ask

VERSION = 5


def made_from(settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference) -> dict[str, Any]:
    """What decides the answers."""
    return {"judge_version": JUDGE_VERSION, **_asked_once(settings, sets, model)}


def _asked_once(settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference) -> dict[str, Any]:
    # No judge: by far the most answers stay as they are when it reads otherwise.
    kinds = ("harmful", "benign", "replay") if settings.recovery else ("benign", "replay")
    return {
        "version": VERSION,
        "base_version": base.VERSION,
        **{kind: [[prompts.name, prompts.fingerprint()] for prompts in getattr(sets, kind)] for kind in kinds},
        "recovery": settings.recovery,
        "recovery_limit": settings.recovery_limit if settings.recovery else None,
        "model": model.made_from(),
        "max_new_tokens": settings.max_new_tokens,
    }


def run(store: Store, settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference) -> Artifact | None:
    """An artifact with `answers.jsonl`: `id, response, finish_reason`; None where nothing is asked.

    Ids are `set/id` for benign requests, and `again/set/id`, with an answer made to begin with assent, for those that the model
    declines or half declines: left out, they would be the ones it goes on declining. With `recovery` also `complied/set/id`
    for harmful ones and `assented/set/id` for benign ones whose answer is made to begin with assent, `recovery_limit` of a set at
    the most. What is asked once is an artifact of its own, `base_answers`.
    """
    asks = _asks(settings, sets)
    if not asks:
        return None

    def answer(folder: Path, asked: list[Ask], what: str) -> dict[str, Any]:
        ledger = Ledger(folder / "answers.partial.jsonl")
        return base.answer(asked, model, settings.max_new_tokens, ledger, what)

    def once(folder: Path) -> None:
        artifacts.write_jsonl(folder / "answers.jsonl", answer(folder, asks, "base model answers").values())

    def whole(folder: Path) -> None:
        answers = {record["id"]: record for record in first.records("answers.jsonl")}
        benign = asked(sets.benign) | asked(sets.replay)
        declined = [id for id, p in benign.items() if hesitates(answers[id]["response"], p.prompt)]
        again = [Ask(f"again/{id}", benign[id].prompt, base.assent(benign[id].prompt)) for id in declined]
        more = answer(folder, again, "once more, what it declined")
        artifacts.write_jsonl(folder / "answers.jsonl", [*answers.values(), *more.values()])

    with progress.stage("own_answers", f"base model answers {len(asks)} training requests"):
        first = store.make("base_answers", _asked_once(settings, sets, model), once)
        return store.make("own_answers", made_from(settings, sets, model), whole)


def _asks(settings: DemonstrationsSettings, sets: TrainingSets) -> list[Ask]:
    asks = [Ask(id, prompt.prompt) for id, prompt in (asked(sets.benign) | asked(sets.replay)).items()]
    if settings.recovery:
        harmful, benign = ([limited(s, settings.recovery_limit) for s in kind] for kind in (sets.harmful, sets.benign))
        asks += [Ask(f"assented/{id}", p.prompt, base.assent(p.prompt)) for id, p in asked(benign).items()]
        asks += [Ask(f"complied/{id}", p.prompt) for id, p in asked(harmful).items()]
    return asks
