"""The two models that a run compares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from medsafe_train.artifacts import Artifact
from medsafe_train.models.reference import ModelReference


@dataclass(frozen=True)
class Arm:
    """The base model, or, with an adapter, the fine-tuned one."""

    base: ModelReference
    adapter: Artifact | None = None
    merged: Artifact | None = None
    """The merged checkpoint, where one is written."""

    @property
    def name(self) -> str:
        """base or fine-tuned."""
        return "fine-tuned" if self.adapter else "base"

    @property
    def answers_merged(self) -> bool:
        """Whether the merged checkpoint answers: what is shipped is then what was measured, and faster than base and adapter.

        Not for a quantised base: it was chosen because 16 bits do not fit.
        """
        return self.merged is not None and self.base.quantization == "none"

    def made_from(self) -> dict[str, Any]:
        """What decides its answers."""
        merged = {"merged": self.merged.id} if self.merged and self.answers_merged else {}
        return {"model": self.base.made_from(), "adapter": self.adapter.id if self.adapter else None, **merged}

    def load(self) -> Any:
        """The model, ready to answer."""
        from medsafe_train.models.load import load

        if self.merged and self.answers_merged:
            return load(replace(self.base, folder=str(self.merged.path("merged"))))
        return load(self.base, self.adapter.path("adapter") if self.adapter else None)
