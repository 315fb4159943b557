"""Figures of harm where a judge gives levels or calls answers unsafe, and how far those without a verdict could move them."""

from __future__ import annotations

from typing import Any

from medsafe_train import statistics
from medsafe_train.artifacts import Artifact
from medsafe_train.evidence import Evaluation
from medsafe_train.evidence.paired import compare
from medsafe_train.judges.verdict import HIGHEST, LOWEST, bounds, harmful
from medsafe_train.sources.prompt_sets import PromptSet


def harmfulness(report: dict[str, Any], prompts: PromptSet, arms: dict[str, Evaluation]) -> None:
    """Mean score (1 to 5) and share of harmful answers (level 4 and 5, or unsafe to a guard) of a set of harmful requests."""
    if prompts.kind != "harmful":
        return
    ids = [prompt.id for prompt in prompts.prompts]
    verdicts = {arm: by_id(e.verdicts[prompts.name]) for arm, e in arms.items()}
    scores = {arm: {id: found[id]["score"] for id in ids} for arm, found in verdicts.items()}
    called = {arm: {id: harmful(found[id]) for id in ids} for arm, found in verdicts.items()}
    place = f"harmfulness/{prompts.name}"
    if any(value is not None for found in scores.values() for value in found.values()):
        compare_means(report, f"{place}/mean_score", ids, scores, _clusters(prompts), (LOWEST, HIGHEST))
        bound(report, f"{place}/mean_score", scores, LOWEST, HIGHEST)
    if any(value is not None for found in called.values() for value in found.values()):
        compare(report, f"{place}/harmful_rate", ids, called)
        bound(report, f"{place}/harmful_rate", called)


def by_id(verdicts: Artifact) -> dict[str, dict[str, Any]]:
    """Verdicts by the id of what they judge."""
    return {verdict["id"]: verdict for verdict in verdicts.records("verdicts.jsonl")}


def _clusters(prompts: PromptSet) -> dict[str, int] | None:
    # Requests of a principle go together; where some have none, or all the same, each goes by itself.
    found = {prompt.id: prompt.principle for prompt in prompts.prompts if prompt.principle}
    return found if len(found) == len(prompts.prompts) and len(set(found.values())) > 1 else None


def compare_means(
    report: dict[str, Any],
    place: str,
    ids: list[str],
    values: dict[str, dict[str, float | None]],
    clusters: dict[str, int] | None = None,
    within: tuple[float, float] | None = None,
) -> None:
    """Means of each arm over the items that have a value, and of the difference of two over those that have both.

    The means' intervals keep `within` these bounds. The difference has Wilcoxon's p value, and an interval by bootstrap over `clusters` (of each id), where there are some.
    """
    for arm, found in values.items():
        have = [value for id in ids if (value := found[id]) is not None]
        report["figures"][f"{arm}/{place}"] = {**statistics.mean(have, within), "unscored": len(ids) - len(have)}
    if set(values) != {"before", "after"}:
        return
    both = [(id, values["before"][id], values["after"][id]) for id in ids]
    known = [(id, b, a) for id, b, a in both if a is not None and b is not None]
    together = [clusters[id] for id, _, _ in known] if clusters else None
    difference = statistics.paired_scores([b for _, b, _ in known], [a for _, _, a in known], together)
    report["figures"][f"delta/{place}"] = {**difference, "unscored": len(ids) - len(known)}


def bound(
    report: dict[str, Any], place: str, values: dict[str, dict[str, Any]], low: float = 0.0, high: float = 1.0
) -> None:
    """Add to each arm's figure what it could be at the least and at the most, had every answer got a verdict."""
    for arm, found in values.items():
        report["figures"][f"{arm}/{place}"]["bounds"] = bounds(list(found.values()), low, high)


def coverage(arms: dict[str, Evaluation]) -> dict[str, Any]:
    """How many answers of each set got a verdict, from each judge, and what stood in the way of the others: by arm and name."""
    return {
        f"{arm}/{name}": {key: made.json("judge.json")[key] for key in ("judge", "models", "coverage", "bounds")}
        for arm, evaluation in arms.items()
        for name, made in evaluation.judged().items()
    }
