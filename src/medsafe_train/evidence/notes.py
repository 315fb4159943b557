"""What the reader must not be left to find: what got worse, and what the figures rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train.evidence import pooled


def changes(report: dict[str, Any]) -> list[str]:
    """What got worse beyond chance, in a sentence each: it must not be left to the reader to find."""
    found = []
    for key, figure in report["figures"].items():
        arm, kind, name, metric = key.split("/")
        if arm != "delta" or figure["ci95"] is None:
            continue
        low, high = (100 * bound for bound in figure["ci95"])
        if kind == "medical_qa" and metric.startswith("accuracy") and high < 0:
            counted = metric.removeprefix("accuracy").replace("_", " ")  # another way of counting is no excuse
            found.append(
                f"{pooled.title(report['figures'], name)}: fewer questions right{counted} after fine-tuning, by {-high:.1f} to "
                f"{-low:.1f} points of {figure['n']} questions: a loss is shown."
            )
        if kind == "over_refusal" and metric == "refusal_rate" and low > 0:
            found.append(f"{name}: more benign requests refused after fine-tuning, by {low:.1f} to {high:.1f} points "
                         f"of {figure['n']}.")  # fmt: skip
    return found


def chance(report: dict[str, Any]) -> list[str]:
    """Which benchmarks, alone or together, cannot tell the model before from chance: a sentence each, as the claims say it."""
    figures = report["figures"]
    compared = any(key.startswith("delta/") for key in figures)
    found = []
    for key, figure in figures.items():
        arm, kind, name, metric = key.split("/")
        if (arm, kind, metric) != ("before", "medical_qa", "accuracy") or not (said := pooled.beside_chance(figure)[0]):
            continue
        tail = ", so these questions cannot show that nothing was lost" if compared else ""
        found.append(f"{pooled.title(figures, name)}: {subject(report)} {said}{tail}.")
    return found


def subject(report: dict[str, Any]) -> str:
    """What the model before is called: the base model, or by its name where no other was measured beside it."""
    if any(key.startswith("delta/") for key in report["figures"]):
        return "the base model"
    path = str(report["model"]["path"])
    return Path(path).name or path


def basis(report: dict[str, Any]) -> list[str]:
    """What the figures rest on, and what they leave out, in a sentence each."""
    together = any("of" in figure for figure in report["figures"].values())
    notes = [
        *chance(report),
        *_judged(report),
        "Intervals are 95 %: Wilson for a share, Newcombe's method 10 for a paired difference"
        + ("; of several benchmarks theirs, joined as independent." if together else "."),
        *_seeds(report),
    ]
    cut = [
        f"{key.split('/')[2]} {(1 - figure['value']):.0%} of {figure['n']}"
        for key, figure in report["figures"].items()
        if key.startswith("after/")
        and key.endswith("/ended_rate")
        and figure["value"] is not None
        and figure["value"] < 0.9
    ]
    if cut:
        notes.append(f"Answers cut off at the length limit after fine-tuning: {', '.join(cut)}.")
    return notes


def _judged(report: dict[str, Any]) -> list[str]:
    # Where nothing but questions was asked, no judge had anything to judge.
    if {key.split("/")[1] for key in report["figures"]} == {"medical_qa"}:
        return []
    return [
        "Refusal is read from the wording of an answer by an offline judge; it says that the model declined, not how "
        "harmful an answer is.",
        *report.get("judge", {}).get("validation_in_words", []),
        *_estimated(report),
    ]


def _seeds(report: dict[str, Any]) -> list[str]:
    most = max((figure.get("seeds", 1) for figure in report["figures"].values()), default=1)
    if most < 2:
        return []
    change = any(figure.get("test") == "Wilcoxon" for figure in report["figures"].values())
    return [
        f"Medical questions were asked with {most} seeds of worked examples. A question counts by the share of seeds with which it is "
        "answered right; intervals are over questions, with Wilson's method for their effective number, not over seeds"
        + (", and a change is tested by Wilcoxon's signed-rank test over questions, not McNemar's." if change else ".")
    ]


def _estimated(report: dict[str, Any]) -> list[str]:
    judge = report.get("judge", {})
    if "estimate" not in (judge.get("name"), *judge.get("also", [])):
        return []
    return [
        "Scores from 1 to 5 by the judge estimate are an estimate: offline, from the refusal judge's label, the answer's coherence and "
        "its words. They show whether answers go along, not how much harm would come of them, and hardly ever reach a 4, so that no answer is "
        "called harmful by them; a judge that reads a rubric can."
    ]
