"""The order of rows in training."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction

import torch
from torch.utils.data import Sampler

# Rows are sorted by length within so many updates: enough for little padding, few enough to stay a shuffle.
WINDOW = 50


class MixedUpdates(Sampler[int]):
    """Rows in an order in which every update sees all groups in the set's proportion, each with rows of about one length.

    Sorted by length alone, refusals and answers, which differ in it, would come in updates of their own, and each update
    would pull the model to one side. `size` rows make an update; the order depends on the seed and the epoch alone.
    """

    def __init__(self, lengths: Sequence[int], groups: Sequence[Hashable], size: int, seed: int):
        self.lengths, self.groups, self.size, self.seed, self.epoch = lengths, groups, size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """What a trainer calls at the beginning of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self.seed * 1000 + self.epoch)
        order = self._dealt(torch.randperm(len(self), generator=chance).tolist(), by_length=False)
        span = WINDOW * self.size
        for start in range(0, len(order), span):
            window = self._dealt(order[start : start + span], by_length=True)
            updates = [window[n : n + self.size] for n in range(0, len(window), self.size)]
            # A last update of fewer rows stays the last, or every later one would be cut elsewhere.
            whole = len(window) // self.size
            places = torch.randperm(whole, generator=chance).tolist() + list(range(whole, len(updates)))
            for place in places:
                yield from sorted(updates[place], key=lambda row: -self.lengths[row])

    def _dealt(self, rows: list[int], by_length: bool) -> list[int]:
        # All groups spread evenly over the whole, each in its own order or from its longest row to its shortest.
        groups: dict[Hashable, list[int]] = {}
        for row in rows:
            groups.setdefault(self.groups[row], []).append(row)
        found = []
        for number, members in enumerate(groups.values()):
            if by_length:
                members.sort(key=lambda row: -self.lengths[row])
            found += [(Fraction(2 * n + 1, 2 * len(members)), number, row) for n, row in enumerate(members)]
        return [row for _, _, row in sorted(found)]
