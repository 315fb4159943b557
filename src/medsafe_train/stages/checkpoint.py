"""The merged checkpoint: an adapter folded into its 16-bit base; loads with plain from_pretrained and answers the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medsafe_train import progress
from medsafe_train.artifacts import MADE_FROM, Artifact, Store, write_json
from medsafe_train.models.reference import ModelReference

VERSION = 4
CHECKED = 8


def made_from(adapter: Artifact, model: ModelReference) -> dict[str, Any]:
    """What decides the checkpoint."""
    return {"version": VERSION, "adapter": adapter.id, "model": model.made_from()}


def run(store: Store, demonstrations: Artifact, adapter: Artifact, model: ModelReference) -> Artifact:
    """An artifact with `merged/` (safetensors, tokenizer with its chat template) and `merge_check.json`.

    The check compares greedy answers and logits with those of base and adapter on requests of the demonstrations, half of
    them harmless where there are any.
    """
    records = demonstrations.records("demonstrations.jsonl")
    safe = [record["request"] for record in records if record["kind"] == "safe"]
    others = [record["request"] for record in records if record["kind"] in ("benign", "replay")]
    half = CHECKED // 2
    requests = safe[: CHECKED - len(others[:half])] + others[:half]

    def build(folder: Path) -> None:
        from medsafe_train.models.merge import merge

        merge(folder, model, adapter.path("adapter"), requests)
        # The folder is shipped by itself: what made it goes along.
        record = {**made_from(adapter, model), "adapter_made_from": adapter.json(MADE_FROM)["made_from"]}
        write_json(
            folder / "merged" / "medsafe_train.json",
            {**record, "check": json.loads((folder / "merge_check.json").read_text())},
        )

    with progress.stage("checkpoint", f"adapter {adapter.id} merged into {model.path}"):
        made = store.make("checkpoint", made_from(adapter, model), build)
        check = made.json("merge_check.json")
        progress.say(
            f"{check['same_greedy_answers']} of {check['of']} greedy answers the same, largest logit difference "
            f"{check['largest_logit_difference']:.3g}, {check['dtype']}  {made.folder}"
        )
    return made
