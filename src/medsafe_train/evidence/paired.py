"""Figures of both arms and of their difference, over the same items; of one arm, where only one was measured."""

from __future__ import annotations

from typing import Any

from medsafe_train import statistics


def compare(report: dict[str, Any], place: str, ids: list[str], values: dict[str, dict[str, bool | None]]) -> None:
    """Figures of both arms over the items that have a value, and of their difference over those that have both."""
    for arm, found in values.items():
        have = [bool(found[id]) for id in ids if found[id] is not None]
        report["figures"][f"{arm}/{place}"] = {**statistics.rate(have), "unscored": len(ids) - len(have)}
    if "after" not in values:
        return
    pairs = [(values["before"][id], values["after"][id]) for id in ids]
    whole = [(bool(b), bool(a)) for b, a in pairs if b is not None and a is not None]
    difference = statistics.paired_difference([b for b, _ in whole], [a for _, a in whole])
    report["figures"][f"delta/{place}"] = {**difference, "unscored": len(ids) - len(whole)}
