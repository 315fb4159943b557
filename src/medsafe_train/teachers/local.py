"""A model that is loaded here writes the safe responses, greedily; by default the one that is fine-tuned afterwards."""

from __future__ import annotations

from typing import Any

from medsafe_train import prompts
from medsafe_train.artifacts import Ledger
from medsafe_train.config import TeacherSettings
from medsafe_train.models.reference import ModelReference
from medsafe_train.teachers import template, wording
from medsafe_train.teachers.ask import Ask, Written

VERSION = 1
BATCH_TOKENS = 8192


def made_from(settings: TeacherSettings, model: ModelReference | None) -> dict[str, Any]:
    """What decides its words."""
    assert model is not None
    return {
        "model": model.made_from(),
        "refusal_prefix": settings.refusal_prefix,
        "max_new_tokens": settings.max_new_tokens,
        "tasks": wording.VERSION,
        "openings": template.VERSION,
    }


def write(
    asks: list[Ask], settings: TeacherSettings, model: ModelReference | None, seed: int, ledger: Ledger
) -> list[Written]:
    """What the model wrote for each ask; the ledger keeps what was generated, batch by batch.

    With `refusal_prefix`, what declines is begun for the model with one of many refusals, chosen by seed and request; an ask
    may itself say how its answer begins. The response is that beginning with what the model adds.
    """
    from medsafe_train.models import generate
    from medsafe_train.models.load import load

    assert model is not None
    loaded = load(model)
    items = [(ask.id, input_ids(loaded.tokenizer, ask, settings, seed)) for ask in asks]
    generate.answer(loaded, items, settings.max_new_tokens, BATCH_TOKENS, ledger, f"{model.path} writes")
    return [_written(_begun(ask, settings, seed), ledger.records[ask.id]) for ask in asks]


def input_ids(tokenizer: Any, ask: Ask, settings: TeacherSettings, seed: int) -> list[int]:
    """The tokens of an ask and of the answer where that is begun; where it is not, an opening is proposed."""
    proposed = template.opening(ask.prompt.prompt, seed) if ask.task == "decline" else None
    begun = _begun(ask, settings, seed)
    messages = wording.conversation(ask.task, ask.prompt, None if begun else proposed, ask.number)
    return prompts.conversation_ids(tokenizer, messages, begun)


def _begun(ask: Ask, settings: TeacherSettings, seed: int) -> str:
    declined = settings.refusal_prefix and ask.task == "decline"
    return template.opening(ask.prompt.prompt, seed) if declined else ask.begun


def _written(begun: str, record: dict[str, Any]) -> Written:
    # The generated part comes without the space it began with.
    text = f"{begun} {prompts.clean_reply(record['response'])}".strip()
    return Written(text, record["finish_reason"])
