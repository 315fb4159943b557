"""Runs a TRL trainer to its end: checkpoints, resuming, too little memory, signals, losses that are no number."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.config import FinetuneSettings, UserError
from medsafe_train.models.memory import freed_memory_kept
from medsafe_train.models.reference import ModelReference


def lora_config(settings: FinetuneSettings) -> Any:
    """PEFT's LoraConfig."""
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=settings.target_modules,
        layers_to_transform=settings.layers_to_transform,
    )


def arguments(settings: FinetuneSettings, model: ModelReference, folder: Path, seed: int) -> dict[str, Any]:
    """What SFTConfig and DPOConfig share."""
    return {
        "output_dir": str(folder),
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": settings.warmup_steps,
        "per_device_train_batch_size": settings.per_device_train_batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "max_length": settings.max_length,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "optim": settings.optim,
        # On a CPU too: the adapter stays in float32, its products are computed in bfloat16, a fifth faster in all.
        "bf16": model.dtype == "bfloat16",
        "fp16": model.dtype == "float16" and model.device == "cuda",
        "use_cpu": model.device == "cpu",
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # or a loss that is no number would be logged as 0
        "seed": seed,
        "data_seed": seed,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
    }


def run(
    folder: Path,
    settings: FinetuneSettings,
    model: ModelReference,
    build: Callable[[FinetuneSettings, Path, Any, Any], Any],
) -> None:
    """Train what `build(settings, checkpoints, tokenizer, callback)` makes, and write `adapter/` and `training.jsonl`.

    Goes on from the last whole checkpoint. Out of memory, it begins again with half the micro-batch and twice the accumulation:
    the same batch, in smaller bites. Raises UserError for a loss that is no number, and when a single row does not fit.
    """
    import torch

    from medsafe_train.models.load import free_memory

    checkpoints = folder / "checkpoints"
    while True:
        try:
            return _train(folder, checkpoints, settings, model, build)
        except torch.OutOfMemoryError:
            settings = halved(settings)
        # Outside the handler: inside it, the exception still holds the tensors that did not fit.
        free_memory()
        progress.warn(
            f"out of memory: goes on with finetune.per_device_train_batch_size={settings.per_device_train_batch_size} and "
            f"gradient_accumulation_steps={settings.gradient_accumulation_steps}, the same batch in smaller bites"
        )


def halved(settings: FinetuneSettings) -> FinetuneSettings:
    """The same batch in bites of half the size, or of the next size that divides it; UserError for a single row."""
    if settings.per_device_train_batch_size == 1:
        raise UserError(
            "out of memory with a single row: set finetune.gradient_checkpointing=true, model.quantization=nf4 or a lower "
            "finetune.max_length"
        )
    size = settings.per_device_train_batch_size
    bite = next(n for n in range(size // 2, 0, -1) if size % n == 0)
    steps = settings.gradient_accumulation_steps * (size // bite)
    return replace(settings, per_device_train_batch_size=bite, gradient_accumulation_steps=steps)


def _train(
    folder: Path,
    checkpoints: Path,
    settings: FinetuneSettings,
    model: ModelReference,
    build: Callable[[FinetuneSettings, Path, Any, Any], Any],
) -> None:
    import datasets
    from transformers import PrinterCallback

    from medsafe_train.models.load import load_tokenizer, release

    release()
    datasets.disable_progress_bars()
    resume = last_checkpoint(checkpoints)
    if resume:
        progress.say(f"goes on from step {resume.name.rpartition('-')[2]}")
    tokenizer = load_tokenizer(model)
    tokenizer.padding_side = "right"
    with _watch() as watch:
        trainer = build(settings, checkpoints, tokenizer, watch)
        trainer.remove_callback(PrinterCallback)
        trained: Any = trainer.model
        for weight in trained.parameters():
            # TRL casts a quantised model's adapter to bfloat16, but not again after a resume: float32 in both cases.
            if weight.requires_grad:
                weight.data = weight.data.float()
        with freed_memory_kept():
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if watch.stopped and trainer.state.global_step < trainer.state.max_steps:
        raise SystemExit(128 + signal.SIGTERM)
    artifacts.write_jsonl(folder / "training.jsonl", [_entry(e) for e in trainer.state.log_history if "loss" in e])
    _save_adapter(folder, trained, tokenizer, model)
    if watch.stopped:  # at the last update: nothing is lost, and what comes next is not begun
        raise SystemExit(128 + signal.SIGTERM)


def base_model(settings: FinetuneSettings, model: ModelReference) -> Any:
    """The base model, ready to get an adapter."""
    from medsafe_train.models.load import load_base

    base = load_base(model)
    base.config.use_cache = False
    if model.attn_implementation is None and model.device == "cpu":
        # On rows as short as ours plain attention goes back faster than the fused one; answers come faster from the latter.
        base.set_attn_implementation("eager")
    if model.quantization != "none":
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=settings.gradient_checkpointing)
    return base


KEPT = ("step", "epoch", "loss", "grad_norm", "learning_rate", "rewards/accuracies", "rewards/margins")


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    # Times, and means over what this process did, differ from run to run; so does the order of keys after a resume.
    return {key: entry[key] for key in KEPT if key in entry}


def _save_adapter(folder: Path, trained: Any, tokenizer: Any, model: ModelReference) -> None:
    # Under another name first: a folder called `adapter` is a finished one.
    partial = folder / ".adapter"
    shutil.rmtree(partial, ignore_errors=True)
    trained.save_pretrained(partial, save_embedding_layers=False, selected_adapters=["default"])
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
    """A progress bar over the updates; a stop at the first loss that is no number, and, with a checkpoint, at SIGTERM."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        stopped = False
        bar: Any = None

        def __enter__(self) -> Watch:
            self.before = None
            if threading.current_thread() is threading.main_thread():  # Python takes signals nowhere else
                self.before = signal.signal(signal.SIGTERM, self._stop)
            return self

        def __exit__(self, *_: object) -> None:
            if self.before is not None:
                signal.signal(signal.SIGTERM, self.before)
            if self.bar is not None:
                self.bar.close()

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.bar = progress.bar(state.max_steps, "fine-tuning", "update", done=state.global_step)

        def _stop(self, *_: Any) -> None:
            self.stopped = True

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.bar.update(1)
            # A scheduler (Slurm, Kubernetes) sends SIGTERM before it takes the machine away.
            if self.stopped and state.global_step < state.max_steps:
                progress.warn(f"SIGTERM: checkpoint at step {state.global_step}; the same command goes on from there")
                control.should_save = control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            loss = (logs or {}).get("loss")
            if loss is not None:
                # Shown with the next update: by itself it would be a line a step in a log.
                self.bar.set_postfix(loss=f"{float(loss):.2f}", refresh=False)
                if not float("-inf") < float(loss) < float("inf"):
                    raise UserError(
                        f"loss is {loss} at step {state.global_step}: lower finetune.learning_rate; nothing was published"
                    )

    return Watch()
