"""Lets a model write its answers to medical questions and reads their first word, as Meditron's authors evaluated (arXiv 2311.16079)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts, question_prompts
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import MedicalQASettings
from medsafe_train.models.arm import Arm
from medsafe_train.sources.questions import Benchmark, Question

VERSION = 3
# As many as the authors' harness lets a model write after worked examples.
MAX_NEW_TOKENS = 9
BATCH_TOKENS = 4096


def made_from(settings: MedicalQASettings, benchmark: Benchmark, arm: Arm) -> dict[str, Any]:
    """What decides the answers."""
    made, chat = arm.made_from(), question_prompts.as_chat(settings, arm.base.prompt_format)
    if not chat:  # plain text is the same in every format, and an answer ends where its format ends a turn
        del made["model"]["system_prompt"]
        made["model"]["end_of_turn"] = prompts.FORMATS[made["model"].pop("prompt_format")].end_of_turn
    return {
        "version": VERSION,
        "parted": prompts.PARTED,
        "wording": question_prompts.VERSION,
        "benchmark": benchmark.fingerprint(),
        **made,
        "chat": chat,
        "shots": question_prompts.shots_made_from(settings, benchmark),
    }


def run(store: Store, settings: MedicalQASettings, benchmark: Benchmark, arm: Arm) -> Artifact:
    """An artifact with `answers.jsonl`: `id, seed, response, choice|null, answer, correct, outcome, shots` a question and seed.

    `outcome` is `scored` or `unparsable`; what cannot be read as one of the answers is not right, and it is counted.
    """

    def build(folder: Path) -> None:
        loaded = arm.load()
        answers: list[dict[str, Any]] = []
        for seed in question_prompts.seeds(settings):
            answers += _written(loaded, settings, benchmark, arm, seed, folder)
        artifacts.write_jsonl(folder / "answers.jsonl", answers)

    with progress.stage(
        "medical_writing",
        f"{arm.name} model writes answers to {len(benchmark.questions)} questions of {benchmark.name}",
    ):
        made = store.make("medical_writing", made_from(settings, benchmark, arm), build)
        answers = made.records("answers.jsonl")
        unread = sum(answer["outcome"] == "unparsable" for answer in answers)
        progress.say(f"{sum(a['correct'] for a in answers)} of {len(answers)} right, {unread} that name no option")
    return made


def _written(
    loaded: Any, settings: MedicalQASettings, benchmark: Benchmark, arm: Arm, seed: int, folder: Path
) -> list[dict[str, Any]]:
    from medsafe_train.models import generate
    from medsafe_train.models.load import context_length

    shots, longest = benchmark.shots(settings.shots, seed), context_length(arm.base)
    chat, system = question_prompts.as_chat(settings, arm.base.prompt_format), arm.base.system_prompt
    room = longest - MAX_NEW_TOKENS if longest else None
    asked = {
        question.id: question_prompts.ask_to_write(loaded.tokenizer, benchmark, question, shots, chat, system, room)
        for question in benchmark.questions
    }
    ledger = Ledger(folder / f"written-{seed}.partial.jsonl")
    what = f"{arm.name} writes answers to {benchmark.name}"
    items = [(id, one.context) for id, one in asked.items()]
    generate.answer(loaded, items, MAX_NEW_TOKENS, BATCH_TOKENS, ledger, what)
    return [
        _answer(question, seed, asked[question.id].shots, ledger.records[question.id])
        for question in benchmark.questions
    ]


def _answer(question: Question, seed: int, shots: int, written: dict[str, Any]) -> dict[str, Any]:
    choice = question_prompts.first_word(written["response"], question)
    return {
        "id": question.id,
        "seed": seed,
        "response": written["response"],
        "choice": choice,
        "answer": question.answer,
        "correct": choice == question.answer,
        "outcome": "unparsable" if choice is None else "scored",
        "shots": shots,
    }
