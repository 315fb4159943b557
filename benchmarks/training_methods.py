"""The ways of fine-tuning that training_speed.py compares, each run and timed in a process of its own.

What is compared, and how it is counted, is said in training_speed.py's `ABOUT`.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medsafe_train import artifacts, prompts
from medsafe_train.artifacts import Store
from medsafe_train.config import FinetuneSettings
from medsafe_train.models import training
from medsafe_train.models.reference import ModelReference
from medsafe_train.provenance import plain
from medsafe_train.stages import finetune

CUTOFF = 256  # tokens: the paper's; no row is longer, so that nobody cuts any
SKIPPED = 2  # updates before the clock starts: allocators, thread pools and kernels are warm after them
TRL_BATCH = 8  # SFTConfig's own per_device_train_batch_size, where the batch is a multiple of it
PAPER_BATCH = 4  # the paper's micro-batch


@dataclass
class Mark:
    """What has gone through training up to a moment: `time` in seconds, the rest in rows and tokens."""

    time: float = 0.0
    examples: int = 0
    tokens: int = 0
    padded: int = 0
    loss_tokens: int = 0


@dataclass
class Watch:
    """What was seen of a training: a mark at the end of each update, the rows as tokens, and how many weights were trained."""

    marks: list[Mark] = field(default_factory=list)
    rows: set[tuple[int, ...]] = field(default_factory=set)
    trainable: int = 0


@dataclass
class Job:
    """What a worker needs, as JSON between processes."""

    reference: ModelReference
    settings: FinetuneSettings
    train: list[dict[str, Any]]
    heldout: list[dict[str, Any]]
    seed: int = 0
    paper_weights: bool = False

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        artifacts.write_json(path, plain(asdict(self)))

    def settings_of(self, method: str) -> FinetuneSettings:
        """A method's settings: the common ones, or the paper's own adapter."""
        return paper_settings(self.settings, method == "paper" and self.paper_weights)

    @staticmethod
    def read(path: Path) -> Job:
        """The job in a file."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        reference, settings = ModelReference(**fields.pop("reference")), fields.pop("settings")
        return Job(reference, settings_from(settings), **fields)


def settings_from(values: Any) -> FinetuneSettings:
    """Fine-tuning settings from a recipe's section or from JSON; a key that is not known raises."""
    made: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(FinetuneSettings), values))
    return made


@contextmanager
def watched() -> Iterator[Watch]:
    """Inside, every Trainer is watched, the same way for all methods."""
    import torch
    from transformers import TrainerCallback, trainer

    now, seen, step = Mark(), Watch(), trainer.Trainer.training_step
    callbacks: list[Any] = trainer.DEFAULT_CALLBACKS

    def counting(self: Any, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True):
            seen.rows.add(tuple(ids[mask].tolist()))
        now.examples += len(inputs["input_ids"])
        now.tokens += int(inputs["attention_mask"].sum())
        now.padded += inputs["input_ids"].numel()
        now.loss_tokens += int((inputs["labels"][:, 1:] != -100).sum())
        seen.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return step(self, model, inputs, *more, **named)

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seen.marks.append(replace(now, time=time.perf_counter()))

    trainer.Trainer.training_step = counting  # type: ignore[method-assign]
    callbacks.append(Clock)
    try:
        yield seen
    finally:
        trainer.Trainer.training_step = step  # type: ignore[method-assign]
        callbacks.remove(Clock)


def train_ours(job: Job, folder: Path) -> Path:
    """The project's own stage, from demonstrations to adapter."""
    store = Store(folder / "artifacts")
    demos = store.make(
        "demonstrations",
        {"benchmark": artifacts.fingerprint(job.train)},
        lambda made: artifacts.write_jsonl(made / "demonstrations.jsonl", job.train),
    )
    return finetune.run(store, job.settings, demos, job.reference, job.seed).path("adapter")


def shared(job: Job, folder: Path, micro: int) -> dict[str, Any]:
    """What equality asks of a trainer that is not ours; `micro` is its micro-batch."""
    whole = batch_of(job.settings)
    micro = micro if whole % micro == 0 else whole
    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": whole // micro,
        "max_steps": job.settings.updates,
        "learning_rate": job.settings.learning_rate,
        "lr_scheduler_type": job.settings.lr_scheduler_type,
        "warmup_steps": job.settings.warmup_steps,
        "seed": job.seed,
        "use_cpu": job.reference.device == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def train_trl(job: Job, folder: Path, **more: Any) -> Path:
    """TRL as it comes: it loads the model, shapes the rows and chooses everything that equality leaves open."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    from medsafe_train.models.load import load_tokenizer, quantization_config

    tokenizer, reference = load_tokenizer(job.reference), job.reference
    rows = [
        {"prompt": prompts.prompt_text(tokenizer, d["request"], reference.system_prompt), "completion": d["response"]}
        for d in job.train
    ]
    trainer = SFTTrainer(
        model=reference.folder,
        args=SFTConfig(**shared(job, folder, TRL_BATCH), max_length=CUTOFF, **more),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=training.lora_config(job.settings),
        quantization_config=quantization_config(reference),
    )
    return trained(trainer, folder)


def train_trl_float32(job: Job, folder: Path) -> Path:
    """TRL as it comes, without bfloat16 autocast."""
    return train_trl(job, folder, bf16=False)


def train_paper(job: Job, folder: Path) -> Path:
    """The paper's fine-tuning, alpaca-lora's way: see ABOUT."""
    import datasets
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from medsafe_train.models.load import load_tokenizer

    tokenizer, half = load_tokenizer(job.reference), job.reference.device == "cuda"  # the tokenizer pads on the left
    rows, _ = finetune.training_rows(job.train, job.reference, replace(job.settings, train_on_prompt=True))
    dtype = torch.float16 if half else torch.float32
    model = AutoModelForCausalLM.from_pretrained(
        job.reference.folder, dtype=dtype, device_map={"": 0} if half else None
    )
    model.config.use_cache = False
    torch.manual_seed(job.seed)
    trainer = Trainer(
        model=get_peft_model(model, training.lora_config(job.settings_of("paper"))),
        args=TrainingArguments(**shared(job, folder, PAPER_BATCH), optim="adamw_torch", fp16=half),
        train_dataset=datasets.Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt", padding=True),
    )
    return trained(trainer, folder)


def paper_settings(settings: FinetuneSettings, own_weights: bool) -> FinetuneSettings:
    """The paper's own adapter (r 8, alpha 16, dropout 0.05, q_proj and v_proj, every layer), or the common one."""
    if not own_weights:
        return settings
    own: dict[str, Any] = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": ["q_proj", "v_proj"]}
    return replace(settings, **own, layers_to_transform=None)


def trained(trainer: Any, folder: Path) -> Path:
    """Run a trainer to its end and keep its adapter."""
    trainer.train()
    trainer.model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    return folder / "adapter"


METHODS: dict[str, Callable[[Job, Path], Path]] = {
    "ours": train_ours,
    "trl": train_trl,
    "trl_float32": train_trl_float32,
    "paper": train_paper,
}


def measure(method: str, job: Job, folder: Path) -> dict[str, Any]:
    """Train one way; what went through the timed updates in which time, memory in GiB, and the held-out loss."""
    with watched() as seen:
        adapter = METHODS[method](job, folder)
    first, last = seen.marks[SKIPPED - 1], seen.marks[-1]
    found = {name: value - asdict(first)[name] for name, value in asdict(last).items()}
    found |= {"rows": artifacts.fingerprint(sorted(seen.rows))}
    found |= {"updates": len(seen.marks), "trainable": seen.trainable, "memory": memory(job.reference.device)}
    gc.collect()
    return {**found, "heldout": heldout_loss(job, adapter) if job.heldout else None}


def memory(device: str) -> float:
    """The most memory that this process has held, in GiB: the card's where there is one."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def heldout_loss(job: Job, adapter: Path | None) -> float:
    """Mean cross-entropy per answer token (nats) on the held-out rows, of an adapter on the base model in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    device = job.reference.device
    rows, _ = finetune.training_rows(job.heldout, job.reference, job.settings)
    model: Any = AutoModelForCausalLM.from_pretrained(job.reference.folder, dtype=torch.float32)
    model = (model if adapter is None else PeftModel.from_pretrained(model, str(adapter))).to(device).eval()
    total = count = 0.0
    with torch.inference_mode():
        for row in rows:
            labels = torch.tensor(row["labels"][1:], device=device)
            logits = model(torch.tensor([row["input_ids"]], device=device)).logits[0, :-1]
            total += torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=-100).item()
            count += int((labels != -100).sum())
    return total / count


def matrix_peak(dtype: str, device: str, size: int | None = None, repeats: int = 6) -> float:
    """FLOP/s of the best of some products of two large square matrices."""
    import torch

    size = size or (8192 if device == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def work(name: str, job: Job, folder: Path) -> dict[str, Any]:
    """A worker's errand: a method; `peak`; or `base`, the loss before any training."""
    device = job.reference.device
    if name == "base":
        return {"heldout": heldout_loss(job, None)}
    if name == "peak":
        kinds = {number_format(method, job.reference) for method in METHODS} | {"float32"}
        return {kind: matrix_peak(kind, device) for kind in sorted(kinds)}
    return measure(name, job, folder)


def number_format(method: str, reference: ModelReference) -> str:
    """The number format of a method's matrix products."""
    if method == "ours":
        return reference.dtype
    if method == "trl":
        return "bfloat16"
    return "float16" if method == "paper" and reference.device == "cuda" else "float32"


def batch_of(settings: FinetuneSettings) -> int:
    """Rows in an update."""
    return settings.per_device_train_batch_size * settings.gradient_accumulation_steps
