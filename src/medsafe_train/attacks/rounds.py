"""In which ways a prompt set is asked: as it stands, with a safety system prompt, and under each attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, attacks
from medsafe_train.attacks import Asked
from medsafe_train.config import EvaluationSettings, UserError
from medsafe_train.prompts import SAFETY_PROMPT, Turn
from medsafe_train.sources import prompt_sets
from medsafe_train.sources.prompt_sets import Prompt, PromptSet

PLAIN, SAFETY = "plain", "safety_prompt"
# Attacks are worded alike for every training seed, so that a sweep over seeds asks its base model once.
SEED = 0
# Raise when answers are begun, or what they were begun with is recorded, otherwise.
BEGUN = 2


@dataclass(frozen=True)
class Round:
    """One prompt set, asked in one way."""

    prompts: PromptSet
    """the requests as they stand, whatever is asked in their place"""
    way: str = PLAIN
    """plain, safety_prompt, or the name of an attack"""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """what is asked in place of a request, by its id, where the way is an attack"""
    begun_tokens: int = 0
    """the first so many tokens of what an answer is made to begin with (of a server's, words and punctuation marks)"""

    @property
    def name(self) -> str:
        """The set's name, with the way behind it where that is not the plain one."""
        return self.prompts.name if self.way == PLAIN else f"{self.prompts.name}/{self.way}"

    @property
    def attacks(self) -> bool:
        """Whether the way is an attack."""
        return self.way not in (PLAIN, SAFETY)

    @property
    def begins(self) -> bool:
        """Whether it begins answers for the model."""
        return any(asked.begun for asked in self.asked.values())

    def turn(self, prompt: Prompt, system_prompt: str | None) -> Turn:
        """What is asked in place of a request, where the model's own settings have `system_prompt`."""
        said = self.asked.get(prompt.id) or Asked(prompt.prompt)
        if self.way == SAFETY:
            system_prompt = f"{SAFETY_PROMPT}\n\n{system_prompt}" if system_prompt else SAFETY_PROMPT
        return Turn(prompt.id, said.text, said.begun or "", self.begun_tokens, system_prompt)

    def made_from(self) -> dict[str, Any]:
        """What of the way decides the answers, beside the requests; nothing for the plain one."""
        if self.way == PLAIN:
            return {}
        if self.way == SAFETY:
            return {"safety_prompt": SAFETY_PROMPT}
        words = artifacts.fingerprint([[id, asked.text, asked.begun] for id, asked in self.asked.items()])
        begun = {"begun_version": BEGUN} if self.begins else {}
        return {"attack": words, "begun_tokens": self.begun_tokens if self.begins else None, **begun}


def rounds(settings: EvaluationSettings, sets: list[PromptSet]) -> list[Round]:
    """Every set in every way that the settings ask for, the plain ways first.

    Attacks are tried on harmful sets, at most `attack_limit` requests of each, spread over the principles; those of
    `attacks_on_benign` on benign sets with pairs too. Raises UserError for an attack that is not known.
    """
    check(settings)
    found = [Round(s, way) for way in (PLAIN, *([SAFETY] if settings.safety_prompt else [])) for s in sets]
    for name in named(settings):
        for s in sets:
            if s.kind == "harmful" or (name in settings.attacks_on_benign and any(p.pair for p in s.prompts)):
                found.append(_under(settings, name, prompt_sets.limited(s, settings.attack_limit)))
    return found


def named(settings: EvaluationSettings) -> list[str]:
    """The attacks that are tried: the settings' and all of the user's file."""
    own = [name for name in attacks.known(_templates(settings)) if name not in attacks.ATTACKS]
    return list(dict.fromkeys([*settings.attacks, *own]))


def check(settings: EvaluationSettings) -> None:
    """UserError for an attack that is not known, or a file of templates that cannot be used."""
    there = attacks.known(_templates(settings))
    for name in there:  # as figures are called: `..._prefilled` is prefill's, `..._principle_3` a principle's
        if name in (PLAIN, SAFETY, "prefilled") or "principle_" in name:
            raise UserError(f"evaluation.attack_templates: {name!r} means something else here: rename that attack")
    for setting in ("attacks", "attacks_on_benign"):
        for name in getattr(settings, setting):
            if name not in there:
                raise UserError(f"evaluation.{setting}: unknown attack {name!r}: there are {', '.join(there)}")


def _templates(settings: EvaluationSettings) -> Path | None:
    return Path(settings.attack_templates) if settings.attack_templates else None


def _under(settings: EvaluationSettings, name: str, prompts: PromptSet) -> Round:
    if name == "prefill" and settings.prefill:
        asked = {p.id: Asked(p.prompt, begun=settings.prefill) for p in prompts.prompts}
    else:
        _, asked = attacks.ask(prompts, name, SEED, _templates(settings))
    return Round(prompts, name, asked, settings.prefill_tokens)
