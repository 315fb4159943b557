"""Finished runs side by side: one table, the Pareto front of harm against over-refusal and capability, the best under the gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsafe_train import artifacts
from medsafe_train.comparison import doses, drawing, front, pages, trials
from medsafe_train.config import CheckpointGateSettings

VERSION = 2


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison, and the folder that holds it."""

    result: dict[str, Any]
    folder: Path
    files: list[str] = field(default_factory=list)


def run(folders: list[str], thresholds: CheckpointGateSettings, folder: Path) -> Comparison:
    """Write `compare.json`, `compare.md`, `compare.html` and plots into `folder`, print the tables, and return what they say.

    `folders` are run folders, or folders of them (a sweep's). Runs that differ in nothing but their seed are one trial, with
    mean and spread of every figure over its seeds. The gate of this command judges all of them. Raises UserError when
    there is nothing to compare.
    """
    found = trials.read(folders)
    grouped = trials.grouped(found, thresholds)
    front.mark(grouped)
    best, why = front.best(grouped)
    result = {
        "version": VERSION,
        "runs": len(found),
        "differ_in": trials.differing(found),
        "trials": [trial.record() for trial in grouped],
        "best": best.name if best else None,
        "why": why,
        "curves": [curve.record() for curve in doses.curves(grouped)],
        "gate": vars(thresholds),
        "notes": [*trials.notes(found), *front.notes(grouped)],
    }
    artifacts.write_json(folder / "compare.json", result)
    drawn = drawing.drawings(result)
    for name, svg in drawn.items():
        artifacts.write_text(folder / name, svg)
    artifacts.write_text(folder / "compare.md", pages.markdown(result, list(drawn)))
    artifacts.write_text(folder / "compare.html", pages.html(result, drawn))
    pages.show(result, folder)
    return Comparison(result, folder, ["compare.json", "compare.md", "compare.html", *drawn])


def show(folders: list[str]) -> None:
    """Say what would be compared."""
    pages.list_runs(trials.read(folders))
