"""What a teacher is asked, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from medsafe_train.sources.prompt_sets import Prompt


@dataclass(frozen=True)
class Ask:
    """A harmful request and what to make of it; `id` is unique among what is asked together."""

    id: str
    prompt: Prompt
    task: str = "decline"
    """decline (a safe response) or twin (a harmless request on the same topic and in the same form)"""


@dataclass(frozen=True)
class Written:
    """What a teacher wrote; where `error` is not None it says why there is nothing."""

    response: str
    finish_reason: str = "stop"
    error: str | None = None
