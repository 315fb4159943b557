"""Figures of medical knowledge: questions answered right, how likely right answers and medical text are, and what that can show."""

from __future__ import annotations

from collections import Counter
from typing import Any

from medsafe_train import statistics
from medsafe_train.evidence import Evaluation
from medsafe_train.evidence.paired import compare
from medsafe_train.sources.questions import Benchmark

Answers = dict[str, list[dict[str, Any]]]


def accuracy(report: dict[str, Any], benchmark: Benchmark, arms: dict[str, Evaluation]) -> None:
    """Everything that is measured of a benchmark: answers by log-likelihood, written answers, and the likelihood of good text.

    With several seeds of worked examples, `accuracy` is the first seed's, so that it stays a share of questions with an exact
    test; every seed has a figure of its own beside it, and all seeds together one.
    """
    answers: Answers = {arm: e.answers[benchmark.name].records("answers.jsonl") for arm, e in arms.items()}
    _by_seed(report, benchmark, answers, "accuracy")
    _other_length(report, benchmark, answers)
    _can_show(report, benchmark)
    first = answers["before"][0]["seed"]
    right = {arm: {a["id"]: a["loglikelihoods"][a["answer"]] / a["tokens"][a["answer"]] for a in found if a["seed"] == first}
             for arm, found in answers.items()}  # fmt: skip
    _means(report, f"medical_qa/{benchmark.name}/correct_loglikelihood", right)
    if all(benchmark.name in e.texts for e in arms.values()):
        texts = {arm: {t["id"]: t["loglikelihood"] / t["tokens"] for t in e.texts[benchmark.name].records("texts.jsonl")}
                 for arm, e in arms.items()}  # fmt: skip
        _means(report, f"medical_qa/{benchmark.name}/text_loglikelihood", texts)
    wanted = arms["before"].answers[benchmark.name].json("counts.json")["wanted"]
    _said_of_prompts(report, benchmark.name, answers, wanted)
    if all(benchmark.name in e.written for e in arms.values()):
        written = {arm: e.written[benchmark.name].records("answers.jsonl") for arm, e in arms.items()}
        _written(report, benchmark, written)
        _said_of_prompts(report, f"{benchmark.name}, answers in writing", written, wanted)


def _by_seed(report: dict[str, Any], benchmark: Benchmark, answers: Answers, metric: str) -> None:
    ids, seeds = [q.id for q in benchmark.questions], list(dict.fromkeys(a["seed"] for a in answers["before"]))
    place = f"medical_qa/{benchmark.name}/{metric}"
    for seed in seeds:
        correct = {arm: {a["id"]: a["correct"] for a in found if a["seed"] == seed} for arm, found in answers.items()}
        compare(report, place if seed == seeds[0] else f"{place}_seed_{seed}", ids, correct)
    if len(seeds) == 1:
        return
    shares = {arm: _shares(ids, found) for arm, found in answers.items()}
    for arm, found in shares.items():
        by_seed = [sum(a["correct"] for a in answers[arm] if a["seed"] == seed) / len(ids) for seed in seeds]
        figure = {**statistics.mean(found), "unscored": 0, "sd_of_seeds": statistics.over_seeds(by_seed)["sd"]}
        report["figures"][f"{arm}/{place}_all_seeds"] = figure
    if "after" in shares:
        report["figures"][f"delta/{place}_all_seeds"] = {
            **statistics.paired_scores(shares["before"], shares["after"]),
            "unscored": 0,
        }


def _shares(ids: list[str], answers: list[dict[str, Any]]) -> list[float]:
    # Of each question, the share of seeds with which it was answered right: the questions are what varies, not the answers.
    right, asked = Counter(a["id"] for a in answers if a["correct"]), Counter(a["id"] for a in answers)
    return [right[id] / asked[id] for id in ids]


def _other_length(report: dict[str, Any], benchmark: Benchmark, answers: Answers) -> None:
    # With and without normalisation by length, where the two can differ: whichever is not the benchmark's own.
    if benchmark.style not in ("cloze", "pubmedqa"):
        return
    key, name = ("choice", "accuracy_by_sum") if benchmark.normalise else ("choice_normalised", "accuracy_by_length")
    first = answers["before"][0]["seed"]
    correct = {
        arm: {a["id"]: a[key] == a["answer"] for a in found if a["seed"] == first} for arm, found in answers.items()
    }
    compare(report, f"medical_qa/{benchmark.name}/{name}", [q.id for q in benchmark.questions], correct)


def _can_show(report: dict[str, Any], benchmark: Benchmark) -> None:
    # No knowledge is needed to guess, nor to give always the answer that is right most often.
    guess = sum(1 / len(q.options) for q in benchmark.questions) / len(benchmark.questions)
    constant = max(Counter(q.answer for q in benchmark.questions).values()) / len(benchmark.questions)
    base = report["figures"][f"before/medical_qa/{benchmark.name}/accuracy"]
    base["chance"], base["guessing"], base["one_answer"] = max(guess, constant), guess, constant
    if base["ci95"][0] <= base["chance"]:
        what = f"chance ({guess:.1%})" if base["ci95"][0] <= guess else f"always giving one answer ({constant:.1%})"
        report["notes"].append(
            f"{benchmark.name}: the base model ({base['value']:.1%}) is not above {what}, "
            "so these questions cannot show that nothing was lost."
        )
    seen = [
        name
        for name in report.get("settings", {}).get("model", {}).get("trained_on", [])
        if benchmark.name.startswith(name)
    ]
    if seen:
        for arm in ("before", "after", "delta"):
            if figure := report["figures"].get(f"{arm}/medical_qa/{benchmark.name}/accuracy"):
                figure["trained_on"] = True
        report["notes"].append(
            f"{benchmark.name}: the model was trained on questions of this kind, so its accuracy says little; the difference does."
        )


def _means(report: dict[str, Any], place: str, values: dict[str, dict[str, float]]) -> None:
    # Finer than accuracy: it moves where no choice changes. The mean over texts of each one's mean per token, in nats.
    ids = list(values["before"])
    numbers = {arm: [found[id] for id in ids] for arm, found in values.items()}
    if "after" in numbers:
        numbers["delta"] = [a - b for a, b in zip(numbers["after"], numbers["before"], strict=True)]
    for arm, found in numbers.items():
        report["figures"][f"{arm}/{place}"] = {**statistics.mean(found), "unscored": 0}


def _written(report: dict[str, Any], benchmark: Benchmark, answers: Answers) -> None:
    _by_seed(report, benchmark, answers, "accuracy_written")
    seed = answers["before"][0]["seed"]
    for arm, found in answers.items():
        outcomes = [a["outcome"] for a in found if a["seed"] == seed]
        unread = outcomes.count("unparsable")
        report["figures"][f"{arm}/medical_qa/{benchmark.name}/accuracy_written"]["unparsable"] = unread
        if unread:
            report["notes"].append(
                f"{benchmark.name}, answers in writing, {arm}: {unread} of {len(outcomes)} name no answer and count as wrong."
            )


def _said_of_prompts(report: dict[str, Any], what: str, answers: Answers, wanted: int) -> None:
    short = sum(a["shots"] < wanted for a in answers["before"])
    if short:
        report["notes"].append(
            f"{what}: {short} prompts were too long for the model and were asked with fewer worked examples."
        )
