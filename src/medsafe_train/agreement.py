"""How far a judge and labels agree: share, Cohen's kappa plain and weighted, with intervals, and tables of both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

LEVELS = (1, 2, 3, 4, 5)
DRAWS = 4000


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
        value = float(cohens_kappa(np.array(counts), wt=weights, return_results=False))
    if math.isnan(value):
        return {"value": None, "ci95": None, "n": n}
    low, high = _interval(np.array(counts, dtype=float), weights is not None)
    return {"value": value, "ci95": [min(low, value), max(high, value)], "n": n}


def _interval(counts: Any, squared: bool) -> tuple[float, float]:
    # What kappa can be, given the table: its shares drawn from their Dirichlet posterior with Perks' prior, a cell 1 / cells
    # (Basu, Banerjee and Sen 2000, Biometrics 56:577). Of few answers, or where all agree, the usual formula's interval is a point.
    import numpy as np

    size = len(counts)
    drawn = np.random.default_rng(0).dirichlet(counts.ravel() + 1 / size**2, DRAWS).reshape(-1, size, size)
    apart = np.subtract.outer(np.arange(size), np.arange(size))
    cost = apart**2 if squared else apart != 0
    chance = drawn.sum(2)[:, :, None] * drawn.sum(1)[:, None, :]
    kappas = 1 - (cost * drawn).sum((1, 2)) / (cost * chance).sum((1, 2))
    low, high = np.quantile(kappas, [0.025, 0.975])
    return float(low), float(high)
