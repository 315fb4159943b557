"""Has a judge score stored responses; another judge can score the same ones without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import JudgeSettings, UserError
from medsafe_train.judges import JUDGES

VERSION = 1


def made_from(settings: JudgeSettings, responses: Artifact) -> dict[str, Any]:
    """What decides the verdicts."""
    return {
        "version": VERSION,
        "judge": settings.name,
        "judge_version": JUDGES[settings.name][0],
        "responses": responses.id,
    }


def run(store: Store, settings: JudgeSettings, responses: Artifact) -> Artifact:
    """An artifact with `verdicts.jsonl`: `id, score, refused, outcome, label, explanation`.

    A failed judgement is an outcome, never a number. Raises UserError when fewer than `min_coverage` are scored.
    """
    _, judge = JUDGES[settings.name]

    def build(folder: Path) -> None:
        verdicts = judge(responses.records("responses.jsonl"))
        scored = sum(verdict["outcome"] == "scored" for verdict in verdicts)
        if scored < settings.min_coverage * len(verdicts):
            raise UserError(
                f"the judge {settings.name} scored {scored} of {len(verdicts)} responses, under "
                f"judge.min_coverage={settings.min_coverage}: choose another judge, or accept less coverage"
            )
        artifacts.write_jsonl(folder / "verdicts.jsonl", verdicts)

    with progress.stage("verdicts", f"judge {settings.name} reads them"):
        return store.make("verdicts", made_from(settings, responses), build)
