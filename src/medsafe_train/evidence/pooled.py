"""Medical questions of several benchmarks as one: more items, and so a smaller loss that they can exclude."""

from __future__ import annotations

from collections import Counter
from typing import Any

from medsafe_train import statistics
from medsafe_train.evidence import Evaluation
from medsafe_train.sources.questions import Benchmark

NAME = "pooled"
PLACE = f"medical_qa/{NAME}/accuracy"


def accuracy(figures: dict[str, dict[str, Any]]) -> None:
    """Add before, after and their paired difference over the questions of all benchmarks that can show a loss, where two can.

    Benchmarks on which the base model guesses are left out: nothing can be lost on them, and they would dilute what is.
    Every question counts the same, and once: what `mark_repeated` found is left to the benchmark that asks it first.
    """
    names = [name for name in benchmarks(figures) if not at_chance(figures, name)]
    cells = {name: cell for name in names if (cell := _cells(figures, name))}
    own = {name: cell for name, cell in cells.items() if sum(cell)}
    if len(own) < 2 or len(cells) < len(names):
        return
    both, lost, gained, neither = (sum(column) for column in zip(*own.values(), strict=True))
    n = both + lost + gained + neither
    figures[f"delta/{PLACE}"] = {**statistics.paired_counts(both, lost, gained, neither), "unscored": 0}
    for arm, hits in (("before", both + lost), ("after", both + gained)):
        figures[f"{arm}/{PLACE}"] = {**statistics.rate([True] * hits + [False] * (n - hits)), "unscored": 0}
    for arm in ("before", "after", "delta"):
        figures[f"{arm}/{PLACE}"]["of"] = [*own]


def mark_repeated(report: dict[str, Any], among: list[Benchmark], arms: dict[str, Evaluation]) -> None:
    """Mark and note what a benchmark asks that one before it asks, too: `repeated` of its difference, for `accuracy` here.

    They are how many were right both times, only before, only after, never. Counted twice, they would narrow intervals falsely.
    """
    figures, asked = report["figures"], set[tuple[str, str]]()
    for benchmark in among if "after" in arms else []:
        if at_chance(figures, benchmark.name):
            continue
        again = [q.id for q in benchmark.questions if q.asks in asked]
        asked |= {q.asks for q in benchmark.questions}
        if again:
            figures[f"delta/medical_qa/{benchmark.name}/accuracy"]["repeated"] = _outcomes(benchmark.name, again, arms)
            report["notes"].append(
                f"{benchmark.name}: {len(again)} of its questions are asked by a benchmark before it, too; all benchmarks "
                "together count them once, as the first one asks them."
            )


def _outcomes(name: str, ids: list[str], arms: dict[str, Evaluation]) -> list[int]:
    answers = {arm: arms[arm].answers[name].records("answers.jsonl") for arm in ("before", "after")}
    first = answers["before"][0]["seed"]
    right = {arm: {a["id"]: a["correct"] for a in found if a["seed"] == first} for arm, found in answers.items()}
    pairs = Counter((right["before"][id], right["after"][id]) for id in ids)
    return [pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False]]


def benchmarks(figures: dict[str, dict[str, Any]]) -> list[str]:
    """The benchmarks whose accuracy was compared, without the pool of them."""
    places = [key.split("/") for key in figures]
    return [p[2] for p in places if p[:2] == ["delta", "medical_qa"] and p[3] == "accuracy" and p[2] != NAME]


def at_chance(figures: dict[str, dict[str, Any]], name: str) -> bool:
    """Whether the base model is not above chance on a benchmark, so that it can show no loss."""
    base = figures[f"before/medical_qa/{name}/accuracy"]
    return base["ci95"] is None or base["ci95"][0] <= base.get("chance", 0.0)


def _cells(figures: dict[str, dict[str, Any]], name: str) -> tuple[int, int, int, int] | None:
    """Right both times, only before, only after, never, without what another benchmark counts; None where some question has
    no answer in one of the arms."""
    delta, before = figures[f"delta/medical_qa/{name}/accuracy"], figures[f"before/medical_qa/{name}/accuracy"]
    if delta["n"] != before["n"] or "lost" not in delta:
        return None
    both = round(before["value"] * before["n"]) - delta["lost"]
    whole = both, delta["lost"], delta["gained"], delta["n"] - both - delta["lost"] - delta["gained"]
    both, lost, gained, neither = (n - m for n, m in zip(whole, delta.get("repeated", [0] * 4), strict=True))
    return both, lost, gained, neither
