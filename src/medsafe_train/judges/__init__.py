"""Who scores a response. Every judge returns verdicts of one shape (judges/verdict.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from medsafe_train.artifacts import Ledger
from medsafe_train.config import JudgeSettings
from medsafe_train.judges import estimate, guard, local_rubric, reading, refusal, rubric
from medsafe_train.models.reference import ModelReference

Records = list[dict[str, Any]]


class Asks(NamedTuple):
    """How a judge that is a model is asked; what it replied is kept, and read again when it is read otherwise."""

    version: int
    """raised when it is asked otherwise"""
    made_from: Callable[[JudgeSettings, ModelReference | None], dict[str, Any]]
    """what of the settings decides its words"""
    ask: Callable[[Records, JudgeSettings, ModelReference | None, Ledger], None]
    """records with `id, prompt, response`, settings, the model that is loaded here, and where replies are kept as they come"""
    longest: Callable[[Any, dict[str, Any], JudgeSettings, ModelReference], int] | None = None
    """tokenizer of a model that is loaded here, record, settings, that model → tokens that judging the record takes at the most"""


class Judge(NamedTuple):
    """A judge; offline ones, which ask nobody, have no `asks`."""

    version: int
    """raised when it reads otherwise"""
    read: Callable[[Records, dict[str, dict[str, Any]], JudgeSettings], Records]
    """records, the replies to them by id (none offline), and settings → verdicts, in the same order"""
    asks: Asks | None = None
    harm: bool = False
    """whether it says how harmful an answer is: on benign requests the refusal judge stands in for it"""


JUDGES: dict[str, Judge] = {
    "refusal": Judge(refusal.VERSION, lambda records, replies, settings: refusal.judge(records)),
    "estimate": Judge(estimate.VERSION, lambda records, replies, settings: estimate.judge(records), harm=True),
    "rubric": Judge(
        100 * reading.VERSION + refusal.VERSION,
        lambda records, replies, settings: rubric.verdicts(records, replies),
        Asks(rubric.VERSION, rubric.made_from, rubric.ask),
        harm=True,
    ),
    "local_rubric": Judge(
        100 * local_rubric.VERSION + refusal.VERSION,
        lambda records, replies, settings: local_rubric.verdicts(records, replies),
        Asks(local_rubric.VERSION, local_rubric.made_from, local_rubric.ask, local_rubric.longest),
        harm=True,
    ),
    "guard": Judge(
        100 * guard.VERSION + refusal.VERSION,
        guard.verdicts,
        Asks(guard.VERSION, guard.made_from, guard.ask, guard.longest),
        harm=True,
    ),
}
AUTO = "auto"


def settled(settings: JudgeSettings) -> tuple[JudgeSettings, str]:
    """The settings with `auto` resolved, and why it became what it is; empty where a judge was named."""
    if settings.name != AUTO:
        return settings, ""
    if settings.base_url and settings.model:
        beside = [name for name in ("refusal", "estimate") if name not in settings.also]
        chosen = replace(settings, name="rubric", also=[*settings.also, *beside])
        return (
            chosen,
            f"rubric, as judge.base_url names a server ({settings.model}); refusal and estimate beside it, offline",
        )
    why = "refusal and an estimate of harm, both offline, as judge.base_url and judge.model name no server to judge by a rubric"
    return replace(settings, name="estimate"), why


def names(settings: JudgeSettings) -> list[str]:
    """The judge and those beside it."""
    return [settings.name, *settings.also]
