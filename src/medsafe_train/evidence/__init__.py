"""What was measured of the model before and after on the same items, as figures, comparisons and sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from medsafe_train.artifacts import Artifact
from medsafe_train.attacks.rounds import Round
from medsafe_train.quality.near_copies import NearCopy
from medsafe_train.sources.prompt_sets import PromptSet
from medsafe_train.sources.questions import Benchmark

# What the figures of a set's requests, asked plainly, go under.
KINDS = {"harmful": "harmfulness", "benign": "over_refusal"}


class Measured(Protocol):
    """What was measured on."""

    @property
    def sets(self) -> list[PromptSet]: ...
    @property
    def rounds(self) -> list[Round]: ...
    @property
    def benchmarks(self) -> list[Benchmark]: ...
    @property
    def near_copies(self) -> list[NearCopy]: ...


@dataclass(frozen=True)
class Evaluation:
    """What one model, base or fine-tuned, did: artifacts by the name of a round (prompt set and way) or benchmark."""

    responses: dict[str, Artifact] = field(default_factory=dict)
    verdicts: dict[str, Artifact] = field(default_factory=dict)
    answers: dict[str, Artifact] = field(default_factory=dict)
    written: dict[str, Artifact] = field(default_factory=dict)
    """answers to medical questions that the model wrote"""
    texts: dict[str, Artifact] = field(default_factory=dict)
    """how likely it finds medical text that is known to be good"""
    also: dict[str, dict[str, Artifact]] = field(default_factory=dict)
    """verdicts of further judges, by the judge's name"""

    def judged(self) -> dict[str, Artifact]:
        """All verdicts, each under a name of its own."""
        return self.verdicts | {
            f"{name} by {judge}": made for judge, sets in self.also.items() for name, made in sets.items()
        }
