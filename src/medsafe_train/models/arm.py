"""The two models that a run compares: loaded here, or behind a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from medsafe_train import endpoint, replies
from medsafe_train.artifacts import Artifact, Ledger
from medsafe_train.config import EvaluationSettings
from medsafe_train.endpoint import EndpointSettings
from medsafe_train.models.adapter import AdapterFolder
from medsafe_train.models.reference import ModelReference
from medsafe_train.prompts import Turn

# What a training left, or what was there before.
Adapter = Artifact | AdapterFolder


@dataclass(frozen=True)
class Arm:
    """The base model, or, with an adapter, the fine-tuned one."""

    base: ModelReference
    adapter: Adapter | None = None
    merged: Artifact | None = None
    """The merged checkpoint, where one is written."""

    @property
    def name(self) -> str:
        """base or fine-tuned."""
        return "fine-tuned" if self.adapter else "base"

    @property
    def system_prompt(self) -> str | None:
        """The model's own, from its settings."""
        return self.base.system_prompt

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

    def answer(self, turns: list[Turn], settings: EvaluationSettings, ledger: Ledger, what: str) -> None:
        """Answer what the ledger does not hold yet: `id, response, finish_reason`."""
        from medsafe_train.models import generate

        loaded = self.load()
        items = [(turn.id, turn.ids(loaded.tokenizer)) for turn in turns]
        generate.answer(loaded, items, settings.max_new_tokens, settings.batch_tokens, ledger, what)

    def begun(self, turns: list[Turn]) -> list[str]:
        """What the answer to each turn is made to begin with, as the model gets it."""
        from medsafe_train.models.load import load_tokenizer

        tokenizer = load_tokenizer(self.base) if any(turn.begun for turn in turns) else None
        return [turn.sent(tokenizer) for turn in turns]


@dataclass(frozen=True)
class Served:
    """A model behind an OpenAI-compatible server, which shapes the conversation itself."""

    server: EndpointSettings
    tuned: bool = False
    system_prompt: str | None = None

    @property
    def name(self) -> str:
        """base or fine-tuned."""
        return "fine-tuned" if self.tuned else "base"

    def made_from(self) -> dict[str, Any]:
        """What decides its answers: one model id can mean other weights on another server, so the address counts."""
        s = self.server
        return {
            "served": [s.base_url, s.model, s.temperature],
            "system_prompt": self.system_prompt,
            "read": replies.VERSION,
        }

    def answer(self, turns: list[Turn], settings: EvaluationSettings, ledger: Ledger, what: str) -> None:
        """Ask for what the ledger holds no answer to: `id, response, finish_reason, error`, what it cost, and `blocked` where a
        content filter stopped it.

        Raises UserError when no request can succeed, with all answers so far kept.
        """
        server = replace(self.server, max_new_tokens=settings.max_new_tokens)
        if any(turn.begun for turn in turns):  # vLLM's and SGLang's names
            server = replace(server, body={"continue_final_message": True, "add_generation_prompt": False})
        endpoint.ask([(turn.id, turn.messages()) for turn in turns], server, ledger, what)

    def begun(self, turns: list[Turn]) -> list[str]:
        """What the answer to each turn is made to begin with, as the server gets it."""
        return [turn.sent() for turn in turns]
