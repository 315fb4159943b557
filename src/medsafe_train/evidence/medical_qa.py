"""Figures of medical knowledge: questions answered right, how likely right answers and medical text are, and what that can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from medsafe_train import repeated, statistics
from medsafe_train.evidence import Evaluation
from medsafe_train.sources.questions import Benchmark

Answers = dict[str, list[dict[str, Any]]]
"""by arm, one record a question and seed"""
Correct = Callable[[dict[str, Any]], bool]
Arms = dict[str, dict[str, Any]]
"""a figure each of `before`, `after` and `delta`"""


def accuracy(report: dict[str, Any], benchmark: Benchmark, arms: dict[str, Evaluation]) -> None:
    """Everything that is measured of a benchmark: answers by log-likelihood, written answers, and the likelihood of good text.

    With several seeds of worked examples `accuracy` is over all of them, with questions as the unit, and each seed's own figure
    stands beside it as `accuracy_seed_K`.
    """
    answers: Answers = {arm: e.answers[benchmark.name].records("answers.jsonl") for arm, e in arms.items()}
    ids = [question.id for question in benchmark.questions]
    wanted = arms["before"].answers[benchmark.name].json("counts.json")["wanted"]
    _by_seed(report, f"medical_qa/{benchmark.name}/accuracy", ids, answers, wanted)
    _other_length(report, benchmark, answers)
    _can_show(report, benchmark)
    likely = {arm: _mean_by_question(found) for arm, found in answers.items()}
    _means(report, f"medical_qa/{benchmark.name}/correct_loglikelihood", likely)
    if all(benchmark.name in e.texts for e in arms.values()):
        texts = {arm: {t["id"]: t["loglikelihood"] / t["tokens"] for t in e.texts[benchmark.name].records("texts.jsonl")}
                 for arm, e in arms.items()}  # fmt: skip
        _means(report, f"medical_qa/{benchmark.name}/text_loglikelihood", texts)
    _said_of_prompts(report, benchmark.name, answers, wanted)
    if all(benchmark.name in e.written for e in arms.values()):
        written = {arm: e.written[benchmark.name].records("answers.jsonl") for arm, e in arms.items()}
        _written(report, benchmark.name, ids, written, wanted)
        _said_of_prompts(report, f"{benchmark.name}, answers in writing", written, wanted)


def right(answer: dict[str, Any]) -> bool:
    """Whether the benchmark counts an answer as right."""
    return bool(answer["correct"])


def figures(ids: list[str], answers: Answers, correct: Correct = right) -> Arms:
    """Figures of the arms and of their difference over these questions, all seeds together.

    A question counts by the share of seeds with which it was answered right. With one seed that is yes or no, and the `test` of
    the difference is McNemar's; with several it is Wilcoxon's over questions, as one question's answers are not independent.
    Intervals are over questions, for these worked examples: how others would move a figure, `sd_of_seeds` over `by_seed` shows.
    """
    seeds = len({a["seed"] for a in answers["before"]})
    shares = {arm: _shares(ids, found, correct) for arm, found in answers.items()}
    if seeds == 1:
        made: Arms = {arm: statistics.rate([bool(v) for v in found]) for arm, found in shares.items()}
    else:
        made = {arm: repeated.share_of_several(found, seeds) for arm, found in shares.items()}
    if "after" in shares:
        before, after = shares["before"], shares["after"]
        if seeds == 1:
            change = statistics.paired_difference([bool(v) for v in before], [bool(v) for v in after])
            made["delta"] = {**change, "test": "McNemar"}
        else:
            made["delta"] = {**repeated.paired_shares(before, after, seeds), "test": "Wilcoxon"}
    if seeds > 1:
        for arm, figure in made.items():
            figure |= _of_seeds([one[arm]["value"] for one in _alone(ids, answers, correct).values()])
    return {arm: {**figure, "unscored": 0} for arm, figure in made.items()}


def _of_seeds(values: list[float]) -> dict[str, Any]:
    return {"seeds": len(values), "by_seed": values, "sd_of_seeds": repeated.over_seeds(values)["sd"]}


def _alone(ids: list[str], answers: Answers, correct: Correct = right) -> dict[int, Arms]:
    """The figures with each seed's worked examples alone."""
    seeds = dict.fromkeys(a["seed"] for a in answers["before"])
    return {seed: figures(ids, {arm: _of(found, seed) for arm, found in answers.items()}, correct) for seed in seeds}


def _shares(ids: list[str], answers: list[dict[str, Any]], correct: Correct) -> list[float]:
    hits, asked = Counter(a["id"] for a in answers if correct(a)), Counter(a["id"] for a in answers)
    return [hits[id] / asked[id] for id in ids]


def _add(report: dict[str, Any], place: str, made: Arms) -> None:
    report["figures"] |= {f"{arm}/{place}": figure for arm, figure in made.items()}


def _by_seed(report: dict[str, Any], place: str, ids: list[str], answers: Answers, shots: int) -> None:
    made = figures(ids, answers)
    if any("seeds" in figure for figure in made.values()):
        for seed, one in _alone(ids, answers).items():
            _add(report, f"{place}_seed_{seed}", one)
    _add(report, place, {arm: figure | {"shots": shots} if shots else figure for arm, figure in made.items()})


def _of(answers: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    return [answer for answer in answers if answer["seed"] == seed]


def _mean_by_question(answers: list[dict[str, Any]]) -> dict[str, float]:
    # How likely the right option is, a token; of several seeds the mean.
    found: dict[str, list[float]] = {}
    for a in answers:
        found.setdefault(a["id"], []).append(a["loglikelihoods"][a["answer"]] / a["tokens"][a["answer"]])
    return {id: sum(values) / len(values) for id, values in found.items()}


def _other_length(report: dict[str, Any], benchmark: Benchmark, answers: Answers) -> None:
    # With and without normalisation by length, where the two can differ: whichever is not the benchmark's own.
    if benchmark.lettered:
        return
    key, name = ("choice", "accuracy_by_sum") if benchmark.normalise else ("choice_normalised", "accuracy_by_length")
    made = figures([q.id for q in benchmark.questions], answers, lambda answer: answer[key] == answer["answer"])
    _add(report, f"medical_qa/{benchmark.name}/{name}", made)


def _can_show(report: dict[str, Any], benchmark: Benchmark) -> None:
    # No knowledge is needed to guess, nor to give always the answer that is right most often.
    guess = sum(1 / len(q.options) for q in benchmark.questions) / len(benchmark.questions)
    constant = max(Counter(q.answer for q in benchmark.questions).values()) / len(benchmark.questions)
    base = report["figures"][f"before/medical_qa/{benchmark.name}/accuracy"]
    base["chance"], base["guessing"], base["one_answer"] = max(guess, constant), guess, constant
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
            f"{benchmark.name}: the model was trained on questions of this kind, so its accuracy says little"
            + ("; the difference does." if f"delta/medical_qa/{benchmark.name}/accuracy" in report["figures"] else ".")
        )


def _means(report: dict[str, Any], place: str, values: dict[str, dict[str, float]]) -> None:
    # Finer than accuracy: it moves where no choice changes. The mean over texts of each one's mean per token, in nats.
    ids = list(values["before"])
    numbers = {arm: [found[id] for id in ids] for arm, found in values.items()}
    if "after" in numbers:
        numbers["delta"] = [a - b for a, b in zip(numbers["after"], numbers["before"], strict=True)]
    for arm, found in numbers.items():
        report["figures"][f"{arm}/{place}"] = {**statistics.mean(found), "unscored": 0}


def _written(report: dict[str, Any], name: str, ids: list[str], answers: Answers, shots: int) -> None:
    _by_seed(report, f"medical_qa/{name}/accuracy_written", ids, answers, shots)
    for arm, found in answers.items():
        unread = sum(a["outcome"] == "unparsable" for a in found)
        report["figures"][f"{arm}/medical_qa/{name}/accuracy_written"]["unparsable"] = unread
        if unread:
            what = f"{name}, answers in writing" + (f", {arm}" if len(answers) > 1 else "")
            report["notes"].append(f"{what}: {unread} of {len(found)} answers name no option and count as wrong.")


def _said_of_prompts(report: dict[str, Any], what: str, answers: Answers, wanted: int) -> None:
    short = sum(a["shots"] < wanted for a in answers["before"])
    if short:
        report["notes"].append(
            f"{what}: {short} prompts were too long for the model and were asked with fewer worked examples."
        )
