"""Who writes a safe response to a harmful request. Every teacher is asked in one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from medsafe_train.artifacts import Ledger
from medsafe_train.config import TeacherSettings
from medsafe_train.models.reference import ModelReference
from medsafe_train.teachers import endpoint, local, published, template
from medsafe_train.teachers.ask import Ask, Written


class Teacher(NamedTuple):
    """A teacher; `model` is what it loads here, None where it loads nothing."""

    version: int
    """raised when it writes otherwise"""
    made_from: Callable[[TeacherSettings, ModelReference | None], dict[str, Any]]
    """what of the settings decides its words"""
    write: Callable[[list[Ask], TeacherSettings, ModelReference | None, int, Ledger], list[Written]]
    """asks, settings, model, seed, and where slow ones keep what they have → what was written, in the same order"""


TEACHERS: dict[str, Teacher] = {
    "template": Teacher(template.VERSION, template.made_from, template.write),
    "published": Teacher(published.VERSION, published.made_from, published.write),
    "local": Teacher(local.VERSION, local.made_from, local.write),
    "endpoint": Teacher(endpoint.VERSION, endpoint.made_from, endpoint.write),
}
