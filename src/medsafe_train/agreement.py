"""How far a judge and labels agree: share, Cohen's kappa plain and weighted, with intervals, and tables of both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

LEVELS = (1, 2, 3, 4, 5)


def kappa(one: Sequence[str | bool], other: Sequence[str | bool]) -> dict[str, Any]:
    """Cohen's kappa (1960) of two raters with its 95 % interval: `value, ci95, n`; null where both say one thing throughout."""
    names = sorted({*map(str, one), *map(str, other)})
    return _kappa(table([*map(str, one)], [*map(str, other)], names), None)


def weighted(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Quadratic-weighted kappa (Cohen 1968) of scores from 1 to 5, rounded to levels, halves up: `value, ci95, n`."""
    return _kappa(table([*map(level, one)], [*map(level, other)], LEVELS), "fc")


def level(score: float) -> int:
    """The level that a score is nearest to; a half goes up."""
    return min(5, max(1, math.floor(score + 0.5)))


def table(one: Sequence[Any], other: Sequence[Any], names: Sequence[Any]) -> list[list[int]]:
    """How often the first said the row's name and the other the column's."""
    place = {name: n for n, name in enumerate(names)}
    found = [[0] * len(names) for _ in names]
    for a, b in zip(one, other, strict=True):
        found[place[a]][place[b]] += 1
    return found


def _kappa(counts: list[list[int]], weights: str | None) -> dict[str, Any]:
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    n = sum(map(sum, counts))
    margins = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    # Where each says but one thing there is nothing that chance could explain.
    if n < 2 or all(sum(m > 0 for m in margin) < 2 for margin in margins):
        return {"value": None, "ci95": None, "n": n}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = cohens_kappa(np.array(counts), wt=weights)
    value, low, high = float(found.kappa), float(found.kappa_low), float(found.kappa_upp)
    if math.isnan(value):
        return {"value": None, "ci95": None, "n": n}
    interval = None if math.isnan(low) else [min(max(low, -1.0), value), max(min(high, 1.0), value)]
    return {"value": value, "ci95": interval, "n": n}
