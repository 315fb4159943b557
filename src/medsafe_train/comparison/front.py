"""Harm against over-refusal and capability: which trials no other beats in all three, and which is best under the gate."""

from __future__ import annotations

from typing import Any

from medsafe_train.comparison.trials import Trial, against
from medsafe_train.evidence import gate

# Each is the mean over the sets that all trials with sets of its kind have, every set counting the same; whether less is better.
OBJECTIVES = {"harm": True, "over_refusal": True, "capability": False}


def mark(trials: list[Trial]) -> None:
    """Give every trial its `harm`, `over_refusal` and `capability`, and say which are on the Pareto front.

    Harm is the share of harmful requests not refused, or of answers that are harmful where the judge of all runs scores it;
    capability the share of medical questions answered right. Of the fine-tuned model where there is one.
    """
    metric = "harmful_rate" if _places(trials, "harmfulness", "harmful_rate") else "refusal_rate"
    harmful = _places(trials, "harmfulness", metric)
    benign = _places(trials, "over_refusal", "refusal_rate")
    asked = [place for place in _places(trials, "medical_qa", "accuracy") if not _is_over_several(trials, place)]
    for trial in trials:
        harm = _mean(trial, harmful)
        trial.objectives = {
            "harm": harm if harm is None or metric == "harmful_rate" else 1 - harm,
            "over_refusal": _mean(trial, benign),
            "capability": _mean(trial, asked),
        }
    for trial in trials:
        trial.front = _measured(trial) and not any(_beats(other, trial) for other in trials)


def best(trials: list[Trial]) -> tuple[Trial | None, str]:
    """The trial that passes the gate with the least harm and over-refusal together, and why it is that one.

    Where none passes there is none; the reason then names the one that comes nearest.
    """
    able = [trial for trial in trials if trial.gates and _measured(trial)]
    if not able:
        return None, _why_none(trials)
    passing = [trial for trial in able if trial.verdict == gate.PASSED]
    if passing:
        chosen = min(passing, key=_cost)
        return (
            chosen,
            f"of {len(passing)} of {len(trials)} trials that pass the gate, the least harm and over-refusal together",
        )
    nearest = min(
        able, key=lambda trial: (_standing(trial, gate.FAILED), _standing(trial, gate.UNDECIDED), _cost(trial))
    )
    return None, f"no trial passes the gate; {nearest.name} comes nearest, against it: {against(nearest.criteria)}"


def _standing(trial: Trial, verdict: str) -> int:
    return list(trial.criteria.values()).count(verdict)


def _why_none(trials: list[Trial]) -> str:
    judged = [t for t in trials if t.gates and all(_of_kind(t, kind) for kind in ("harmfulness", "over_refusal"))]
    if not judged:
        return "no trial has a model before and after with harmful and benign requests to judge it by"
    return (
        f"{len(judged)} of {len(trials)} trials can be judged, but not beside each other: the trials have no harmful or no benign "
        "set in common; compare those that were asked the same"
    )


def notes(trials: list[Trial]) -> list[str]:
    """What the front rests on."""
    front = [trial.name for trial in trials if trial.front]
    if not front:
        return ["No Pareto front: it takes harmful and benign requests that all runs with such requests were asked."]
    chosen = "Choosing the best of several trials flatters it: it is the best on these items; confirm it with another seed, or on other sets."
    return [
        *([chosen] if len(trials) > 1 else []),
        "On the Pareto front is a trial that no other beats in harm, over-refusal and capability at once; points within "
        "each other's intervals may be there by chance.",
    ]


def value(figures: dict[str, dict[str, Any]], place: str) -> dict[str, Any] | None:
    """A figure of the fine-tuned model, of the model alone where only one was measured."""
    return figures.get(f"after/{place}", figures.get(f"before/{place}"))


def _places(trials: list[Trial], kind: str, metric: str) -> list[str]:
    """`kind/set/metric` of the sets that every trial has that has sets of this kind: one of questions alone has no say in harm."""
    have = [{place for place in found if place.endswith(f"/{metric}")} for t in trials if (found := _of_kind(t, kind))]
    return sorted(set.intersection(*have)) if have else []


def _is_over_several(trials: list[Trial], place: str) -> bool:
    # The runs say it; a figure over seeds does not.
    found = [value(run.figures, place) for trial in trials for run in trial.runs]
    return any("of" in figure for figure in found if figure)


def _of_kind(trial: Trial, kind: str) -> set[str]:
    return {place for key in trial.figures if (place := key.partition("/")[2]).startswith(f"{kind}/")}


def _mean(trial: Trial, places: list[str]) -> float | None:
    found = [value(trial.figures, place) for place in places]
    values = [figure["value"] for figure in found if figure and figure["value"] is not None]
    return sum(values) / len(values) if values and len(values) == len(places) else None


def _measured(trial: Trial) -> bool:
    return trial.objectives["harm"] is not None and trial.objectives["over_refusal"] is not None


def _cost(trial: Trial) -> float:
    return (trial.objectives["harm"] or 0.0) + (trial.objectives["over_refusal"] or 0.0)


def _beats(one: Trial, other: Trial) -> bool:
    """Whether a trial is at least as good in everything and better in something."""
    pairs = []
    for name, less in OBJECTIVES.items():
        a, b = one.objectives[name], other.objectives[name]
        if a is not None and b is not None:
            pairs.append((a, b) if less else (-a, -b))
    return _measured(one) and all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
