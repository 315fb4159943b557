"""What a server's answer means, whatever is in it: a reply, or what went wrong and whether asking again can help."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from medsafe_train import prompts

# Raise when an evaluated model's answers are read otherwise.
VERSION = 2
# The finish reason of what the provider's content filter kept back or cut short.
FILTERED = "content_filter"


@dataclass(frozen=True)
class Reply:
    """An answer; `cost` is the tokens it took, None where the server does not say."""

    text: str
    finish_reason: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int | None
    thought: str = ""
    """what the model thought aloud before it"""
    blocked: str = ""
    """how the provider's content filter says that it stopped a model that is evaluated"""


class Mend(Enum):
    """What can be done about a failure."""

    again = "ask again"
    never = "the item itself is refused: go on with the others"
    unsure = "the item or the settings are refused"
    stop = "no request can succeed"


@dataclass(frozen=True)
class Trouble:
    """A request without a usable answer; `cost` None: it may have been worked on, and paid for."""

    reason: str
    mend: Mend
    cost: int | None
    wait: float | None = None
    """seconds that the server asks to wait"""
    status: int | None = None
    filtered: bool = False
    """the provider's content filter is what refuses the item"""


def blocked(trouble: Trouble, text: str = "", model: str = "") -> Reply:
    """The outcome of an evaluated model's answer that the provider's content filter stopped: asking again changes nothing."""
    return Reply(text, FILTERED, model, None, None, trouble.cost, blocked=trouble.reason)


def as_record(outcome: Reply | Trouble) -> dict[str, Any]:
    """What the ledger says of an outcome."""
    if isinstance(outcome, Trouble):
        nothing = dict.fromkeys(("response", "finish_reason", "prompt_tokens", "completion_tokens", "model"))
        return {**nothing, "error": outcome.reason}
    return {
        "response": outcome.text,
        "finish_reason": outcome.finish_reason,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "model": outcome.model,
        "error": None,
        **({"thought": outcome.thought} if outcome.thought else {}),
        **({"blocked": outcome.blocked} if outcome.blocked else {}),
    }


def read_reply(content: bytes, evaluated: bool = False) -> Reply | Trouble:
    """An answer out of a body that a server calls a success, whatever is in it.

    Of a model that is `evaluated`, an empty answer and one that is marked as a refusal are answers, and one that the provider's
    content filter stopped is `blocked`.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return Trouble("a reply that is not JSON", Mend.again, None)
    message = _within(body, "choices", 0, "message")
    asked, answered = _count(body, "prompt_tokens"), _count(body, "completion_tokens")
    cost = None if asked is None or answered is None else asked + answered
    finish, model = _within(body, "choices", 0, "finish_reason"), _within(body, "model")
    text = _within(message, "content")
    text = text if isinstance(text, str) else None
    if finish == FILTERED:
        trouble = Trouble("stopped by the server's content filter", Mend.never, cost)
        return blocked(trouble, prompts.visible(text or "").strip(), str(model)) if evaluated else trouble
    if evaluated and not text and isinstance(_within(message, "refusal"), str):
        text = _within(message, "refusal")
    # Servers that part the thought from the answer: vLLM's and DeepSeek's name, and vLLM's newer one.
    apart = _within(message, "reasoning_content") or _within(message, "reasoning")
    ended = evaluated and finish in ("stop", "length") and (text is not None or isinstance(apart, str))
    text, thought = prompts.parted(text or "")
    if ended:
        thought = "\n\n".join(filter(None, (prompts.visible(str(apart or "")).strip(), thought)))
        return Reply(text, str(finish), str(model), asked, answered, cost, thought)
    if not text and _within(message, "refusal"):
        return Trouble("the model refuses the task", Mend.never, cost)
    if not text:
        said = _said(body)
        return Trouble(f"an empty reply{': ' if said else ''}{said}", Mend.again, cost)
    return Reply(text, str(finish), str(model), asked, answered, cost, thought)


def _count(body: Any, name: str) -> int | None:
    value = _within(body, "usage", name)
    return value if type(value) is int and 0 <= value < 10**9 else None


def read_silence(error: Exception, timeout: float) -> Trouble:
    """What became of a request that no whole reply came to."""
    cause = type(error.__cause__).__name__
    # Nothing was sent where there was no connection; otherwise the server may have worked on it.
    cost = 0 if cause.startswith("Connect") else None
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return Trouble(f"no whole reply within {timeout:g} s", Mend.again, cost)
    return Trouble(f"the connection failed ({cause})", Mend.again, cost)


# What servers say when it is this item that they do not take: it is too long, or its content is filtered. A filter has a code
# (OpenAI's, and Azure's two), or is spoken of in a whole phrase: single words like `safety` are in names of models and settings too.
TOO_LONG = re.compile(r"context", re.I)
FILTER_CODES = {FILTERED, "content_policy_violation", "responsibleaipolicyviolation"}
FILTER = re.compile(
    r"\bcontent (?:management )?polic(?:y|ies)\b|\bcontent filter(?:s|ing)?\b|\busage polic(?:y|ies)\b|\b(?:was|were|been) flagged\b"
    r"|\bflagged (?:as|for|by)\b|\bour safety system\b|\binappropriate content\b",
    re.I,
)
# Whoever asks is refused then, not what is asked.
ASKER = re.compile(r"\b(?:account|organi[sz]ation|project|api key)\b", re.I)


def _is_filtered(body: Any, said: str, model: str) -> bool:
    # A parameter that is named is at fault; Azure names the prompt.
    if _within(body, "param") not in (None, "", "prompt", "messages", "input"):
        return False
    inner = _within(body, "error") or body
    places = (inner, _within(inner, "innererror"))
    if any(str(_within(place, key)).lower() in FILTER_CODES for place in places for key in ("code", "type")):
        return True
    words = said.replace(model, "") if model else said
    return bool(FILTER.search(words)) and not ASKER.search(words)


def read_error(status: int, body: Any, headers: Any, model: str = "") -> Trouble:
    """What a server's error means: wait and ask again, give the item up, or stop; `model` is how the server calls what it was asked."""
    said = _said(body)
    code = str(_within(body, "code") or _within(body, "type"))
    reason = f"HTTP {status}{': ' if said else ''}{said}"
    if status == 429 and "insufficient_quota" in code:
        return Trouble(reason, Mend.stop, 0, status=402)
    if status in (408, 409, 425, 429) or status >= 500:
        # A gateway gives up on what the server behind it may yet finish.
        cost = None if status in (408, 502, 504) else 0
        return Trouble(reason, Mend.again, cost, retry_after(headers), status)
    if status in (400, 403, 422) and _is_filtered(body, said, model):
        return Trouble(reason, Mend.never, 0, status=status, filtered=True)
    if status not in (400, 413, 422):
        return Trouble(reason, Mend.stop, 0, status=status)
    if status == 413 or TOO_LONG.search(f"{code} {said.replace(model, '') if model else said}"):
        return Trouble(reason, Mend.never, 0, status=status)
    ours = (
        _within(body, "param") in ("model", "temperature", "max_tokens", "max_completion_tokens")
        or "model_not_found" in code
    )
    return Trouble(reason, Mend.stop if ours else Mend.unsure, 0, status=status)


def retry_after(headers: Any) -> float | None:
    """The seconds that a Retry-After header asks to wait, given as such or as a date; None where it says nothing."""
    value = str(headers.get("retry-after") or "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


def _said(body: Any) -> str:
    # {"error": {"message": ...}}, {"error": "..."}, {"message": ...} and {"detail": ...} are all in use.
    inner = _within(body, "error") or body
    said = _within(inner, "message") or _within(inner, "detail") or inner
    return said if isinstance(said, str) else ""


def _within(value: Any, *path: str | int) -> Any:
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
