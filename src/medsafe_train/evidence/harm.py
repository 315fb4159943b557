"""Figures of refusal: of harmful requests, of benign ones, by principle."""

from __future__ import annotations

from typing import Any

from medsafe_train import statistics
from medsafe_train.artifacts import Artifact
from medsafe_train.evidence import KINDS, Evaluation
from medsafe_train.evidence.paired import compare
from medsafe_train.sources.prompt_sets import PromptSet


def refusal(report: dict[str, Any], prompts: PromptSet, arms: dict[str, Evaluation], copied: set[str]) -> None:
    """Shares of a set's requests refused and answers ended: all, without near-copies (`copied`: ids `set/id`), and by principle."""
    ended = {
        arm: {r["id"]: _ended(r) for r in e.responses[prompts.name].records("responses.jsonl")}
        for arm, e in arms.items()
    }
    refused = {arm: _refused(e.verdicts[prompts.name]) for arm, e in arms.items()}
    place = f"{KINDS[prompts.kind]}/{prompts.name}"
    everything = [prompt.id for prompt in prompts.prompts]
    compare(report, f"{place}/refusal_rate", everything, refused)
    compare(report, f"{place}/ended_rate", everything, ended)
    new = [id for id in everything if f"{prompts.name}/{id}" not in copied]
    if len(new) < len(everything):
        compare(report, f"{place}/refusal_rate_without_near_copies", new, refused)
    for principle in sorted({p.principle for p in prompts.prompts if p.principle}):
        ids = [p.id for p in prompts.prompts if p.principle == principle]
        compare(report, f"{place}/refusal_rate_principle_{principle}", ids, refused)


def _ended(answer: dict[str, Any]) -> bool | None:
    # What a server did not give is not cut off.
    return None if answer.get("error") else answer["finish_reason"] == "stop"


def _refused(verdicts: Artifact) -> dict[str, bool | None]:
    return {verdict["id"]: verdict["refused"] for verdict in verdicts.records("verdicts.jsonl")}


def moved(report: dict[str, Any], prompts: PromptSet, divergence: Artifact) -> None:
    """The mean divergence of the fine-tuned model from the base model on a set, in nats a token."""
    values = [record["kl"] for record in divergence.records("divergence.jsonl")]
    report["figures"][f"after/over_refusal/{prompts.name}/kl_per_token"] = {**statistics.mean(values), "unscored": 0}
