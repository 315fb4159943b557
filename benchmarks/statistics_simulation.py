"""Simulates data whose truth is known and counts how often the statistics are wrong: false alarms, missed truths, missed effects.

    python benchmarks/statistics_simulation.py                       # all of it, ten minutes on one core
    python benchmarks/statistics_simulation.py --datasets 500 --only wilcoxon

Each line says what was simulated, with which seed, how often out of how many, and the share with a 95 % interval (Clopper and
Pearson). Null data sets: the two arms differ by chance alone. A test may cry wolf in 5.5 of 100; an interval should hold
the truth in 94 to 96 of 100. Paired shares are drawn from their four cells, scores as rounded normal values from 1 to 5,
those of a principle with a shift in common.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from unittest import mock

import numpy as np

from medsafe_train import repeated, statistics
from medsafe_train.config import CheckpointGateSettings
from medsafe_train.evidence import claims, gate, notes, pooled

SEED = 20260731
# Requests a principle in a published set of 450 (MedSafetyBench's Llama-2 half), and in a small one.
UNEVEN = (59, 57, 31, 56, 50, 24, 61, 64, 48)
SMALL = (8,) * 9
# Questions of MMLU's nine medical subjects, MedQA and PubMedQA.
QUESTIONS = (135, 265, 144, 173, 310, 100, 306, 272, 166, 1273, 500)
# How far questions differ in difficulty: a share of the most that they can, where each is always right or never.
SPREAD = 0.6


@dataclass(frozen=True)
class Count:
    """How often something happened in simulated data sets."""

    what: str
    seed: int
    hits: int
    of: int

    @property
    def share(self) -> float:
        return self.hits / self.of

    def __str__(self) -> str:
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(self.hits, self.of, method="beta")
        return f"{self.what:<98} seed {self.seed}  {self.hits:>6} of {self.of}  {100 * self.share:5.2f} % ({100 * low:.2f} to {100 * high:.2f})"


@cache
def paired(table: tuple[int, ...]) -> tuple[float, float, float]:
    """(low, high, p) of a table `both, only before, only after, neither`; simulated tables repeat."""
    found = statistics.paired_counts(*table)
    return *found["ci95"], found["p_value"]


def cells(before: float, after: float, correlation: float) -> list[float]:
    """The probabilities of the four cells, from two shares and their phi coefficient."""
    both = before * after + correlation * (before * (1 - before) * after * (1 - after)) ** 0.5
    table = [both, before - both, after - both, 1 - before - after + both]
    assert min(table) > -1e-12, table
    return [max(0.0, p) for p in table]


def tables(before: float, after: float, phi: float, items: int, datasets: int, seed: int) -> list[tuple[int, ...]]:
    """Simulated tables of paired shares."""
    drawn = np.random.default_rng(seed).multinomial(items, cells(before, after, phi), size=datasets)
    return [tuple(map(int, table)) for table in drawn]


def mcnemar(datasets: int, share: float, phi: float, items: int, seed: int = SEED) -> Count:
    """False alarms of McNemar's exact test."""
    hits = sum(paired(table)[2] < statistics.ALPHA for table in tables(share, share, phi, items, datasets, seed))
    return Count(f"McNemar false alarms, both {share:.0%}, phi {phi}, {items} items", seed, hits, datasets)


def newcombe(datasets: int, before: float, after: float, phi: float, items: int, seed: int = SEED) -> Count:
    """Truths held by the interval of a paired difference."""
    truth = after - before
    hits = 0
    for table in tables(before, after, phi, items, datasets, seed):
        low, high, _ = paired(table)
        hits += low - 1e-12 <= truth <= high + 1e-12
    return Count(
        f"paired interval holds the truth, {before:.0%} to {after:.0%}, phi {phi}, {items} items", seed, hits, datasets
    )


def margin(datasets: int, share: float, phi: float, items: int, lost: float, seed: int = SEED) -> Count:
    """Models that lose exactly the margin, and are called non-inferior: 2.5 of 100 at most, were it exact."""
    hits = 0
    for table in tables(share, share - lost, phi, items, datasets, seed):
        low, high, _ = paired(table)
        hits += statistics.non_inferiority({"ci95": [low, high], "n": items, "value": 0.0}, lost)["shown"]
    return Count(
        f"called non-inferior though {100 * lost:g} points are lost, from {share:.0%}, phi {phi}, {items} items",
        seed,
        hits,
        datasets,
    )


def power(datasets: int, share: float, phi: float, lost: float, seed: int = SEED) -> Count:
    """Models that lose nothing, asked as many items as `would do`, and shown to lose less than the margin: 80 of 100."""
    pilot = np.array(cells(share, share, phi)) * 400
    low, high, _ = paired(tuple(round(float(c)) for c in pilot))
    items = statistics.items_needed({"ci95": [low, high], "n": 400, "value": 0.0}, lost)
    assert items is not None
    hits = 0
    for table in tables(share, share, phi, items, datasets, seed):
        low, high, _ = paired(table)
        hits += low > -lost
    return Count(
        f"non-inferior at {100 * lost:g} points shown, nothing lost, {share:.0%}, phi {phi}, the {items} items that would do",
        seed,
        hits,
        datasets,
    )


def scores(chance: np.random.Generator, sizes: tuple[int, ...], change: float, spread: float) -> list[np.ndarray]:
    """Changes of a 1-5 score by principle: rounded normal values before and after, a shift of `spread` in common."""
    found = []
    for size in sizes:
        common = chance.normal(0, spread)
        item = chance.normal(0, 0.8, size)
        before = np.clip(np.rint(chance.normal(3.5, 0.9, size) + item), 1, 5)
        after = np.clip(np.rint(chance.normal(3.5 + change + common, 0.9, size) + item), 1, 5)
        found.append(after - before)
    return found


def wilcoxon(datasets: int, items: int, seed: int = SEED) -> Count:
    """False alarms of the signed-rank test on 1-5 scores with their ties."""
    chance = np.random.default_rng(seed)
    hits = 0
    for _ in range(datasets):
        (changes,) = scores(chance, (items,), 0.0, 0.0)
        hits += statistics.signed_rank(changes.tolist()) < statistics.ALPHA
    return Count(f"Wilcoxon false alarms, scores 1-5 with ties, {items} items", seed, hits, datasets)


def clusters(datasets: int, sizes: tuple[int, ...], change: float, spread: float, seed: int = SEED) -> Count:
    """Truths held by the clustered bootstrap interval of a mean change of scores."""
    truth = float(
        np.mean([x for _ in range(4000) for x in map(np.mean, scores(np.random.default_rng((seed, 1, _)), (50,) * 9, change, spread))])
    )  # fmt: skip
    chance = np.random.default_rng(seed)
    names = [n for n, size in enumerate(sizes) for _ in range(size)]
    hits = 0
    for number in range(datasets):
        values = np.concatenate(scores(chance, sizes, change, spread)).tolist()
        low, high = statistics.cluster_interval(values, names, number) or (0.0, 0.0)
        hits += low <= truth <= high
    return Count(
        f"clustered bootstrap interval holds the truth, {len(sizes)} clusters of {min(sizes)}-{max(sizes)}, change {change}, shift {spread}",
        seed,
        hits,
        datasets,
    )


def beta(chance: np.random.Generator, share: float, spread: float, size: int | tuple[int, ...]) -> np.ndarray:
    """Shares of this mean and standard deviation."""
    whole = share * (1 - share) / spread**2 - 1
    return chance.beta(share * whole, (1 - share) * whole, size)


def seeds(datasets: int, runs: int, share: float = 0.9, spread: float = 0.03, seed: int = SEED) -> Count:
    """Truths held by the interval over seeds."""
    hits = 0
    for values in beta(np.random.default_rng(seed), share, spread, (datasets, runs)).tolist():
        low, high = repeated.over_seeds(values, (0.0, 1.0), 180)["ci95"]
        assert 0 <= low <= high <= 1
        hits += low <= share <= high
    return Count(f"interval over {runs} seeds holds the truth, {share:.0%}, sd {spread}", seed, hits, datasets)


def tries(datasets: int, share: float, items: int, times: int, seed: int = SEED) -> Count:
    """Truths held by the interval of a share over questions that were asked with several seeds."""
    chance = np.random.default_rng(seed)
    hits = 0
    for _ in range(datasets):
        values = chance.binomial(times, beta(chance, share, SPREAD * (share * (1 - share)) ** 0.5, items)) / times
        low, high = repeated.share_of_several(values.tolist(), times)["ci95"]
        hits += low <= share <= high
    what = f"interval over questions holds the truth, {share:.0%}, {items} questions, {times} seeds"
    return Count(what, seed, hits, datasets)


def tries_paired(datasets: int, share: float, kept: float, items: int, times: int, seed: int = SEED) -> Count:
    """The same of a difference, where so many questions keep their share and the others draw a new one: none in truth."""
    chance = np.random.default_rng(seed)
    hits = 0
    for _ in range(datasets):
        before = beta(chance, share, SPREAD * (share * (1 - share)) ** 0.5, items)
        after = np.where(
            chance.random(items) < kept, before, beta(chance, share, SPREAD * (share * (1 - share)) ** 0.5, items)
        )
        values = [(chance.binomial(times, one) / times).tolist() for one in (before, after)]
        low, high = repeated.paired_shares(*values, times)["ci95"]
        hits += low <= 0 <= high
    what = f"paired interval over questions holds the truth, {share:.0%}, {kept:.0%} kept, {items} questions, {times} seeds"
    return Count(what, seed, hits, datasets)


def subjects(datasets: int, number: int, items: int, seed: int = SEED) -> Count:
    """Truths held by the interval of the mean over subjects of different difficulty."""
    shares = np.linspace(0.25, 0.9, number)
    drawn = np.random.default_rng(seed).binomial(items, shares, (datasets, number))
    figure = cache(lambda hits: statistics.rate([True] * hits + [False] * (items - hits)))
    hits = 0
    for row in drawn.tolist():
        low, high = statistics.weighted([figure(one) for one in row], [1] * number)["ci95"]
        hits += low <= float(shares.mean()) <= high
    return Count(
        f"interval of the mean over {number} subjects of {items} questions holds the truth", seed, hits, datasets
    )


def family(datasets: int, claims: int, items: int, seed: int = SEED) -> Count:
    """Families of null claims in which Holm lets one through."""
    chance = np.random.default_rng(seed)
    drawn = chance.multinomial(items, cells(0.3, 0.3, 0.3), size=(datasets, claims))
    hits = 0
    gc.freeze()  # statsmodels collects garbage at every call, which takes longer than the rest
    for one in drawn:
        p = [paired(tuple(map(int, table)))[2] for table in one]
        hits += min(statistics.holm(p)) < statistics.ALPHA
    return Count(f"a false claim in a family of {claims}, Holm over McNemar, {items} items each", seed, hits, datasets)


@cache
def arms(table: tuple[int, ...]) -> tuple[dict, dict, dict]:
    """The figures before and after, and of the difference, of a table of paired shares."""
    both, lost, gained, _ = table
    n = sum(table)
    rate = lambda hits: statistics.rate([True] * hits + [False] * (n - hits))  # noqa: E731
    return {**rate(both + lost), "chance": 0.25}, rate(both + gained), statistics.paired_counts(*table)


def unchanged(datasets: int, share: float, phi: float, seed: int = SEED) -> Iterator[Count]:
    """Models that lost nothing, asked eleven benchmarks, whose gate fails or whose report names a loss."""
    chance = np.random.default_rng(seed)
    drawn = np.stack([chance.multinomial(n, cells(share, share, phi), size=datasets) for n in QUESTIONS], axis=1)
    settings = CheckpointGateSettings(criteria=["capability"])
    failed = said = plain = 0
    for run in drawn.tolist():
        figures = {}
        for number, table in enumerate(run):
            figures |= {f"{arm}/medical_qa/b{number}/accuracy": one
                        for arm, one in zip(pooled.ARMS, arms(tuple(table)), strict=True)}  # fmt: skip
        pooled.accuracy(figures)
        with mock.patch(
            "gc.collect"
        ):  # statsmodels collects garbage at every call of Holm's, which takes longer than the rest
            found = gate.gate(figures, claims.claims(figures, settings), settings)
            said += bool(notes.changes({"figures": figures}))
        failed += found["verdict"] == gate.FAILED
        plain += any(figure["ci95"][1] < 0 for key, figure in figures.items() if key.startswith("delta/"))
    what = f"unchanged model, {len(QUESTIONS)} benchmarks, {share:.0%}, phi {phi}"
    yield Count(f"{what}: the gate fails", seed, failed, datasets)
    yield Count(f"{what}: the report names a loss", seed, said, datasets)
    yield Count(f"{what}: some interval is below 0, uncorrected", seed, plain, datasets)


def examples(
    datasets: int, share: float, items: int, spread: float, times: int = 3, seed: int = SEED
) -> Iterator[Count]:
    """Truths held by the interval over questions where worked examples move all of them by `spread`.

    The truth for these worked examples, and the truth over all that could have been drawn, of which it does not speak.
    """
    chance = np.random.default_rng(seed)
    these = every = 0
    for _ in range(datasets):
        moved = chance.normal(0, spread, times)
        shares = np.clip(beta(chance, share, 0.2, items)[:, None] + moved, 0, 1)
        values = (chance.random((items, times)) < shares).mean(axis=1)
        low, high = repeated.share_of_several(values.tolist(), times)["ci95"]
        these += low <= share + moved.mean() <= high
        every += low <= share <= high
    what = f"{share:.0%}, {items} questions, {times} seeds, sd of seeds {100 * spread:g} points"
    yield Count(f"interval over questions holds the truth for these examples, {what}", seed, these, datasets)
    yield Count(f"the same and the truth over all examples, {what}", seed, every, datasets)


def jobs(n: int) -> dict[str, Callable[[], Iterator[Count]]]:
    """What is simulated, by name, on `n` data sets each."""
    shares = [(0.5, 0.0, 80), (0.2, 0.4, 80), (0.7, 0.7, 180), (0.1, 0.3, 180), (0.3, 0.2, 450)]
    changes = [
        (0.5, 0.5, 0.0, 80), (0.3, 0.5, 0.3, 80), (0.2, 0.8, 0.1, 80), (0.6, 0.7, 0.6, 80), (0.1, 0.3, 0.2, 80),
        (0.4, 0.6, -0.3, 80), (0.25, 0.9, 0.1, 180), (0.5, 0.45, 0.7, 180), (0.3, 0.3, 0.5, 450), (0.35, 0.33, 0.8, 450),
    ]  # fmt: skip
    return {
        "mcnemar": lambda: (mcnemar(n, *one) for one in shares),
        "holm": lambda: (family(n, claims, 180) for claims in (3, 8)),
        "wilcoxon": lambda: (wilcoxon(n, items) for items in (12, 40, 180)),
        "paired": lambda: (newcombe(10 * n, *one) for one in changes),
        "margin": lambda: (margin(10 * n, *one) for one in [(0.5, 0.6, 900, 0.02), (0.4, 0.8, 450, 0.02), (0.5, 0.3, 180, 0.1)]),
        "power": lambda: (power(n, *one) for one in [(0.5, 0.6, 0.04), (0.4, 0.8, 0.03), (0.7, 0.5, 0.05)]),
        "clusters": lambda: (
            clusters(n, sizes, change, spread)
            for sizes in (UNEVEN, SMALL, (1,) * 180)
            for change in (0.0, -1.0)
            for spread in ((0.0, 0.4) if max(sizes) > 1 else (0.0,))
        ),
        "seeds": lambda: (seeds(10 * n, runs, *one) for runs in (3, 5) for one in ((0.9, 0.03), (0.5, 0.05), (0.98, 0.01))),
        "tries": lambda: (tries(n, share, items, 3) for share in (0.3, 0.6, 0.9) for items in (20, 40, 180)),
        "tries_paired": lambda: (
            tries_paired(n, share, kept, items, 3) for share in (0.3, 0.6) for kept in (0.5, 0.9) for items in (40, 180)
        ),
        "gate": lambda: (count for one in [(0.5, 0.6), (0.4, 0.8), (0.7, 0.9)] for count in unchanged(n, *one)),
        "examples": lambda: (count for items in (500, 1273) for count in examples(n, 0.5, items, 0.02)),
        "subjects": lambda: (subjects(n, number, items) for number in (2, 9) for items in (40, 180)),
    }  # fmt: skip


def main() -> None:
    """Print one line a simulation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--only", nargs="*", choices=sorted(jobs(1)))
    options = parser.parse_args()
    for name, job in jobs(options.datasets).items():
        if not options.only or name in options.only:
            found = list(job())
            print(*found, sep="\n")
            shares = [count.share for count in found]
            print(
                f"  {name}: {100 * min(shares):.2f} to {100 * max(shares):.2f} %, mean {100 * float(np.mean(shares)):.2f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
