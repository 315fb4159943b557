"""Medical questions of several benchmarks as one figure: all together, and MMLU's subjects; and which benchmarks show a loss."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from medsafe_train import repeated, statistics
from medsafe_train.evidence import Evaluation, medical_qa
from medsafe_train.sources import descriptions
from medsafe_train.sources.questions import Benchmark

ARMS = ("before", "after", "delta")
# All benchmarks; those on which the base model is above chance, where that is not all; MMLU's subjects.
NAME, ABLE, MMLU = "pooled", "pooled_above_chance", "mmlu"
PLACE, ABLE_PLACE, MMLU_PLACE = (f"medical_qa/{name}/accuracy" for name in (NAME, ABLE, MMLU))
NAMES = (NAME, ABLE, MMLU)
Figures = dict[str, dict[str, Any]]
# Beside a benchmark's accuracy: that of its questions that no other benchmark counts, or no other subject of MMLU.
ONCE, ONCE_IN_MMLU = "once", "once_in_mmlu"
KEPT = ("value", "ci95", "n", "seeds", "by_seed")


def accuracy(figures: Figures) -> None:
    """Add the figures over several benchmarks, for the arms that were measured; each has a `title` and says what it is `of`.

    `pooled` is over the questions of all benchmarks, where there are two: every question counts the same, and once
    (`mark_repeated`). `pooled_above_chance` leaves out those on which the base model cannot be told from chance, where that leaves
    two: nothing can be lost on them, and they would dilute what is. `mmlu` is over the questions of MMLU's subjects, where there
    are two: every question counts the same, as in Hendrycks et al.'s code and in lm-evaluation-harness (`weight_by_size: true`),
    but once, where subjects share one.
    """
    measured = benchmarks(figures)
    names = [name for name in measured if _once(figures, "before", name, measured)["n"]]
    able = [name for name in names if not at_chance(figures, name)]
    _add(figures, PLACE, f"{len(names)} benchmarks pooled", names)
    if len(able) < len(names):
        _add(figures, ABLE_PLACE, f"{len(able)} benchmarks above chance pooled", able)
    subjects = [name for name in measured if name in descriptions.members(MMLU)]
    title = f"MMLU, {len(subjects)} subjects, every question counting the same"
    _add(figures, MMLU_PLACE, title, subjects, ONCE_IN_MMLU)


def _add(figures: Figures, place: str, title: str, names: list[str], once: str = ONCE) -> None:
    if len(names) < 2 or f"before/{place}" in figures:
        return
    for arm in ARMS:
        if made := together(figures, arm, names, once):
            figures[f"{arm}/{place}"] = {**made, "unscored": 0, "title": title}


def together(figures: Figures, arm: str, names: list[str], once: str = ONCE) -> dict[str, Any] | None:
    """One figure over these benchmarks, which it says it is `of`: every question counts the same, and once.

    None where one was not measured. What asks nothing that the others do not count is left out.
    """
    found = {name: _once(figures, arm, name, names, once) for name in names}
    parts = {name: part for name, part in found.items() if part["n"] or part is NOTHING}
    if not parts or any(part["ci95"] is None for part in parts.values()):
        return None
    weights = [part["n"] for part in parts.values()]
    made = {**statistics.weighted(list(parts.values()), weights), "of": list(parts)}
    if arm == "before":
        made |= _chance([figures[_key(arm, name)] for name in parts], weights)
    return made | _worked_examples(list(parts.values()), weights)


def _worked_examples(parts: list[dict[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    # Every seed draws worked examples of all benchmarks, so that a seed has one figure over all.
    found: dict[str, Any] = {key: max(part.get(key, 0) for part in parts) for key in ("shots", "seeds")}
    if len({len(part.get("by_seed", ())) for part in parts}) == 1 and found["seeds"] > 1:
        by_seed = [sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
                   for values in zip(*(part["by_seed"] for part in parts), strict=True)]  # fmt: skip
        found |= {"by_seed": by_seed, "sd_of_seeds": repeated.over_seeds(by_seed)["sd"]}
    return {key: value for key, value in found.items() if value or key == "sd_of_seeds"}


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


def _once(figures: Figures, arm: str, name: str, among: list[str], once: str = ONCE) -> dict[str, Any]:
    # Without the questions that another of these benchmarks counts.
    figure = figures.get(_key(arm, name), NOTHING)
    found: dict[str, Any] | None = figure.get(once)
    return found if found and set(found.get("counted_by", among)) & set(among) else figure


def mark_repeated(report: dict[str, Any], among: list[Benchmark], arms: dict[str, Evaluation]) -> None:
    """Note what a benchmark asks that another asks, too, and put beside its accuracy that of the other questions, as `once`.

    Counted twice, they would narrow intervals falsely. The first benchmark counts them, one above chance before one at chance.
    `once_in_mmlu` leaves out only what another subject of MMLU asks.
    """
    for name, count, of, others in _count_once(report["figures"], among, arms, ONCE):
        report["notes"].append(
            f"{name}: {count} of its {of} questions are asked by {', '.join(others)}, too; "
            "all benchmarks together count them once, there."
        )
    subjects = [benchmark for benchmark in among if benchmark.name in descriptions.members(MMLU)]
    _count_once(report["figures"], subjects, arms, ONCE_IN_MMLU)


def _count_once(
    figures: Figures, among: list[Benchmark], arms: dict[str, Evaluation], once: str
) -> list[tuple[str, int, int, list[str]]]:
    """Put the figures of what no benchmark before asks under `once`; (benchmark, repeated, all, who asks them) of those that repeat."""
    counted: dict[Hashable, str] = {}
    repeats = []
    for benchmark in sorted(among, key=lambda one: at_chance(figures, one.name)):
        asked = {q.id: next(filter(None, map(counted.get, q.identities)), None) for q in benchmark.questions}
        new = [id for id, by in asked.items() if by is None]
        others = list(dict.fromkeys(by for by in asked.values() if by))
        if others:
            answers = {arm: e.answers[benchmark.name].records("answers.jsonl") for arm, e in arms.items()}
            for arm, figure in medical_qa.figures(new, answers).items():
                whole = figures[_key(arm, benchmark.name)]
                kept = {key: figure[key] for key in KEPT if key in figure}
                whole[once] = {**kept, "shots": whole.get("shots", 0), "counted_by": others}
            repeats.append((benchmark.name, len(asked) - len(new), len(asked), others))
        counted = {key: benchmark.name for q in benchmark.questions for key in q.identities} | counted
    return repeats


def corrected(figures: Figures, metric: str = "accuracy") -> dict[str, float]:
    """The p value of each single benchmark's difference, corrected for their number (Holm 1979), by the difference's key.

    A model that is unchanged has as many chances to look worse as there are benchmarks.
    """
    found = {
        key: figure["p_value"]
        for key, figure in figures.items()
        if key.startswith("delta/medical_qa/") and key.endswith(f"/{metric}") and figure.get("p_value") is not None
    }
    return dict(zip(found, statistics.holm(list(found.values())), strict=True))


def shows_loss(figure: dict[str, Any], p_holm: float | None) -> bool:
    """Whether a difference shows a loss: its interval excludes 0, and so does its test after correction, where it has one."""
    below = figure["ci95"] is not None and figure["ci95"][1] < 0
    return below and (p_holm is None or p_holm < statistics.ALPHA)


def after_holm(p_holm: float | None, family: int) -> str:
    """What a shown loss of a benchmark rests on, to follow it in a sentence; of several together, or of one alone, nothing."""
    if p_holm is None or family < 2:
        return ""
    return f", one of {family} benchmarks, {p_in_words(p_holm)} after Holm's correction"


def p_in_words(value: float) -> str:
    """A p value as `p 0.031`, or `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


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
    needed = statistics.items_needed(figure, above) if above > statistics.TINY else None
    how = f"is below {what}" if high < level else f"cannot be told from {what}"
    ends = f"{100 * low:.1f} to {100 * high:.1f}"
    tell = f"; about {needed:,} questions would tell" if needed and needed > figure["n"] else ""
    text = f"{how} with {figure['n']:,} questions ({100 * figure['value']:.1f} %, interval {ends}, {what} {100 * level:.1f} %{tell})"
    return text, needed


def title(figures: Figures, name: str) -> str:
    """What a benchmark, or several together and which, is called in a sentence."""
    base = figures.get(_key("before", name), {})
    return f"{base['title']} ({', '.join(base['of'])})" if "title" in base else name
