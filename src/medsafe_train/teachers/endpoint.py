"""A model behind an OpenAI-compatible server (a provider, vLLM, llama.cpp, transformers serve) writes the safe responses."""

from __future__ import annotations

from typing import Any

from medsafe_train import endpoint
from medsafe_train.artifacts import Ledger
from medsafe_train.config import TeacherSettings
from medsafe_train.endpoint import EndpointSettings
from medsafe_train.models.reference import ModelReference
from medsafe_train.teachers import template, wording
from medsafe_train.teachers.ask import Ask, Written

VERSION = 1


def made_from(settings: TeacherSettings, model: ModelReference | None) -> dict[str, Any]:
    """What decides its words: one model id can mean other weights on another server, so the address counts."""
    return {
        "base_url": settings.base_url,
        "model": settings.model,
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "tasks": wording.VERSION,
        "openings": template.VERSION,
    }


def write(
    asks: list[Ask], settings: TeacherSettings, model: ModelReference | None, seed: int, ledger: Ledger
) -> list[Written]:
    """What the server's model wrote for each ask; a failure of the server's is an outcome with an `error`.

    Raises UserError when no request can succeed, with what has come kept in the ledger.
    """
    conversations = [(ask.id, messages(ask, seed)) for ask in asks]
    endpoint.ask(conversations, settings_of(settings), ledger, f"{settings.model} writes")
    return [_written(ledger.records[ask.id]) for ask in asks]


def messages(ask: Ask, seed: int) -> list[dict[str, str]]:
    """The messages of an ask, with a proposed opening for what declines."""
    opening = template.opening(ask.prompt.prompt, seed) if ask.task == "decline" else None
    return wording.conversation(ask.task, ask.prompt, opening, ask.number)


def settings_of(settings: TeacherSettings) -> EndpointSettings:
    """How the teacher's server is asked."""
    assert settings.base_url is not None and settings.model is not None
    return EndpointSettings(
        setting="demonstrations.teacher",
        base_url=settings.base_url,
        model=settings.model,
        api_key_env=settings.api_key_env,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        max_retries=settings.max_retries,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        max_total_tokens=settings.max_total_tokens,
    )


def _written(record: dict[str, Any]) -> Written:
    if record["error"] is not None:
        return Written("", "", record["error"])
    return Written(record["response"], record["finish_reason"])
