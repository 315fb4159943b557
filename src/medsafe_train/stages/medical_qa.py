"""Asks medical questions by log-likelihood: the option that the model finds likeliest is its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import MedicalQASettings
from medsafe_train.models.arm import Arm
from medsafe_train.sources.questions import Benchmark, Question

VERSION = 1


def made_from(settings: MedicalQASettings, benchmark: Benchmark, arm: Arm) -> dict[str, Any]:
    """What decides the answers."""
    made = arm.made_from()
    # Questions are asked as plain text, whatever the model's prompt format.
    del made["model"]["prompt_format"], made["model"]["system_prompt"]
    return {
        "version": VERSION,
        "benchmark": benchmark.fingerprint(),
        **made,
        "batch_tokens": settings.batch_tokens,
    }


def run(store: Store, settings: MedicalQASettings, benchmark: Benchmark, arm: Arm) -> Artifact:
    """An artifact with `answers.jsonl`: `id, choice, answer, correct, loglikelihoods` (natural logarithm) a question."""
    questions = {question.id: question for question in benchmark.questions}

    def build(folder: Path) -> None:
        from medsafe_train.models import loglikelihood

        loaded = arm.load()
        items = [
            loglikelihood.Item(id, *prompts.question_ids(loaded.tokenizer, benchmark.style, question))
            for id, question in questions.items()
        ]
        ledger = Ledger(folder / "loglikelihoods.partial.jsonl")
        loglikelihood.score(loaded, items, settings.batch_tokens, ledger, f"{arm.name} on {benchmark.name}")
        answers = [_answer(benchmark, questions[id], ledger.records[id]["loglikelihoods"]) for id in questions]
        artifacts.write_jsonl(folder / "answers.jsonl", answers)
        ledger.path.unlink()

    with progress.stage("medical_qa", f"{arm.name} model answers {len(questions)} questions of {benchmark.name}"):
        made = store.make("medical_qa", made_from(settings, benchmark, arm), build)
        correct = sum(answer["correct"] for answer in made.records("answers.jsonl"))
        progress.say(f"{correct} of {len(questions)} right")
    return made


def _answer(benchmark: Benchmark, question: Question, loglikelihoods: list[float]) -> dict[str, Any]:
    lengths = [len(option.encode()) if benchmark.normalise else 1 for option in question.options]
    values = [value / length for value, length in zip(loglikelihoods, lengths, strict=True)]
    choice = max(range(len(values)), key=values.__getitem__)
    return {
        "id": question.id,
        "choice": choice,
        "answer": question.answer,
        "correct": choice == question.answer,
        "loglikelihoods": loglikelihoods,
    }
