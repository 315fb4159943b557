"""Intervals and paired tests: against statsmodels, by symmetry, and by simulation of known truths."""

import json
from functools import cache
from math import comb

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from medsafe_train import repeated, statistics


def cells(both, only_before, only_after, neither):
    """Paired values with these counts."""
    before = [True] * (both + only_before) + [False] * (only_after + neither)
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (3, 17), (90, 180), (899, 900)])
def test_rate_is_wilson(hits, n):
    found = statistics.rate([True] * hits + [False] * (n - hits))
    low, high = proportion_confint(hits, n, method="wilson")
    assert found["value"] == pytest.approx(hits / n) and found["n"] == n
    assert found["ci95"] == pytest.approx([low, high], abs=1e-12)
    assert 0 <= found["ci95"][0] <= found["value"] <= found["ci95"][1] <= 1 + 1e-12


def test_rate_against_wilsons_formula():
    """17 of 50, from the formula and not from the library."""
    z, n, p = 1.959963984540054, 50, 17 / 50
    middle, half = (p + z**2 / (2 * n)), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert statistics.rate([True] * 17 + [False] * 33)["ci95"] == pytest.approx(expected, abs=1e-9)


def test_no_items_give_no_number():
    assert statistics.rate([]) == {"value": None, "ci95": None, "n": 0}
    nothing = {"value": None, "ci95": None, "n": 0, "p_value": None}
    assert statistics.paired_difference([], []) == {**nothing, "gained": 0, "lost": 0}
    assert statistics.paired_scores([], []) == nothing


@pytest.mark.parametrize("hits", [0, 1, 20, 40])
def test_equal_arms_differ_by_nothing(hits):
    values = [True] * hits + [False] * (40 - hits)
    found = statistics.paired_difference(values, values)
    assert found["value"] == 0 and found["p_value"] == 1 and found["n"] == 40
    assert found["ci95"][0] <= 0 <= found["ci95"][1]


@pytest.mark.parametrize(
    "table", [(5, 3, 9, 23), (0, 0, 30, 0), (10, 12, 0, 1), (0, 7, 7, 0), (30, 1, 1, 40), (1, 0, 0, 0)]
)
def test_swapping_the_arms_turns_the_sign(table):
    before, after = cells(*table)
    there, back = statistics.paired_difference(before, after), statistics.paired_difference(after, before)
    assert there["value"] == pytest.approx(-back["value"], abs=1e-12)
    assert there["ci95"] == pytest.approx([-back["ci95"][1], -back["ci95"][0]], abs=1e-12)
    assert there["p_value"] == pytest.approx(back["p_value"], abs=1e-12)


def test_value_is_after_minus_before():
    before, after = cells(10, 5, 25, 60)
    found = statistics.paired_difference(before, after)
    assert found["value"] == pytest.approx(0.20) and found["ci95"][0] > 0 and found["p_value"] < 0.05


def test_all_pairs_discordant():
    before, after = cells(0, 0, 50, 0)
    found = statistics.paired_difference(before, after)
    assert found["value"] == 1
    assert 0.8 < found["ci95"][0] < 1 and found["ci95"][1] == pytest.approx(1)
    assert found["p_value"] == pytest.approx(2 * 0.5**50)
    mixed = statistics.paired_difference(*cells(0, 25, 25, 0))
    assert mixed["value"] == 0 and mixed["ci95"][0] == pytest.approx(-mixed["ci95"][1]) and mixed["ci95"][1] > 0.2


@pytest.mark.parametrize("table", [(0, 0, 1, 0), (0, 1, 0, 0), (3, 0, 8, 0), (0, 9, 0, 4), (20, 0, 0, 0), (7, 3, 2, 9)])
def test_interval_holds_the_value_and_stays_a_difference_of_shares(table):
    found = statistics.paired_difference(*cells(*table))
    low, high = found["ci95"]
    assert -1 - 1e-9 <= low <= found["value"] <= high <= 1 + 1e-9


def test_newcombes_published_example():
    """Method 10 in Newcombe 1998 (Statistics in Medicine 17:2635): 36, 12, 2, 0; his sign is first minus second."""
    found = statistics.paired_difference(*cells(36, 12, 2, 0))
    assert [-found["ci95"][1], -found["ci95"][0]] == pytest.approx([0.0569, 0.3404], abs=6e-5)


def test_interval_by_hand_where_no_correlation_shows():
    """30 pairs, all lost: both Wilson intervals reach z²/(n+z²) inwards, and the two add up as squares."""
    z2 = 1.959963984540054**2
    found = statistics.paired_difference(*cells(0, 30, 0, 0))
    assert found["ci95"] == pytest.approx([-1, -1 + 2**0.5 * z2 / (30 + z2)], abs=1e-9)


def test_interval_by_hand_where_pairs_agree():
    """20, 5, 10, 25: the covariance 20·25 - 5·10 is positive, so n/2 is taken off before it becomes a correlation."""
    phi = (20 * 25 - 5 * 10 - 60 / 2) / (25 * 35 * 30 * 30) ** 0.5
    (l1, u1), (l2, u2) = (proportion_confint(hits, 60, method="wilson") for hits in (30, 25))
    p1, p2 = 30 / 60, 25 / 60
    low = ((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2) ** 0.5
    high = ((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2) ** 0.5
    found = statistics.paired_difference(*cells(20, 5, 10, 25))
    assert found["ci95"] == pytest.approx([p1 - p2 - low, p1 - p2 + high], abs=1e-12)


def test_mcnemar_is_the_exact_binomial():
    before, after = cells(20, 4, 13, 23)
    expected = 2 * sum(comb(17, k) for k in range(5)) / 2**17
    found = statistics.paired_difference(before, after)["p_value"]
    assert found == pytest.approx(expected) == mcnemar([[20, 4], [13, 23]], exact=True).pvalue


@pytest.mark.parametrize("kind", [bool, int, np.bool_])
def test_results_are_plain_numbers(kind):
    """Also for numpy's booleans: report.json takes floats and lists, and nothing of numpy's."""
    before, after = ([kind(value) for value in values] for values in cells(3, 5, 9, 12))
    for found in (statistics.rate(before), statistics.paired_difference(before, after)):
        json.dumps(found, allow_nan=False)
        assert type(found["n"]) is int
        for number in (found["value"], *found["ci95"], found.get("p_value", 0.5)):
            assert type(number) is float, (number, type(number))


def test_unequal_arms_are_refused():
    with pytest.raises((AssertionError, ValueError)):
        statistics.paired_difference([True], [True, False])


@cache
def difference(*table):
    """The paired difference of a table; simulated tables repeat."""
    found = statistics.paired_difference(*cells(*map(int, table)))
    return found["ci95"], found["p_value"]


def probabilities(before, after, correlation):
    """Those of the four cells, from two shares and their phi coefficient."""
    both = before * after + correlation * (before * (1 - before) * after * (1 - after)) ** 0.5
    table = [both, before - both, after - both, 1 - before - after + both]
    assert min(table) >= 0, table
    return table


@pytest.mark.parametrize(
    ("before", "after", "correlation"),
    [(0.5, 0.5, 0.0), (0.3, 0.5, 0.3), (0.2, 0.8, 0.1), (0.6, 0.7, 0.6), (0.1, 0.3, 0.2), (0.4, 0.6, -0.3)],
)
def test_interval_covers_the_truth_in_95_of_100(before, after, correlation):
    """1,000 simulated data sets of 80 pairs each; an interval that ignored the pairs would miss the band."""
    chance = np.random.default_rng(7)
    tables = chance.multinomial(80, probabilities(before, after, correlation), size=1000)
    covered = 0
    for table in tables:
        (low, high), _ = difference(*table)
        covered += low <= after - before <= high
    assert 930 <= covered <= 975, covered


@pytest.mark.parametrize(("share", "correlation"), [(0.5, 0.0), (0.2, 0.4), (0.7, 0.7)])
def test_mcnemar_cries_wolf_in_5_of_100_at_most(share, correlation):
    chance = np.random.default_rng(11)
    tables = chance.multinomial(80, probabilities(share, share, correlation), size=1000)
    alarms = sum(difference(*table)[1] < 0.05 for table in tables)
    assert 0 < alarms <= 55, alarms


def scores(items, seed=3):
    """Scores from 1 to 5 before and after, and the principle of each item."""
    chance = np.random.default_rng(seed)
    before, after = chance.integers(1, 6, items).tolist(), chance.integers(1, 5, items).tolist()
    return before, after, (chance.integers(1, 10, items)).tolist()


@pytest.mark.parametrize("items", [8, 40, 300])
def test_scores_are_tested_as_scipy_does(items):
    from scipy import stats

    before, after, principle = scores(items)
    found = statistics.paired_scores(before, after, principle)
    assert found["p_value"] == pytest.approx(stats.wilcoxon(after, before).pvalue, abs=1e-9)
    assert found["value"] == pytest.approx(np.mean(after) - np.mean(before), abs=1e-9) and found["n"] == items
    assert found["ci95"][0] < found["value"] < found["ci95"][1]
    json.dumps(found, allow_nan=False)


def test_scores_that_do_not_change_are_no_evidence():
    found = statistics.paired_scores([1, 5, 3], [1, 5, 3])
    assert found["p_value"] == 1.0 and found["value"] == 0.0


def test_the_clustered_interval_is_the_one_that_econometricians_compute():
    """Against the cluster-robust standard error of statsmodels, with Student's t for the clusters: the same up to the draws."""
    import statsmodels.api as sm
    from scipy import stats

    before, after, principle = scores(900)
    changes = np.subtract(after, before) + np.asarray(principle) / 3
    low, high = statistics.cluster_interval(changes.tolist(), principle)
    fit = sm.OLS(changes, np.ones(900)).fit(cov_type="cluster", cov_kwds={"groups": np.asarray(principle)})
    expected = stats.t.ppf(0.975, 8) * fit.bse[0]
    assert (high - low) / 2 == pytest.approx(expected, rel=0.05)
    each = statistics.cluster_interval(changes.tolist(), range(900))
    assert each[1] - each[0] < (high - low) / 2  # items that go together tell less
    assert each == pytest.approx(statistics.mean(changes.tolist())["ci95"], abs=0.01)


def test_the_bootstrap_is_seeded_and_knows_when_there_is_one_cluster():
    before, after, principle = scores(60)
    one, same = (statistics.paired_scores(before, after, principle, seed=4) for _ in range(2))
    other = statistics.paired_scores(before, after, principle, seed=5)
    assert one == same and one["ci95"] != other["ci95"]
    assert statistics.paired_scores(before, after, ["all"] * 60)["ci95"] is None


def test_holm_is_holms():
    """Smallest first: times 4, 3, 2, 1, and never less than the one before."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-9)
    assert statistics.holm([0.2]) == [0.2] and statistics.holm([]) == []


def test_seeds_have_mean_spread_and_students_interval():
    from scipy import stats

    values = [0.91, 0.94, 0.88]
    found = repeated.over_seeds(values)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found["ci95"] == pytest.approx(expected, abs=1e-9)
    assert found["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-9) and found["n"] == 3
    assert repeated.over_seeds([0.5])["sd"] is repeated.over_seeds([])["sd"] is None


@pytest.mark.parametrize("values", [[0.99, 1.0, 0.97], [1.0, 1.0, 1.0], [0.0, 0.02, 0.0], [0.5, 0.52, 0.51]])
def test_an_interval_over_seeds_of_shares_stays_between_0_and_1(values):
    low, high = repeated.over_seeds(values, (0.0, 1.0), 180)["ci95"]
    assert 0 <= low <= np.mean(values) <= high <= 1 and low < high
    low, high = repeated.over_seeds([v - 1 for v in values], (-1.0, 1.0), 180)["ci95"]
    assert -1 <= low < high <= 1


def test_bounded_intervals_are_wilsons_where_values_are_yes_or_no():
    values = [1.0] * 33 + [0.0] * 7
    expected = statistics.rate([v == 1 for v in values])["ci95"]
    assert repeated.share_of_several(values, 3)["ci95"] == pytest.approx(expected, abs=1e-9)
    none = repeated.share_of_several([0.0] * 40, 3)
    assert none["ci95"] == pytest.approx(statistics.rate([False] * 40)["ci95"], abs=1e-9)
    low, high = statistics.mean([1, 1, 1, 2], (1, 5))["ci95"]
    assert 1 <= low < 1.25 < high < 5
    assert statistics.mean([1] * 50, (1, 5))["ci95"] == pytest.approx([1, 1 + 4 * 4.04 / 54.04], abs=0.01)


def test_tries_of_one_item_tell_less_than_items():
    chance = np.random.default_rng(2)
    shares = (chance.integers(0, 4, 60) / 3).tolist()
    low, high = repeated.share_of_several(shares, 3)["ci95"]
    width = lambda n: np.subtract(*statistics.rate([k < np.mean(shares) * n for k in range(n)])["ci95"][::-1])  # noqa: E731
    assert width(180) < high - low < width(60)


def test_shares_that_are_yes_or_no_change_as_newcombe_has_it():
    before, after = cells(20, 3, 9, 8)
    found = repeated.paired_shares([float(b) for b in before], [float(a) for a in after], 3)
    expected = statistics.paired_difference(before, after)
    assert found["ci95"] == pytest.approx(expected["ci95"], abs=1e-9) and found["value"] == pytest.approx(
        expected["value"]
    )
    same = [0.0, 1 / 3, 2 / 3, 1.0] * 10
    low, high = repeated.paired_shares(same, same, 3)["ci95"]
    assert low < 0 < high and high - low < 0.3  # few questions show little, also where none changed
    nothing = {"value": None, "ci95": None, "n": 0, "p_value": None}
    assert repeated.paired_shares([], [], 3) == nothing


def test_a_weighted_mean_of_figures_keeps_their_bounds():
    parts = [statistics.rate([True] * 10), statistics.rate([True] * 9 + [False])]
    found = statistics.weighted(parts, [1, 1])
    assert found["value"] == pytest.approx(0.95) and found["n"] == 20
    assert found["ci95"][1] <= 1 and found["ci95"][0] == pytest.approx(
        0.95 - ((1 - parts[0]["ci95"][0]) ** 2 + (0.9 - parts[1]["ci95"][0]) ** 2) ** 0.5 / 2
    )
    assert statistics.weighted(parts[:1], [3])["ci95"] == pytest.approx(parts[0]["ci95"])


def test_non_inferior_is_read_off_the_bad_end():
    lost_little = {"value": -0.005, "ci95": [-0.015, 0.005], "n": 900}
    assert statistics.non_inferiority(lost_little, 0.02)["shown"]
    assert not statistics.non_inferiority(lost_little, 0.01)["shown"]
    grown = {"value": 0.02, "ci95": [-0.01, 0.05], "n": 900}
    assert statistics.non_inferiority(grown, 0.05 + 1e-9, lower_is_better=True)["shown"]
    assert not statistics.non_inferiority(grown, 0.04, lower_is_better=True)["shown"]
    assert statistics.non_inferiority(grown, 0.04, lower_is_better=True)["bound"] == -0.05
    nothing = statistics.non_inferiority(statistics.paired_difference([], []), 0.02)
    assert nothing["shown"] is False and nothing["n_needed"] is None


def test_items_needed_by_hand():
    """Discordant share 0.2, margin 5 points: 7.849 x 0.2 / 0.0025 = 628 items; Newcombe's interval is a little wider."""
    assert 628 <= statistics.items_needed(statistics.paired_difference(*cells(400, 100, 100, 400)), 0.05) <= 680
    exact = {"value": 0.0, "ci95": [-0.02771807648, 0.02771807648], "n": 1000}  # 1.96 x sqrt(0.2 / 1000)
    assert statistics.items_needed(exact, 0.05) == 628
    assert statistics.items_needed(exact, 0.025) == pytest.approx(4 * 628, abs=4)


def test_five_items_can_never_convince():
    assert statistics.least_p(5) > 0.05 > statistics.least_p(6) == 2 * 0.5**6
    assert statistics.paired_difference(*cells(0, 0, 6, 0))["p_value"] == pytest.approx(statistics.least_p(6))


def test_simulated_null_data_sets_and_intervals():
    """2,000 data sets each, seeds in benchmarks/statistics_simulation.py, which prints the rest."""
    import sys

    from tests.conftest import ROOT

    sys.path.insert(0, str(ROOT / "benchmarks"))
    import statistics_simulation as simulation

    for count in (
        simulation.mcnemar(2000, 0.3, 0.2, 180),
        simulation.family(2000, 5, 60),
        simulation.wilcoxon(2000, 40),
    ):
        assert 0 < count.share <= 0.055, str(count)
    for count in (
        simulation.newcombe(10_000, 0.3, 0.5, 0.3, 80),
        simulation.clusters(1000, simulation.SMALL, -1.0, 0.4),
        simulation.seeds(5000, 3),
    ):
        assert 0.94 <= count.share <= 0.96, str(count)
    for count in (
        simulation.tries(500, 0.3, 60, 3),
        simulation.tries_paired(500, 0.3, 0.8, 60, 3),
        simulation.subjects(2000, 9, 40),
    ):
        assert 0.925 <= count.share <= 0.98, str(count)
    these, every = simulation.examples(300, 0.5, 1273, 0.02)
    assert 0.92 <= these.share <= 0.98 and every.share < 0.85, (str(these), str(every))
    failed, said, plain = simulation.unchanged(60, 0.5, 0.6)
    assert failed.share <= 0.08 and said.share <= 0.08 and plain.share > 0.15, (str(failed), str(said), str(plain))
    assert simulation.margin(4000, 0.5, 0.6, 200, 0.05).share <= 0.03
    assert 0.76 <= simulation.power(1000, 0.5, 0.6, 0.04).share <= 0.9


def test_tries_that_all_agree_are_as_those_that_hardly_differ():
    """All 40 questions at one half show no variance: no more is known than of two that moved, and than 80 questions tell."""
    alike, moved = [0.5] * 40, [0.5] * 38 + [0.0, 1.0]
    one, other = (repeated.share_of_several(values, 2)["ci95"] for values in (alike, moved))
    assert one == pytest.approx(statistics.rate([True] * 40 + [False] * 40)["ci95"]) and one == pytest.approx(
        other, abs=0.01
    )
    low, high = statistics.mean([3] * 50, (1, 5))["ci95"]  # no such bound is known of scores
    assert 2.8 < low < 3 < high < 3.2
