"""Intervals, paired tests and what they let one claim; scipy and statsmodels do the work."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import ceil, inf, sqrt
from typing import Any

ALPHA = 0.05
"""two-sided; a one-sided question (non-inferiority) is asked at half of it, by the end of the same 95 % interval"""
POWER = 0.8
"""with which a number of items that `would do` finds what it is to find"""
RESAMPLES = 2000
TINY = 1e-12
"""variances below it are rounding"""


def rate(values: Sequence[bool]) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson 1927): `value`, `ci95`, `n`; both are null without items."""
    return _share(sum(map(bool, values)), len(values))


def pooled(rates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The share over the items of several shares that `rate` made."""
    known = [rate for rate in rates if rate["n"]]
    return _share(sum(round(rate["value"] * rate["n"]) for rate in known), sum(rate["n"] for rate in known))


def _share(count: int, n: int) -> dict[str, Any]:
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return {"value": None, "ci95": None, "n": 0}
    low, high = proportion_confint(count, n, alpha=ALPHA, method="wilson")
    value = count / n
    # At 0 and 1 rounding would put the share itself outside.
    return {"value": value, "ci95": [min(float(low), value), max(float(high), value)], "n": n}


def mean(values: Sequence[float], within: tuple[float, float] | None = None) -> dict[str, Any]:
    """A mean with its 95 % interval (Student's t): `value`, `ci95`, `n`; the interval is null for fewer than two.

    `within`: the least and the largest value that there can be (0 and 1 of shares, 1 and 5 of scores); the interval then is
    `bounded_interval`'s, which does not pass them.
    """
    from scipy import stats

    n = len(values)
    if n == 0:
        return {"value": None, "ci95": None, "n": 0}
    value = sum(values) / n
    if n == 1:
        return {"value": value, "ci95": None, "n": 1}
    quantile = float(stats.t.ppf(1 - ALPHA / 2, n - 1))
    if within:
        return {"value": value, "ci95": bounded_interval(values, within, quantile), "n": n}
    reach = quantile * sqrt(variance_of_mean(values))
    return {"value": value, "ci95": [value - reach, value + reach], "n": n}


def variance_of_mean(values: Sequence[float]) -> float:
    """The variance of a mean of two values or more."""
    n, value = len(values), sum(values) / len(values)
    return sum((v - value) ** 2 for v in values) / (n - 1) / n


def bounded_interval(
    values: Sequence[float], within: tuple[float, float], quantile: float, least: float = 0.0, most: float = inf
) -> list[float]:
    """The interval of the mean of two values or more that lie `within` two bounds; it never passes them.

    Wilson's interval for the effective number of items: as many yes-or-no items as would have the variance that these values show
    (Korn and Graubard 1998; Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 7:334, 2019). `least`
    and `most` bound that number. Values that are all alike show no variance: then it is `most`; where that is not known, or all
    are at a bound, the share of items that may differ, unseen, is bounded as Wilson's interval bounds a share of none of `least`
    (unset: of as many as there are).
    """
    low, width = within[0], within[1] - within[0]
    n, value = len(values), (sum(values) / len(values) - low) / width
    variance = variance_of_mean(values) / width**2
    spread = value * (1 - value)
    if variance < TINY and (most == inf or spread < TINY):
        unseen = quantile**2 / ((least or n) + quantile**2)
        ends = [value * (1 - unseen), value + (1 - value) * unseen]
    else:
        effective = min(max(spread / max(variance, TINY), least), most)
        ends = _wilson(value, effective, quantile)
    return [low + width * end for end in ends]


def _wilson(value: float, n: float, quantile: float) -> list[float]:
    more = quantile**2 / n
    middle = (value + more / 2) / (1 + more)
    reach = quantile / (1 + more) * sqrt(max(0.0, value * (1 - value)) / n + more / (4 * n))
    return [max(0.0, min(middle - reach, value)), min(1.0, max(middle + reach, value))]


def joined(first: dict[str, Any], second: dict[str, Any], phi: float) -> list[float]:
    """The interval of a difference from the figures of its two parts and their correlation (Zou and Donner 2008)."""
    p1, (l1, u1) = first["value"], first["ci95"]
    p2, (l2, u2) = second["value"], second["ci95"]
    low = sqrt(max(0.0, (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2))
    high = sqrt(max(0.0, (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2))
    return [p1 - p2 - low, p1 - p2 + high]


def weighted(figures: Sequence[dict[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    """The weighted mean of figures over different items, with its 95 % interval: `value`, `ci95`, `n` items of all.

    For shares and for differences of shares, of benchmarks or subjects: the distances from each figure to the ends of its own
    interval are joined as independent (Zou, Huang and Zhang, Computational Statistics & Data Analysis 53:1080, 2009). It passes
    no bound that they do not pass.
    """
    whole = sum(weights)
    parts = [(weight / whole, f["value"], *f["ci95"]) for f, weight in zip(figures, weights, strict=True)]
    value = sum(w * v for w, v, _, _ in parts)
    low = sqrt(sum((w * (v - low)) ** 2 for w, v, low, _ in parts))
    high = sqrt(sum((w * (high - v)) ** 2 for w, v, _, high in parts))
    return {"value": value, "ci95": [value - low, value + high], "n": sum(f["n"] for f in figures)}


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    """The change of a share on the same items, with its 95 % interval and exact McNemar p value.

    The interval is Newcombe's method 10 for paired proportions (Statistics in Medicine 17:2635, 1998): Wilson
    intervals of both shares, joined with the correlation that the pairs show. `gained` counts the items that are true
    only after, `lost` those that are true only before.
    """
    assert len(before) == len(after), (len(before), len(after))
    pairs = [(bool(b), bool(a)) for b, a in zip(before, after, strict=True)]
    return paired_counts(*(pairs.count(cell) for cell in ((True, True), (True, False), (False, True), (False, False))))


def paired_counts(both: int, lost: int, gained: int, neither: int) -> dict[str, Any]:
    """`paired_difference` from the counts of its four cells."""
    from statsmodels.stats.contingency_tables import mcnemar

    n = both + lost + gained + neither
    if n == 0:
        return {"value": None, "ci95": None, "n": 0, "p_value": None, "gained": 0, "lost": 0}
    first, second = _share(both + gained, n), _share(both + lost, n)
    p_value = float(mcnemar([[both, lost], [gained, neither]], exact=True).pvalue)
    interval = joined(first, second, _phi(both, gained, lost, neither))
    found = {"value": first["value"] - second["value"], "ci95": interval, "n": n, "p_value": p_value}
    return {**found, "gained": gained, "lost": lost}


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


def paired_scores(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> dict[str, Any]:
    """The mean change of a score (1-5) on the same items, its 95 % interval, and the p value of Wilcoxon's signed-rank test.

    The interval is by bootstrap over `clusters` (items of a principle go together; unset: each item by itself) as
    `cluster_interval` has it, seeded.
    """
    assert len(before) == len(after), (len(before), len(after))
    changes = [float(a) - float(b) for b, a in zip(before, after, strict=True)]
    n = len(changes)
    if n == 0:
        return {"value": None, "ci95": None, "n": 0, "p_value": None}
    interval = cluster_interval(changes, clusters if clusters is not None else range(n), seed)
    return {"value": sum(changes) / n, "ci95": interval, "n": n, "p_value": signed_rank(changes)}


def signed_rank(changes: Sequence[float]) -> float:
    """The p value of Wilcoxon's signed-rank test; what did not change is left out of it, and with none that changed p is 1."""
    from scipy import stats

    return float(stats.wilcoxon(changes, zero_method="wilcox").pvalue) if any(changes) else 1.0


def cluster_interval(values: Sequence[float], clusters: Sequence[Hashable], seed: int = 0) -> list[float] | None:
    """The 95 % interval of a mean whose values come in clusters; null for fewer than two clusters.

    Whole clusters are drawn again; the standard error of the drawn means, widened for their number and with Student's t
    for it, gives the interval. The plain percentiles of a bootstrap hold the truth in only 90 of 100 when nine clusters
    are drawn from, this in 95 (benchmarks/statistics_simulation.py; Cameron, Gelbach and Miller 2008).
    """
    import numpy as np
    from scipy import stats

    names = sorted(set(clusters), key=repr)
    if len(names) < 2:
        return None
    position = {name: number for number, name in enumerate(names)}
    at = np.array([position[cluster] for cluster in clusters])
    sums, sizes = np.bincount(at, weights=np.asarray(values, float)), np.bincount(at).astype(float)

    def mean_of(total: Any, size: Any, axis: int = -1) -> Any:
        return total.sum(axis=axis) / size.sum(axis=axis)

    drawn = stats.bootstrap(
        (sums, sizes), mean_of, n_resamples=RESAMPLES, paired=True, vectorized=True, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    count = len(names)
    reach = float(stats.t.ppf(1 - ALPHA / 2, count - 1) * drawn.standard_error * sqrt(count / (count - 1)))
    middle = float(mean_of(sums, sizes))
    return [middle - reach, middle + reach]


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of a family of claims, corrected so that one false claim is made in 5 of 100 families at most (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), alpha=ALPHA, method="holm")[1]]


def items_needed(figure: dict[str, Any], distance: float) -> int | None:
    """How many items tell a difference from one that is `distance` away, with 80 % power; null where no interval is.

    The usual normal formula, n (z₀.₉₇₅ + z₀.₈)² se² / distance², with the standard error that this figure's own paired
    interval shows, so that items that seldom change count as telling more (Connett, Smith and McHugh 1987).
    """
    from scipy import stats

    assert distance > 0, distance
    if figure["ci95"] is None or not figure["n"]:
        return None
    low, high = figure["ci95"]
    z = float(stats.norm.ppf(1 - ALPHA / 2))
    error = (high - low) / (2 * z)
    return max(1, ceil(figure["n"] * ((z + float(stats.norm.ppf(POWER))) * error / distance) ** 2))


def non_inferiority(figure: dict[str, Any], margin: float, lower_is_better: bool = False) -> dict[str, Any]:
    """Whether a paired difference excludes a loss of `margin`: the bad end of its 95 % interval against the margin.

    `figure` is after minus before; with `lower_is_better` (refusals of harmless requests) growth is the loss. Gives `margin`,
    `bound` (the bad end, a loss is negative), `shown`, `n` and `n_needed`: how many items show it with 80 % power when in truth
    nothing changed. One-sided at 2.5 %, as is usual where the margin is stated beforehand (ICH E9, 3.3.2).
    """
    if figure["ci95"] is None:
        return {"margin": margin, "bound": None, "shown": False, "n": figure["n"], "n_needed": None}
    bound = -figure["ci95"][1] if lower_is_better else figure["ci95"][0]
    needed = items_needed(figure, margin) if margin > 0 else None
    return {"margin": margin, "bound": bound, "shown": bound > -margin, "n": figure["n"], "n_needed": needed}


def least_p(room: int) -> float:
    """The smallest p value that McNemar's exact test can give when at most `room` items can change: all of them one way."""
    return min(1.0, 2 * 0.5**room)
