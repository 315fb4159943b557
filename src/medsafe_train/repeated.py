"""Shares of items that were tried several times, and figures of runs with several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from medsafe_train import statistics


def share_of_several(values: Sequence[float], times: int) -> dict[str, Any]:
    """A share over items that were each tried `times` times, from each one's own share: `value`, `ci95`, `n` items.

    Items are what varies, not tries: of several tries of the same item, the second tells less than another item would, so the
    effective number of items lies between `n` and `n` times `times`. Where all tries of an item agree this is `statistics.rate`.
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        return {"value": values[0] if n else None, "ci95": [0.0, 1.0] if n else None, "n": n}
    quantile = float(stats.norm.ppf(1 - statistics.ALPHA / 2))
    interval = statistics.bounded_interval(values, (0.0, 1.0), quantile, least=n, most=n * times)
    return {"value": sum(values) / n, "ci95": interval, "n": n}


def paired_shares(before: Sequence[float], after: Sequence[float], times: int) -> dict[str, Any]:
    """The change of such a share on the same items: `value`, `ci95`, `n`, and Wilcoxon's p value over items.

    The intervals of both shares (`share_of_several`) are joined as in Newcombe's method 10, with the correlation that the items
    show (Zou and Donner, Statistics in Medicine 27:1693, 2008); where all tries of an item agree the interval is
    `statistics.paired_difference`'s. The p value is of the signed-rank test: McNemar's takes one try an item.
    """
    assert len(before) == len(after), (len(before), len(after))
    n = len(before)
    if n == 0:
        return {"value": None, "ci95": None, "n": 0, "p_value": None}
    first, second = share_of_several(after, times), share_of_several(before, times)
    p1, p2 = first["value"], second["value"]
    covariance = sum(b * a for b, a in zip(before, after, strict=True)) / n - p1 * p2
    spread = sqrt(max(0.0, sum(a * a for a in after) / n - p1**2) * max(0.0, sum(b * b for b in before) / n - p2**2))
    shrunk = max(covariance - 1 / (2 * n), 0.0) if covariance > 0 else covariance
    phi = shrunk / spread if spread > statistics.TINY else 0.0
    changes = [a - b for b, a in zip(before, after, strict=True)]
    return {
        "value": p1 - p2,
        "ci95": statistics.joined(first, second, phi),
        "n": n,
        "p_value": statistics.signed_rank(changes),
    }


def over_seeds(
    values: Sequence[float], within: tuple[float, float] | None = None, items: int | None = None
) -> dict[str, Any]:
    """One figure over runs that differ only in their seed: mean, its 95 % interval (Student's t), spread `sd` and `n` seeds.

    Seeds are a level of their own: items of one run share its training, so the interval is over seeds, never over the
    items of all runs thrown together. With two seeds t is 12.7, with three 4.3: a spread wants three at least. Of values `within`
    bounds it is `bounded_interval`'s, with the same t; `items` are those of a run, for seeds that all give the same.
    """
    from scipy import stats

    n, found = len(values), statistics.mean(values)
    if n < 2:
        return {**found, "sd": None}
    variance = statistics.variance_of_mean(values)
    if within:
        alike = n * items if items and variance / (within[1] - within[0]) ** 2 < statistics.TINY else 0
        found["ci95"] = statistics.bounded_interval(
            values, within, float(stats.t.ppf(1 - statistics.ALPHA / 2, n - 1)), least=alike
        )
    return {**found, "sd": sqrt(n * variance)}
