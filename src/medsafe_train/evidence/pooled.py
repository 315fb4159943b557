"""Medical questions of several benchmarks as one: more items, and so a smaller loss that they can exclude."""

from __future__ import annotations

from typing import Any

from medsafe_train import statistics

NAME = "pooled"
PLACE = f"medical_qa/{NAME}/accuracy"


def accuracy(figures: dict[str, dict[str, Any]]) -> None:
    """Add before, after and their paired difference over the questions of all benchmarks that can show a loss, where two can.

    Benchmarks on which the base model guesses are left out: nothing can be lost on them, and they would dilute what is.
    Every question counts the same.
    """
    names = [name for name in benchmarks(figures) if not at_chance(figures, name)]
    cells = [cell for name in names if (cell := _cells(figures, name))]
    if len(cells) < 2 or len(cells) < len(names):
        return
    both, lost, gained, neither = (sum(column) for column in zip(*cells, strict=True))
    n = both + lost + gained + neither
    figures[f"delta/{PLACE}"] = {**statistics.paired_counts(both, lost, gained, neither), "unscored": 0}
    for arm, hits in (("before", both + lost), ("after", both + gained)):
        figures[f"{arm}/{PLACE}"] = {**statistics.rate([True] * hits + [False] * (n - hits)), "unscored": 0}
    for arm in ("before", "after", "delta"):
        figures[f"{arm}/{PLACE}"]["of"] = names


def benchmarks(figures: dict[str, dict[str, Any]]) -> list[str]:
    """The benchmarks whose accuracy was compared, without the pool of them."""
    places = [key.split("/") for key in figures]
    return [p[2] for p in places if p[:2] == ["delta", "medical_qa"] and p[3] == "accuracy" and p[2] != NAME]


def at_chance(figures: dict[str, dict[str, Any]], name: str) -> bool:
    """Whether the base model is not above chance on a benchmark, so that it can show no loss."""
    base = figures[f"before/medical_qa/{name}/accuracy"]
    return base["ci95"] is None or base["ci95"][0] <= base.get("chance", 0.0)


def _cells(figures: dict[str, dict[str, Any]], name: str) -> tuple[int, int, int, int] | None:
    """Right both times, only before, only after, never; None where some question has no answer in one of the arms."""
    delta, before = figures[f"delta/medical_qa/{name}/accuracy"], figures[f"before/medical_qa/{name}/accuracy"]
    if delta["n"] != before["n"] or "lost" not in delta:
        return None
    both = round(before["value"] * before["n"]) - delta["lost"]
    return both, delta["lost"], delta["gained"], delta["n"] - both - delta["lost"] - delta["gained"]
