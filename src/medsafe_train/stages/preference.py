"""Direct preference optimisation (Rafailov et al., arXiv 2305.18290) on the same demonstrations, with TRL and PEFT.

The pairs cost nothing: a harmful request's safe response is preferred to the base model's own compliant answer, and a benign
request's answer to a refusal of it.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import FinetuneSettings, UserError
from medsafe_train.models import training
from medsafe_train.models.reference import ModelReference
from medsafe_train.quality.mix import mixed

VERSION = 3
ELSEWHERE = (
    "save_steps", "merge", "method", "scales", "min_refusal", "learning_rate", "num_train_epochs", "updates", "packing",
    "first_tokens", "first_tokens_weight", "self_distillation", "train_on_prompt",
    "mixed_updates", "whole_answers", "distillation_temperature", "refusal_weight",
)  # fmt: skip


def made_from(
    settings: FinetuneSettings, demonstrations: Artifact, start: Artifact | None, model: ModelReference, seed: int
) -> dict[str, Any]:
    """What decides the adapter."""
    return {
        "version": VERSION,
        "settings": {key: value for key, value in asdict(settings).items() if key not in ELSEWHERE},
        "demonstrations": demonstrations.id,
        "start": start.id if start else None,
        "model": model.made_from(),
        "seed": seed,
    }


def run(
    store: Store,
    settings: FinetuneSettings,
    demonstrations: Artifact,
    start: Artifact | None,
    model: ModelReference,
    seed: int,
) -> Artifact:
    """An artifact with `adapter/`, `training.jsonl` (loss by step) and `counts.json`.

    `start`: the fine-tuned adapter to go on from, which is the reference then; without one, the base model is. Raises
    UserError where the demonstrations hold no pairs.
    """
    records = [r for r in demonstrations.records("demonstrations.jsonl") if r.get("rejected")]
    if not records:
        raise UserError("no preference pairs among the demonstrations: set demonstrations.recovery=true")
    records = mixed(records, settings.mix, seed)

    def build(folder: Path) -> None:
        rows = pairs(records, model, settings.max_length)
        if not (folder / "adapter").exists():
            _train(folder, rows, settings, start, model, seed)
        artifacts.write_json(folder / "counts.json", {"rows": len(rows), "dropped_too_long": len(records) - len(rows)})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    with progress.stage("preference", f"DPO beta={settings.beta:g} on {len(records)} pairs of {model.path}"):
        made = store.make("preference", made_from(settings, demonstrations, start, model, seed), build)
        steps = made.records("training.jsonl")
        progress.say(f"loss {steps[0]['loss']:.2f} → {steps[-1]['loss']:.2f}, {len(records)} pairs  {made.folder}")
    return made


def pairs(records: list[dict[str, Any]], model: ModelReference, max_length: int) -> list[dict[str, list[int]]]:
    """`prompt_ids, chosen_ids, rejected_ids` of every pair that fits, as DPOTrainer's collator takes them."""
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    rows = []
    for record in records:
        ids = [
            prompts.training_ids(
                tokenizer, model.prompt_format, record["request"], answer, model.system_prompt, ends=ends
            )
            for answer, ends in ((record["response"], record.get("ends", True)), (record["rejected"], True))
        ]
        if all(len(prompt) + len(answer) <= max_length for prompt, answer in ids):
            rows.append({"prompt_ids": ids[0][0], "chosen_ids": ids[0][1], "rejected_ids": ids[1][1]})
    if not rows:
        raise UserError(f"finetune.max_length={max_length} is shorter than every preference pair: raise it")
    return rows


def dpo_config(settings: FinetuneSettings, model: ModelReference, folder: Path, seed: int) -> Any:
    """TRL's DPOConfig."""
    from trl import DPOConfig

    return DPOConfig(
        **training.arguments(settings, model, folder, seed),
        learning_rate=settings.dpo_learning_rate,
        num_train_epochs=settings.dpo_epochs,
        beta=settings.beta,
    )


def _train(
    folder: Path,
    rows: list[dict[str, list[int]]],
    settings: FinetuneSettings,
    start: Artifact | None,
    model: ModelReference,
    seed: int,
) -> None:
    def build(settings: FinetuneSettings, checkpoints: Path, tokenizer: Any, callback: Any) -> Any:
        import datasets
        from peft import PeftModel

        from medsafe_train.models.trainer import PairTrainer

        base = training.base_model(settings, model)
        if start:
            base = PeftModel.from_pretrained(base, str(start.path("adapter")), is_trainable=True)
        return PairTrainer(
            model=base,
            args=dpo_config(settings, model, checkpoints, seed),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=None if start else training.lora_config(settings),
            callbacks=[callback],
        )

    training.run(folder, settings, model, build)
