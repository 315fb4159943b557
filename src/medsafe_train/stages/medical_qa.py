"""Asks medical questions by log-likelihood: the option that the model finds likeliest is its answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, question_prompts
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import MedicalQASettings
from medsafe_train.models.arm import Arm
from medsafe_train.question_prompts import Asked
from medsafe_train.sources.questions import Benchmark, Question

VERSION = 5
BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}


def made_from(settings: MedicalQASettings, benchmark: Benchmark, arm: Arm) -> dict[str, Any]:
    """What decides the answers."""
    made, chat = arm.made_from(), question_prompts.as_chat(settings, arm.base.prompt_format)
    if not chat:  # plain text is the same in every format
        del made["model"]["prompt_format"], made["model"]["system_prompt"]
    return {
        "version": VERSION,
        "wording": question_prompts.VERSION,
        "benchmark": benchmark.fingerprint(),
        **made,
        "chat": chat,
        "shots": question_prompts.shots_made_from(settings, benchmark),
        "batch_tokens": batch_tokens(settings, arm),
    }


def batch_tokens(settings: MedicalQASettings, arm: Arm) -> int:
    """Tokens in one batch, on the device that the model is on."""
    return settings.batch_tokens or BATCH_TOKENS[arm.base.device]


def run(store: Store, settings: MedicalQASettings, benchmark: Benchmark, arm: Arm) -> Artifact:
    """An artifact with `answers.jsonl`: `id, seed, choice, choice_normalised, answer, correct, loglikelihoods, tokens, shots` a
    question and seed, `counts.json`, how many questions were asked with how many worked examples, and `prompts.jsonl`: of each
    seed the first question as the model read it, worked examples before it (`seed, id, format, prompt, options`).

    Log-likelihoods are natural logarithms, summed over an option's `tokens`. `choice_normalised` divides them by the option's
    length in characters (lm-evaluation-harness: acc_norm); `correct` goes by the one that the benchmark says.
    """

    def build(folder: Path) -> None:
        loaded = arm.load()
        answers: list[dict[str, Any]] = []
        shown: list[dict[str, Any]] = []
        for seed in question_prompts.seeds(settings):
            asked = _asked(loaded.tokenizer, settings, benchmark, arm, seed)
            ledger = Ledger(folder / f"loglikelihoods-{seed}.partial.jsonl")
            _score(loaded, asked, batch_tokens(settings, arm), ledger, f"{arm.name} on {benchmark.name}")
            answers += [
                _answer(benchmark, question, seed, asked[question.id].shots, ledger.records[question.id])
                for question in benchmark.questions
            ]
            shown.append(_shown(loaded.tokenizer, settings, benchmark.questions[0].id, arm, seed, asked))
        artifacts.write_jsonl(folder / "answers.jsonl", answers)
        artifacts.write_jsonl(folder / "prompts.jsonl", shown)
        kept = Counter(answer["shots"] for answer in answers)
        artifacts.write_json(
            folder / "counts.json", {"wanted": settings.shots, "asked_with": dict(sorted(kept.items()))}
        )

    how = f", {settings.shots} worked examples, {len(question_prompts.seeds(settings))} seeds" if settings.shots else ""
    with progress.stage(
        "medical_qa", f"{arm.name} model answers {len(benchmark.questions)} questions of {benchmark.name}{how}"
    ):
        made = store.make("medical_qa", made_from(settings, benchmark, arm), build)
        answers = made.records("answers.jsonl")
        progress.say(f"{sum(answer['correct'] for answer in answers)} of {len(answers)} right")
        if short := sum(answer["shots"] < settings.shots for answer in answers):
            progress.say(f"{short} prompts were too long and were asked with fewer worked examples")
    return made


def _asked(tokenizer: Any, settings: MedicalQASettings, benchmark: Benchmark, arm: Arm, seed: int) -> dict[str, Asked]:
    from medsafe_train.models.load import context_length

    shots, longest = benchmark.shots(settings.shots, seed), context_length(arm.base)
    chat, system = question_prompts.as_chat(settings, arm.base.prompt_format), arm.base.system_prompt
    return {
        question.id: question_prompts.ask(tokenizer, benchmark, question, shots, chat, system, longest)
        for question in benchmark.questions
    }


def _shown(
    tokenizer: Any, settings: MedicalQASettings, id: str, arm: Arm, seed: int, asked: dict[str, Asked]
) -> dict[str, Any]:
    # Read back from its tokens: what the model was given, with the marks of its format.
    format = arm.base.prompt_format
    return {
        "seed": seed,
        "id": id,
        "format": format if question_prompts.as_chat(settings, format) else "plain",
        "prompt": tokenizer.decode(asked[id].context, clean_up_tokenization_spaces=False),
        "options": [tokenizer.decode(o, clean_up_tokenization_spaces=False) for o in asked[id].options],
    }


def _score(loaded: Any, asked: dict[str, Asked], tokens: int, ledger: Ledger, what: str) -> None:
    from medsafe_train.models.loglikelihood import Item, score

    # Those that lost worked examples begin differently, so each number of them is scored by itself.
    for kept in sorted({one.shots for one in asked.values()}, reverse=True):
        items = [Item(id, one.context, one.options) for id, one in asked.items() if one.shots == kept]
        score(loaded, items, tokens, ledger, what)


def _answer(benchmark: Benchmark, question: Question, seed: int, shots: int, scored: dict[str, Any]) -> dict[str, Any]:
    values = scored["loglikelihoods"]
    choice = _likeliest(values)
    # The letters of lettered options are of one length, whatever the options' texts.
    lengths = [1 if benchmark.lettered else len(option) for option in question.options]
    normalised = _likeliest([value / length for value, length in zip(values, lengths, strict=True)])
    return {
        "id": question.id,
        "seed": seed,
        "choice": choice,
        "choice_normalised": normalised,
        "answer": question.answer,
        "correct": (normalised if benchmark.normalise else choice) == question.answer,
        "loglikelihoods": values,
        "tokens": scored["tokens"],
        "shots": shots,
    }


def _likeliest(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
