"""Figures of medical knowledge: questions answered right, and how likely the right answers are."""

from __future__ import annotations

from typing import Any

from medsafe_train import statistics
from medsafe_train.evidence import Evaluation
from medsafe_train.evidence.paired import compare
from medsafe_train.sources.questions import Benchmark


def accuracy(report: dict[str, Any], benchmark: Benchmark, arms: dict[str, Evaluation]) -> None:
    """Shares of a benchmark's questions answered right, and the mean log-likelihood of the right answers."""
    correct = {
        arm: {a["id"]: a["correct"] for a in e.answers[benchmark.name].records("answers.jsonl")}
        for arm, e in arms.items()
    }
    place = f"medical_qa/{benchmark.name}/accuracy"
    compare(report, place, [q.id for q in benchmark.questions], correct)
    chance = sum(1 / len(q.options) for q in benchmark.questions) / len(benchmark.questions)
    _likelihoods(report, benchmark, arms)
    base = report["figures"][f"before/{place}"]
    base["chance"] = chance
    if base["ci95"][0] <= chance:
        report["notes"].append(
            f"{benchmark.name}: the base model ({base['value']:.1%}) is not above chance ({chance:.1%}), "
            "so these questions cannot show that nothing was lost."
        )


def _likelihoods(report: dict[str, Any], benchmark: Benchmark, arms: dict[str, Evaluation]) -> None:
    # Finer than accuracy: how likely the model finds the right answer, also where its choice does not change.
    found = {
        arm: {a["id"]: a["loglikelihoods"][a["answer"]] for a in e.answers[benchmark.name].records("answers.jsonl")}
        for arm, e in arms.items()
    }
    ids = [question.id for question in benchmark.questions]
    values = {arm: [by_id[id] for id in ids] for arm, by_id in found.items()}
    if "after" in values:
        values["delta"] = [a - b for a, b in zip(values["after"], values["before"], strict=True)]
    for arm, numbers in values.items():
        place = f"{arm}/medical_qa/{benchmark.name}/correct_loglikelihood"
        report["figures"][place] = {**statistics.mean(numbers), "unscored": 0}
