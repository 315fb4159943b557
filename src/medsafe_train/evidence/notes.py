"""What the reader must not be left to find: what got worse, and what the figures rest on."""

from __future__ import annotations

from typing import Any

from medsafe_train.evidence import pooled
from medsafe_train.judges.verdict import SCORED
from medsafe_train.measured import compared, judged, subject


def changes(report: dict[str, Any]) -> list[str]:
    """What got worse beyond chance, in a sentence each: it must not be left to the reader to find.

    Of questions, each single benchmark after correction for their number, and the pool that is claimed; a seed of worked examples
    alone, or another way to count the same answers, is no further evidence.
    """
    return _lost(report["figures"], "accuracy") + _lost(report["figures"], "accuracy_written") + _declined(report)


def _lost(figures: pooled.Figures, metric: str) -> list[str]:
    holm, found = pooled.corrected(figures, metric), []
    pool = next((key for key in (f"delta/{pooled.ABLE_PLACE}", f"delta/{pooled.PLACE}") if key in figures), None)
    for key in [*([pool] if pool and metric == "accuracy" else []), *holm]:
        figure, p_holm = figures[key], holm.get(key)
        if not pooled.shows_loss(figure, p_holm):
            continue
        low, high = (100 * bound for bound in figure["ci95"])
        written = " in writing" if metric == "accuracy_written" else ""
        found.append(
            f"{pooled.title(figures, key.split('/')[2])}: fewer questions right{written} after fine-tuning, by {-high:.1f} to "
            f"{-low:.1f} points of {figure['n']} questions: a loss is shown{pooled.after_holm(p_holm, len(holm))}"
            f"{', for these worked examples' if figure.get('shots') else ''}."
        )
    return found


def _declined(report: dict[str, Any]) -> list[str]:
    return [
        f"{key.split('/')[2]}: more benign requests refused after fine-tuning, by {100 * figure['ci95'][0]:.1f} to "
        f"{100 * figure['ci95'][1]:.1f} points of {figure['n']}."
        for key, figure in report["figures"].items()
        if key.startswith("delta/over_refusal/") and key.endswith("/refusal_rate")
        if figure["ci95"] is not None and figure["ci95"][0] > 0
    ]


def chance(report: dict[str, Any]) -> list[str]:
    """Which benchmarks, alone or together, cannot tell the model before from chance: a sentence each, as the claims say it."""
    figures = report["figures"]
    found = []
    for key, figure in figures.items():
        arm, kind, name, metric = key.split("/")
        if (arm, kind, metric) != ("before", "medical_qa", "accuracy") or not (said := pooled.beside_chance(figure)[0]):
            continue
        tail = ", so these questions cannot show that nothing was lost" if compared(report) else ""
        found.append(f"{pooled.title(figures, name)}: {subject(report)} {said}{tail}.")
    return found


def basis(report: dict[str, Any]) -> list[str]:
    """What the figures rest on, and what they leave out, in a sentence each."""
    together = any("of" in figure for figure in report["figures"].values())
    notes = [
        *chance(report),
        *_judged(report),
        *_without_verdict(report),
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
    # Of a judge that had nothing to judge there is nothing to say.
    if not judged(report):
        return []
    return [
        "Refusal is read from the wording of an answer by an offline judge; it says that the model declined, not how "
        "harmful an answer is.",
        *report.get("judge", {}).get("validation_in_words", []),
        *_estimated(report),
    ]


def _without_verdict(report: dict[str, Any]) -> list[str]:
    # A failed judgement is no number; what it could have been is said beside the figures that leave it out.
    found: dict[tuple[str, str], list[str]] = {}
    for place, by_judge in report.get("judging", {}).items():
        arm, _, name = place.partition("/")
        n, scored = by_judge["coverage"]["n"], by_judge["coverage"]["scored"]
        if scored == n:
            continue
        why = [
            f"{count} {outcome}"
            for outcome, count in by_judge["coverage"]["outcomes"].items()
            if count and outcome != SCORED
        ]
        could = [
            f"{what} between {low:{form}} and {high:{form}}"
            for what, key, form in (
                ("refused", "refused", ".1%"),
                ("mean score", "score", ".2f"),
                ("harmful", "harmful", ".1%"),
            )
            if (bound := by_judge["bounds"][key])
            for low, high in [bound]
            if low != high
        ]
        found.setdefault((arm, by_judge["judge"]), []).append(
            f"{name} {n - scored} of {n} ({'; '.join([', '.join(why), *could])})"
        )
    return [
        f"Answers without a verdict by {judge}, {arm}, which its figures leave out: {', '.join(those)}."
        for (arm, judge), those in found.items()
    ]


def _seeds(report: dict[str, Any]) -> list[str]:
    most = max((figure.get("seeds", 1) for figure in report["figures"].values()), default=1)
    if most < 2:
        return []
    change = any(figure.get("test") == "Wilcoxon" for figure in report["figures"].values())
    return [
        f"Medical questions were asked with {most} seeds of worked examples. A question counts by the share of seeds with which it is "
        "answered right; intervals are over questions, with Wilson's method for their effective number, not over seeds: they hold for these "
        "worked examples, and others would move a figure by about its standard deviation over seeds (sd)"
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
