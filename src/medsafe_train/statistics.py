"""Intervals and paired tests; scipy and statsmodels do the work."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any


def rate(values: Sequence[bool]) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson 1927): `value`, `ci95`, `n`; both are null without items."""
    from statsmodels.stats.proportion import proportion_confint

    n = len(values)
    if n == 0:
        return {"value": None, "ci95": None, "n": 0}
    count = sum(map(bool, values))
    low, high = proportion_confint(count, n, alpha=0.05, method="wilson")
    value = count / n
    # At 0 and 1 rounding would put the share itself outside.
    return {"value": value, "ci95": [min(float(low), value), max(float(high), value)], "n": n}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """A mean with its 95 % interval (Student's t): `value`, `ci95`, `n`; the interval is null for fewer than two."""
    from scipy import stats

    n = len(values)
    if n == 0:
        return {"value": None, "ci95": None, "n": 0}
    value = sum(values) / n
    if n == 1:
        return {"value": value, "ci95": None, "n": 1}
    error = sqrt(sum((v - value) ** 2 for v in values) / (n - 1) / n)
    reach = float(stats.t.ppf(0.975, n - 1)) * error
    return {"value": value, "ci95": [value - reach, value + reach], "n": n}


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    """The change of a share on the same items, with its 95 % interval and exact McNemar p value.

    The interval is Newcombe's method 10 for paired proportions (Statistics in Medicine 17:2635, 1998): Wilson
    intervals of both shares, joined with the correlation that the pairs show.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    assert len(before) == len(after), (len(before), len(after))
    n = len(before)
    if n == 0:
        return {"value": None, "ci95": None, "n": 0, "p_value": None}
    before, after = [*map(bool, before)], [*map(bool, after)]
    both = sum(b and a for b, a in zip(before, after, strict=True))
    only_before = sum(before) - both
    only_after = sum(after) - both
    neither = n - both - only_before - only_after
    first, second = rate(after), rate(before)
    p1, (l1, u1) = first["value"], first["ci95"]
    p2, (l2, u2) = second["value"], second["ci95"]
    phi = _phi(both, only_after, only_before, neither)
    low = sqrt(max(0.0, (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2))
    high = sqrt(max(0.0, (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2))
    p_value = float(mcnemar([[both, only_before], [only_after, neither]], exact=True).pvalue)
    value = p1 - p2
    return {"value": value, "ci95": [value - low, value + high], "n": n, "p_value": p_value}


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    # Newcombe's corrected correlation: the covariance is shrunk by n/2 when positive.
    product = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if product == 0:
        return 0.0
    covariance = both * neither - only_first * only_second
    if covariance > 0:
        n = both + only_first + only_second + neither
        covariance = max(covariance - n / 2, 0)  # type: ignore[assignment]
    return covariance / sqrt(product)
