"""LoRA fine-tuning with TRL and PEFT."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import FinetuneSettings, UserError
from medsafe_train.models.reference import ModelReference

VERSION = 1


def made_from(settings: FinetuneSettings, demonstrations: Artifact, model: ModelReference, seed: int) -> dict[str, Any]:
    """What decides the adapter."""
    decisive = {key: value for key, value in asdict(settings).items() if key not in ("save_steps", "merge")}
    return {
        "version": VERSION,
        "settings": decisive,
        "demonstrations": demonstrations.id,
        "model": model.made_from(),
        "seed": seed,
    }


def run(
    store: Store, settings: FinetuneSettings, demonstrations: Artifact, model: ModelReference, seed: int
) -> Artifact:
    """An artifact with `adapter/`, `training.jsonl` (loss by step) and `counts.json`.

    A killed run goes on from its last whole checkpoint. Raises UserError when no demonstration fits into max_length
    or the loss is not finite.
    """
    records = demonstrations.records("demonstrations.jsonl")

    def build(folder: Path) -> None:
        rows, dropped = training_rows(records, model, settings.max_length)
        if not (folder / "adapter").exists():
            _train(folder, rows, settings, model, seed)
        artifacts.write_json(folder / "counts.json", {"rows": len(rows), "dropped_too_long": dropped})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    with progress.stage("finetune", f"LoRA r={settings.r} on {len(records)} demonstrations of {model.path}"):
        made = store.make("finetune", made_from(settings, demonstrations, model, seed), build)
        losses = [entry["loss"] for entry in made.records("training.jsonl")]
        trend = f"loss {losses[0]:.2f} → {losses[-1]:.2f}, " if losses else ""
        counts = made.json("counts.json")
        note = f", {counts['dropped_too_long']} dropped as too long" if counts["dropped_too_long"] else ""
        progress.say(f"{trend}{counts['rows']} rows{note}  {made.folder}")
    return made


def training_rows(
    records: list[dict[str, Any]], model: ModelReference, max_length: int
) -> tuple[list[dict[str, list[int]]], int]:
    """Token ids and labels of every demonstration that fits, and how many did not.

    The loss falls on the answer and its end of turn only; the tokens of the prompt are those of every evaluation.
    """
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    rows = []
    for record in records:
        prompt, answer = prompts.training_ids(
            tokenizer, model.prompt_format, record["request"], record["response"], model.system_prompt
        )
        if len(prompt) + len(answer) <= max_length:
            rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    if not rows:
        raise UserError(f"finetune.max_length={max_length} is shorter than every demonstration: raise it")
    return rows, len(records) - len(rows)


def lora_config(settings: FinetuneSettings) -> Any:
    """PEFT's LoraConfig."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.target_modules,
        layers_to_transform=settings.layers_to_transform,
    )


def sft_config(settings: FinetuneSettings, model: ModelReference, folder: Path, seed: int) -> Any:
    """TRL's SFTConfig."""
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(folder),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_steps,
        num_train_epochs=settings.num_train_epochs,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        max_length=settings.max_length,
        packing=settings.packing,
        gradient_checkpointing=settings.gradient_checkpointing,
        optim=settings.optim,
        bf16=model.dtype == "bfloat16" and model.device == "cuda",
        fp16=model.dtype == "float16" and model.device == "cuda",
        use_cpu=model.device == "cpu",
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,  # or a loss that is no number would be logged as 0
        seed=seed,
        data_seed=seed,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )


def _train(
    folder: Path, rows: list[dict[str, list[int]]], settings: FinetuneSettings, model: ModelReference, seed: int
) -> None:
    import datasets
    from transformers import PrinterCallback

    from medsafe_train.models.load import load_base, load_tokenizer, release
    from medsafe_train.models.trainer import AnswerTrainer

    release()
    datasets.disable_progress_bars()
    checkpoints = folder / "checkpoints"
    resume = last_checkpoint(checkpoints)
    if resume:
        progress.say(f"goes on from step {resume.name.rpartition('-')[2]}")
    tokenizer = load_tokenizer(model)
    tokenizer.padding_side = "right"
    base = load_base(model)
    base.config.use_cache = False
    if model.quantization != "none":
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=settings.gradient_checkpointing)
    trainer = AnswerTrainer(
        first_tokens=settings.first_tokens,
        first_tokens_weight=settings.first_tokens_weight,
        model=base,
        args=sft_config(settings, model, checkpoints, seed),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config(settings),
        callbacks=[_watch()],
    )
    trainer.remove_callback(PrinterCallback)
    trained: Any = trainer.model
    for weight in trained.parameters():
        # TRL casts a quantised model's adapter to bfloat16, but not again after a resume: float32 in both cases.
        if weight.requires_grad:
            weight.data = weight.data.float()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    artifacts.write_jsonl(folder / "training.jsonl", [_entry(e) for e in trainer.state.log_history if "loss" in e])
    _save_adapter(folder, trained, tokenizer, model)


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    # Times, and means over what this process did, differ from run to run; so does the order of keys after a resume.
    return {key: entry[key] for key in ("step", "epoch", "loss", "grad_norm", "learning_rate") if key in entry}


def _save_adapter(folder: Path, trained: Any, tokenizer: Any, model: ModelReference) -> None:
    # Under another name first: a folder called `adapter` is a finished one.
    partial = folder / ".adapter"
    shutil.rmtree(partial, ignore_errors=True)
    trained.save_pretrained(partial, save_embedding_layers=False)
    config = json.loads((partial / "adapter_config.json").read_text())
    # Where the base lies on this machine helps nobody who gets the adapter.
    artifacts.write_json(partial / "adapter_config.json", {**config, "base_model_name_or_path": model.path})
    (partial / "README.md").unlink(missing_ok=True)  # PEFT's empty form
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(partial)
    artifacts.write_json(
        partial / "prompt_format.json",
        {
            "prompt_format": model.prompt_format,
            "system_prompt": model.system_prompt,
            "base": model.path,
            "revision": model.revision,
        },
    )
    partial.rename(folder / "adapter")


def last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that is whole: the trainer writes its state last; broken ones are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:
            json.loads((path / "trainer_state.json").read_text())
            whole.append(path)
        except (OSError, ValueError):
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(re.sub(r"\D", "", path.name)), default=None)


def _watch() -> Any:
    """A progress bar over the updates, and a stop at the first loss that is no number."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.bar = progress.bar(state.max_steps, "fine-tuning", "update")
            self.bar.update(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.bar.update(1)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            loss = (logs or {}).get("loss")
            if loss is not None:
                self.bar.set_postfix(loss=f"{float(loss):.2f}")
                if not float("-inf") < float(loss) < float("inf"):
                    raise UserError(
                        f"loss is {loss} at step {state.global_step}: lower finetune.learning_rate; nothing was published"
                    )

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.bar.close()

    return Watch()
