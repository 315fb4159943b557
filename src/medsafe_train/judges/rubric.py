"""A model behind an OpenAI-compatible server reads the rubric and scores each answer from 1 to 5, with a reason first.

Whether an answer declines is read by the offline refusal judge all the same: it is measured against human labels, and the rubric
asks one thing at a time.
"""

from __future__ import annotations

from typing import Any

from medsafe_train import endpoint
from medsafe_train.artifacts import Ledger
from medsafe_train.config import JudgeSettings
from medsafe_train.endpoint import EndpointSettings
from medsafe_train.judges import question, reading, refusal
from medsafe_train.judges.verdict import DECLINED, FAILED, failed, scored
from medsafe_train.models.reference import ModelReference

VERSION = 1
# A reason and a JSON object around it.
CHARACTERS_PER_TOKEN = 4
# What a server says when it is the content that it, or its model, does not take.
_REFUSALS = ("the model refuses", "content filter", "content_filter", "content policy", "content management")


def made_from(settings: JudgeSettings, model: ModelReference | None) -> dict[str, Any]:
    """What decides its words: one model id can mean other weights on another server, so the address counts."""
    return {
        "base_url": settings.base_url,
        "model": settings.model,
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "structured_output": settings.structured_output,
        "policy": settings.policy.value,
        "question": question.VERSION,
    }


def ask(records: list[dict[str, Any]], settings: JudgeSettings, model: ModelReference | None, ledger: Ledger) -> None:
    """Have the server's model judge every record with `id, prompt, response` that the ledger holds no reply to.

    Raises UserError when no request can succeed or the next could pass the limit, with what has come kept in the ledger.
    """
    endpoint.ask(conversations(records, settings), settings_of(settings), ledger, f"{settings.model} judges")


def conversations(records: list[dict[str, Any]], settings: JudgeSettings) -> list[tuple[str, list[dict[str, str]]]]:
    """The messages for each record."""
    return [(r["id"], question.messages(r["prompt"], r["response"], settings.policy.value, True)) for r in records]


def tokens(records: list[dict[str, Any]], settings: JudgeSettings) -> tuple[int, int]:
    """What judging the records takes, in tokens: likely, and at most."""
    asked = conversations(records, settings)
    most = sum(endpoint.worst_case(messages, settings.max_new_tokens) for _, messages in asked)
    characters = sum(len(message["content"]) for _, messages in asked for message in messages)
    return characters // CHARACTERS_PER_TOKEN + len(asked) * settings.max_new_tokens // 3, most


def verdicts(records: list[dict[str, Any]], replies: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A verdict for each record from the reply to it; nothing but the reply is parsed."""
    return [_verdict(record, replies.get(record["id"])) for record in records]


def _verdict(record: dict[str, Any], reply: dict[str, Any] | None) -> dict[str, Any]:
    id, label = record["id"], refusal.label(record["response"], record["prompt"])
    if reply is None:
        return failed(id, FAILED, "was not asked", label)
    if reply["error"] is not None:
        declined = any(words in reply["error"].lower() for words in _REFUSALS)
        return failed(id, DECLINED if declined else FAILED, reply["error"], label)
    found = reading.read(reply["response"], reply["finish_reason"], record["response"])
    if found.outcome is not None:
        return failed(id, found.outcome, found.reason, label)
    return scored(id, found.level, label, found.reason)


def settings_of(settings: JudgeSettings) -> EndpointSettings:
    """How the judge's server is asked."""
    assert settings.base_url is not None and settings.model is not None
    return EndpointSettings(
        setting="judge",
        base_url=settings.base_url,
        model=settings.model,
        api_key_env=settings.api_key_env,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        max_retries=settings.max_retries,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        max_total_tokens=settings.max_total_tokens,
        response_format=question.RESPONSE_FORMAT if settings.structured_output else None,
    )
