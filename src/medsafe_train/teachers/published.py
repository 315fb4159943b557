"""The safe responses that a published set or a user's file brings along, word for word."""

from __future__ import annotations

from typing import Any

from medsafe_train.artifacts import Ledger
from medsafe_train.config import TeacherSettings, UserError
from medsafe_train.models.reference import ModelReference
from medsafe_train.teachers.ask import Ask, Written

VERSION = 1


def made_from(settings: TeacherSettings, model: ModelReference | None) -> dict[str, Any]:
    """Nothing of the settings decides its words."""
    return {}


def write(
    asks: list[Ask], settings: TeacherSettings, model: ModelReference | None, seed: int, ledger: Ledger
) -> list[Written]:
    """The response that came with each request; UserError where one has none."""
    for ask in asks:
        if ask.task != "decline" or not ask.prompt.response:
            raise UserError(
                f"teacher=published: {ask.id} brings no safe response: add the column, or choose another teacher"
            )
    return [Written(str(ask.prompt.response)) for ask in asks]
