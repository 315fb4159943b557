"""Medical questions of several benchmarks as one figure: all together, and MMLU's subjects by their mean."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from medsafe_train import statistics
from medsafe_train.evidence import Evaluation, medical_qa
from medsafe_train.sources import descriptions
from medsafe_train.sources.questions import Benchmark

ARMS = ("before", "after", "delta")
# All benchmarks; those on which the base model is above chance, where that is not all; MMLU's subjects.
NAME, ABLE, MMLU = "pooled", "pooled_above_chance", "mmlu"
PLACE, ABLE_PLACE, MMLU_PLACE = (f"medical_qa/{name}/accuracy" for name in (NAME, ABLE, MMLU))
NAMES = (NAME, ABLE, MMLU)
Figures = dict[str, dict[str, Any]]


def accuracy(figures: Figures) -> None:
    """Add the figures over several benchmarks, for the arms that were measured; each has a `title` and says what it is `of`.

    `pooled` is over the questions of all benchmarks, where there are two: every question counts the same, and once
    (`mark_repeated`). `pooled_above_chance` leaves out those on which the base model cannot be told from chance, where that leaves
    two: nothing can be lost on them, and they would dilute what is. `mmlu` is the mean over MMLU's subjects, each subject counting
    the same, as Hendrycks et al. (2021) and those after them report it; `accuracy_pooled` beside it counts every question the same.
    """
    measured = benchmarks(figures)
    names = [name for name in measured if _once(figures, "before", name, measured)["n"]]
    able = [name for name in names if not at_chance(figures, name)]
    _add(figures, PLACE, f"{len(names)} benchmarks pooled", names)
    if len(able) < len(names):
        _add(figures, ABLE_PLACE, f"{len(able)} benchmarks above chance pooled", able)
    subjects = [name for name in measured if name in descriptions.members(MMLU)]
    _add(figures, MMLU_PLACE, f"MMLU, mean over {len(subjects)} subjects", subjects, macro=True)
    if set(subjects) != set(names):  # else that is the pool
        _add(figures, f"{MMLU_PLACE}_pooled", f"MMLU, {len(subjects)} subjects pooled", subjects)


def _add(figures: Figures, place: str, title: str, names: list[str], macro: bool = False) -> None:
    if len(names) < 2 or f"before/{place}" in figures:
        return
    for arm in ARMS:
        if made := together(figures, arm, names, macro):
            figures[f"{arm}/{place}"] = {**made, "unscored": 0, "title": title}


def together(figures: Figures, arm: str, names: list[str], macro: bool = False) -> dict[str, Any] | None:
    """One figure over these benchmarks, which it says it is `of`: every question counting the same and once, or their mean.

    None where one was not measured. What asks nothing that the others do not count is left out.
    """
    parts = {
        name: figures.get(_key(arm, name), NOTHING) if macro else _once(figures, arm, name, names) for name in names
    }
    parts = {name: part for name, part in parts.items() if part["n"] or part is NOTHING}
    if not parts or any(part["ci95"] is None for part in parts.values()):
        return None
    weights = [1 if macro else part["n"] for part in parts.values()]
    made = {**statistics.weighted(list(parts.values()), weights), "of": list(parts)}
    chance = _chance([figures[_key(arm, name)] for name in parts], weights) if arm == "before" else {}
    return made | chance


NOTHING: dict[str, Any] = {"value": None, "ci95": None, "n": 0}


def _chance(parts: list[dict[str, Any]], weights: Sequence[float]) -> dict[str, float]:
    if any("chance" not in part for part in parts):
        return {}
    return {
        name: sum(w * part.get(name, part["chance"]) for w, part in zip(weights, parts, strict=True)) / sum(weights)
        for name in ("chance", "guessing")
    }


def _key(arm: str, name: str) -> str:
    return f"{arm}/medical_qa/{name}/accuracy"


def _once(figures: Figures, arm: str, name: str, among: list[str]) -> dict[str, Any]:
    # Without the questions that another of these benchmarks counts.
    figure = figures.get(_key(arm, name), NOTHING)
    once: dict[str, Any] | None = figure.get("once")
    return once if once and set(once.get("counted_by", among)) & set(among) else figure


def mark_repeated(report: dict[str, Any], among: list[Benchmark], arms: dict[str, Evaluation]) -> None:
    """Note what a benchmark asks that another asks, too, and put beside its accuracy that of the other questions, as `once`.

    Counted twice, they would narrow intervals falsely. The first benchmark counts them, one above chance before one at chance.
    """
    figures = report["figures"]
    counted: dict[Hashable, str] = {}
    for benchmark in sorted(among, key=lambda one: at_chance(figures, one.name)):
        asked = {q.id: next(filter(None, map(counted.get, q.identities)), None) for q in benchmark.questions}
        new = [id for id, by in asked.items() if by is None]
        others = list(dict.fromkeys(by for by in asked.values() if by))
        if others:
            answers = {arm: e.answers[benchmark.name].records("answers.jsonl") for arm, e in arms.items()}
            for arm, figure in medical_qa.figures(new, answers).items():
                once = {key: figure[key] for key in ("value", "ci95", "n")}
                figures[_key(arm, benchmark.name)]["once"] = {**once, "counted_by": others}
            report["notes"].append(
                f"{benchmark.name}: {len(asked) - len(new)} of its {len(asked)} questions are asked by {', '.join(others)}, too; "
                "all benchmarks together count them once, there."
            )
        counted = {key: benchmark.name for q in benchmark.questions for key in q.identities} | counted


def benchmarks(figures: Figures) -> list[str]:
    """The benchmarks whose accuracy was measured, without what is over several of them."""
    places = [key.split("/") for key, figure in figures.items() if "of" not in figure]
    return [p[2] for p in places if p[:2] == ["before", "medical_qa"] and p[3] == "accuracy"]


def at_chance(figures: Figures, name: str) -> bool:
    """Whether the model before cannot be told from chance on a benchmark, so that it can show no loss."""
    base = figures[_key("before", name)]
    return base["ci95"] is None or base["ci95"][0] <= base.get("chance", 0.0)


def beside_chance(figure: dict[str, Any]) -> tuple[str, int | None]:
    """How a figure stands to chance, to follow a model's name, and how many questions would tell the two apart, where it is above.

    Empty where it is above chance: above guessing, and above always giving the answer that is right most often.
    """
    chance = figure.get("chance")
    if chance is None or figure["ci95"] is None or figure["ci95"][0] > chance:
        return "", None
    low, high = figure["ci95"]
    guessing = figure.get("guessing", chance)
    what, level = ("chance", guessing) if low <= guessing else ("always giving one answer", chance)
    above = figure["value"] - level
    needed = statistics.items_needed(figure, above) if above > 0 else None
    how = f"is below {what}" if high < level else f"cannot be told from {what}"
    ends = f"{100 * low:.1f} to {100 * high:.1f}"
    tell = f"; about {needed:,} questions would tell" if needed and needed > figure["n"] else ""
    text = f"{how} with {figure['n']:,} questions ({100 * figure['value']:.1f} %, interval {ends}, {what} {100 * level:.1f} %{tell})"
    return text, needed


def title(figures: Figures, name: str) -> str:
    """What a benchmark, or several together and which, is called in a sentence."""
    base = figures.get(_key("before", name), {})
    return f"{base['title']} ({', '.join(base['of'])})" if "title" in base else name
