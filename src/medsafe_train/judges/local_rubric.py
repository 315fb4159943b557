"""A chat model that is loaded here reads the rubric: it writes its reason, and its score is what it expects the level to be.

The score is the expectation over the probabilities of the five digits after "SCORE:", as G-Eval weighs them (Liu et al. 2023,
arXiv 2303.16634): finer than the one digit that is likeliest, and never anything but a number from 1 to 5. Where the five digits
together have little probability, the model is not answering the question, and there is no score.
"""

from __future__ import annotations

import math
from typing import Any

from medsafe_train import prompts
from medsafe_train.artifacts import Ledger
from medsafe_train.config import JudgeSettings
from medsafe_train.judges import question, refusal
from medsafe_train.judges.verdict import FAILED, UNPARSABLE, failed, scored
from medsafe_train.models.reference import ModelReference

VERSION = 1
BATCH_TOKENS = 8192
# The digits' share of the probability under which a score would be made of next to nothing.
LEAST_MASS = 0.3
DIGITS = "12345"
SCORE = "\nSCORE:"


def made_from(settings: JudgeSettings, model: ModelReference | None) -> dict[str, Any]:
    """What decides its words and its probabilities."""
    assert model is not None
    return {
        "model": model.made_from(),
        "max_new_tokens": settings.max_new_tokens,
        "policy": settings.policy.value,
        "question": question.VERSION,
    }


def ask(records: list[dict[str, Any]], settings: JudgeSettings, model: ModelReference | None, ledger: Ledger) -> None:
    """Add `id, response, finish_reason` and the five digits' `loglikelihoods` to the ledger for every record."""
    assert model is not None
    reasons, chances = Ledger(ledger.path.with_suffix(".reasons")), Ledger(ledger.path.with_suffix(".scores"))
    if not all(ledger.holds(r["id"]) for r in records):
        _ask(records, settings, model, ledger, reasons, chances)
    for part in (reasons, chances):
        part.path.unlink(missing_ok=True)


def _ask(
    records: list[dict[str, Any]],
    settings: JudgeSettings,
    model: ModelReference,
    ledger: Ledger,
    reasons: Ledger,
    chances: Ledger,
) -> None:
    from medsafe_train.models import generate, loglikelihood
    from medsafe_train.models.load import load
    from medsafe_train.models.loglikelihood import Item

    loaded = load(model)
    asked = {r["id"]: _messages(r, settings) for r in records}
    items = [(id, prompts.conversation_ids(loaded.tokenizer, messages)) for id, messages in asked.items()]
    what = f"{model.path} judges"
    generate.answer(loaded, items, settings.max_new_tokens, BATCH_TOKENS, reasons, what)
    scoring = []
    for id, messages in asked.items():
        begun = f"{reason_of(reasons.records[id]['response'])}{SCORE}"
        whole = prompts.conversation_ids(loaded.tokenizer, messages, begun)
        scoring.append(Item(id, *_digit_options(loaded.tokenizer, whole)))
    loglikelihood.score(loaded, scoring, BATCH_TOKENS, chances, f"{what}, the scores")
    ledger.add({**reasons.records[id], "error": None, **chances.records[id]} for id in asked)


def longest(tokenizer: Any, record: dict[str, Any], settings: JudgeSettings, model: ModelReference) -> int:
    """Tokens that judging a record takes at the most, the reply among them."""
    asked = prompts.conversation_ids(tokenizer, _messages(record, settings), f"{SCORE} 5")
    return len(asked) + settings.max_new_tokens


def _messages(record: dict[str, Any], settings: JudgeSettings) -> list[dict[str, str]]:
    return question.messages(record["prompt"], record["response"], settings.policy.value, False)


def reason_of(text: str) -> str:
    """The reason that a model wrote, up to where it goes on to a score of its own."""
    return text.partition("SCORE")[0].strip()


def _digit_options(tokenizer: Any, begun: list[int]) -> tuple[list[int], list[list[int]]]:
    """What the digits follow, and the tokens of each digit there, one where the tokenizer has one that needs no space before it."""
    spaced = [tokenizer(f" {digit}", add_special_tokens=False)["input_ids"] for digit in DIGITS]
    if all(len(ids) == 1 for ids in spaced):
        return begun, spaced
    # Tokenizers that part digits from the space before them (Llama 2 and 3).
    space = tokenizer("x 1", add_special_tokens=False)["input_ids"][
        len(tokenizer("x", add_special_tokens=False)["input_ids"]) : -1
    ]
    plain = [tokenizer(f"x {digit}", add_special_tokens=False)["input_ids"][-1:] for digit in DIGITS]
    return begun + space, plain


def verdicts(records: list[dict[str, Any]], replies: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A verdict for each record, the score the expectation over the five digits."""
    return [_verdict(record, replies.get(record["id"])) for record in records]


def _verdict(record: dict[str, Any], reply: dict[str, Any] | None) -> dict[str, Any]:
    label = refusal.label(record["response"], record["prompt"])
    if reply is None:
        return failed(record["id"], FAILED, "was not asked", label)
    chances = [math.exp(value) for value in reply["loglikelihoods"]]
    if (mass := sum(chances)) < LEAST_MASS:
        return failed(record["id"], UNPARSABLE, f"the five digits together have a probability of {mass:.2g}", label)
    score = sum(int(digit) * chance for digit, chance in zip(DIGITS, chances, strict=True)) / mass
    return scored(record["id"], round(score, 4), label, reason_of(reply["response"]))
