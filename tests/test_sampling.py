import random

import pytest

from medsafe_train.models.sampling import WINDOW, MixedUpdates


def sampler(count=1003, size=8, share=0.3, seed=0):
    chance = random.Random(5)
    groups = [chance.random() < share for _ in range(count)]
    # What one group's rows have in length the other's have not: by length alone, no update would see both.
    lengths = [chance.randint(60, 80) if group else chance.randint(100, 140) for group in groups]
    return MixedUpdates(lengths, groups, size, seed)


def updates(sampler):
    order = list(sampler)
    return [order[n : n + sampler.size] for n in range(0, len(order), sampler.size)]


@pytest.mark.parametrize(("count", "size"), [(1003, 8), (5, 8), (800, 16), (1, 1)])
def test_every_row_comes_once(count, size):
    made = sampler(count, size)
    assert sorted(made) == list(range(count)) and len(made) == count


def test_every_update_sees_the_groups_in_their_proportion():
    made = sampler(size=10, share=0.3)
    share = sum(made.groups) / len(made)
    found = [sum(made.groups[row] for row in update) for update in updates(made) if len(update) == 10]
    # Windows differ by chance, updates in a window by one row.
    assert {abs(count - 10 * share) < 2 for count in found} == {True}


def test_a_group_in_an_update_is_of_about_one_length():
    made = sampler(count=4000)
    for group in (True, False):
        spans = []
        for update in updates(made):
            lengths = [made.lengths[row] for row in update if made.groups[row] == group]
            spans.append(max(lengths) - min(lengths))
        assert sum(spans) / len(spans) < 4


def test_bites_of_an_update_are_of_about_one_length():
    made = sampler(share=0.5)
    first = [made.lengths[row] for update in updates(made)[:50] for row in update[:4]]
    rest = [made.lengths[row] for update in updates(made)[:50] for row in update[4:]]
    assert sum(first) / len(first) > sum(rest) / len(rest) + 20


def test_the_order_depends_on_seed_and_epoch_alone():
    made, again, other = sampler(), sampler(), sampler(seed=1)
    first = list(made)
    assert first == list(made) == list(again) != list(other)
    made.set_epoch(1)
    assert list(made) != first
    again.set_epoch(1)
    assert list(made) == list(again)


def test_updates_do_not_come_by_length():
    made = sampler(count=8 * WINDOW * 2)
    longest = [max(made.lengths[row] for row in update) for update in updates(made)[:WINDOW]]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
