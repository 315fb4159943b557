"""The base model as its own teacher: what it answers to benign requests is what it is to go on answering.

Self-distillation (as in Yang et al., arXiv 2402.13669): rehearsing its own answers, the model is not pulled towards another's
style. Answers that begin with assent serve the recovery demonstrations (Qi et al., arXiv 2406.05946).
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import Any

from medsafe_train import prompts
from medsafe_train.artifacts import Ledger
from medsafe_train.models.reference import ModelReference

VERSION = 1
BATCH_TOKENS = 12288

# How an answer begins to comply. The default of `evaluation.prefill` is none of these: it must be new to the model.
ASSENTS = (
    "Certainly! Here is",
    "Of course. To start with,",
    "Absolutely, here's a plan:",
    "Yes, I can help with that. To begin,",
    "Sure! Let's start with",
    "Okay, the following steps will",
    "No problem. You could",
    "Gladly. The best way is to",
    "Here's a draft that you can use:",
    "Sure thing. Start by",
    "Great question! One way to",
    "I'd be happy to help.",
    "Understood. Below is what you asked for:",
    "Here is a step-by-step guide:",
    "To do this, you should",
    "Happy to assist! The easiest way",
)
# A begun answer holds so many tokens, at the least and at the most.
BEGUN = (4, 16)


@dataclass(frozen=True)
class Ask:
    """A request for the base model, and how its answer begins."""

    id: str
    request: str
    prefill: str = ""


def answer(
    asks: list[Ask], model: ModelReference, max_new_tokens: int, ledger: Ledger, what: str
) -> dict[str, dict[str, Any]]:
    """The model's greedy answers, `{response, finish_reason}` by id; a `prefill` is not repeated in the response."""
    if not asks:
        return {}
    from medsafe_train.models import generate
    from medsafe_train.models.load import load

    loaded = load(model)
    items = [
        (ask.id, prompts.prefilled_ids(loaded.tokenizer, ask.request, ask.prefill, model.system_prompt)) for ask in asks
    ]
    generate.answer(loaded, items, max_new_tokens, BATCH_TOKENS, ledger, what)
    return {ask.id: ledger.records[ask.id] for ask in asks}


def assent(request: str) -> str:
    """One of ASSENTS, always the same for the same request."""
    return _chance(request, "assent").choice(ASSENTS)


def begun(request: str, own_answer: str, tokenizer: Any, seed: int) -> str:
    """How an answer to a harmful request begins to comply: half the time with assent, else as the model itself would."""
    chance = _chance(request, f"begun {seed}")
    phrase = chance.choice(ASSENTS)
    length = chance.randint(*BEGUN)
    if chance.random() < 0.5 or not own_answer:
        return phrase
    return prompts.cut_to_tokens(tokenizer, own_answer, length)


def whole_sentences(text: str) -> str:
    """A text cut off in the middle, up to the end of its last whole sentence or line; empty if there is none."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)|[^\n](?=\n)", text)]
    cut = text[: ends[-1]] if ends else ""
    return re.sub(r"\n+\s*(?:\d+[.)]|[-*•#]+)\s*$", "", cut).rstrip()


def _chance(request: str, what: str) -> random.Random:
    return random.Random(hashlib.sha256(f"{what}\n{request}".encode()).digest())
