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

VERSION = 4


def made_from(settings: DemonstrationsSettings, sets: TrainingSets, model: ModelReference) -> dict[str, Any]:
    """What decides the answers."""
    kinds = ("harmful", "benign", "replay") if settings.recovery else ("benign", "replay")
    return {
        "version": VERSION,
        "base_version": base.VERSION,
        "judge_version": JUDGE_VERSION,
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
    the most.
    """
    asks = _asks(settings, sets)
    if not asks:
        return None

    def build(folder: Path) -> None:
        ledger = Ledger(folder / "answers.partial.jsonl")
        answers = base.answer(asks, model, settings.max_new_tokens, ledger, "base model answers")
        benign = asked(sets.benign) | asked(sets.replay)
        declined = [id for id, p in benign.items() if hesitates(answers[id]["response"], p.prompt)]
        again = [Ask(f"again/{id}", benign[id].prompt, base.assent(benign[id].prompt)) for id in declined]
        answers |= base.answer(again, model, settings.max_new_tokens, ledger, "once more, what it declined")
        artifacts.write_jsonl(folder / "answers.jsonl", answers.values())

    with progress.stage("own_answers", f"base model answers {len(asks)} training requests"):
        return store.make("own_answers", made_from(settings, sets, model), build)


def _asks(settings: DemonstrationsSettings, sets: TrainingSets) -> list[Ask]:
    asks = [Ask(id, prompt.prompt) for id, prompt in (asked(sets.benign) | asked(sets.replay)).items()]
    if settings.recovery:
        harmful, benign = ([limited(s, settings.recovery_limit) for s in kind] for kind in (sets.harmful, sets.benign))
        asks += [Ask(f"assented/{id}", p.prompt, base.assent(p.prompt)) for id, p in asked(benign).items()]
        asks += [Ask(f"complied/{id}", p.prompt) for id, p in asked(harmful).items()]
    return asks
