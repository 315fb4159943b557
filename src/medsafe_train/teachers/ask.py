"""What a teacher is asked, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from medsafe_train.sources.prompt_sets import Prompt


@dataclass(frozen=True)
class Ask:
    """A request and what to make of it; `id` is unique among what is asked together."""

    id: str
    prompt: Prompt
    task: str = "decline"
    """decline (a safe response), twin (a harmless request on the same topic and in the same form), rate (how harmful it is, 1
    to 10), or request (a list of harmful requests against `prompt.principle`; `prompt.prompt` then says who makes them)"""
    number: int = 1
    """request: how many are asked for at once"""
    begun: str = ""
    """local: how the answer is made to begin"""


@dataclass(frozen=True)
class Written:
    """What a teacher wrote; where `error` is not None it says why there is nothing."""

    response: str
    finish_reason: str = "stop"
    error: str | None = None
