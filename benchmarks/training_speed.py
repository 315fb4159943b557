"""How fast fine-tuning is here, in TRL as it comes and in the paper's set-up: the same rows, trainable weights and updates.

    python benchmarks/training_speed.py                          # SmolLM2, no download
    python benchmarks/training_speed.py --shape meditron7b       # random weights of Meditron-7B's shape, on a GPU

Every method (training_methods.py) runs in a process of its own, in turn with the others, round after round, so that the
machine's moods hit all alike and no setting of one (malloc, thread pools, patches) reaches another. A section is added to
RESULTS.md. What is compared, and how it is counted, is said in `ABOUT`, which the section repeats.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from omegaconf import OmegaConf
from training_methods import CUTOFF, METHODS, SKIPPED, Job, batch_of, number_format, settings_from, work

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Store
from medsafe_train.config import (
    DemonstrationsSettings,
    Device,
    FinetuneSettings,
    MixSettings,
    ModelSettings,
    Quantization,
    UserError,
    shipped,
)
from medsafe_train.models import reference as references
from medsafe_train.models import training
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources import prompt_sets
from medsafe_train.sources.prompt_sets import PromptSet, TrainingSets
from medsafe_train.stages import demonstrations, own_answers

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
# Whose `finetune` section says which weights are trained, and with what batch and learning rate; others: as Meditron-7B.
RECIPES = {SMOLLM2: "smollm2_medsafetybench", "meditron7b": "meditron7b"}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# epfl-llm/meditron-7b has Llama-2-7B's shape. Its embedding is published with 32,017 or 32,000 rows (reported); the head is
# 2 % of a pass either way.
SHAPES: dict[str, dict[str, Any] | None] = {
    "meditron7b": {
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 2048,
    },
    "tiny": None,
}  # fmt: skip
ABOUT = """\
- **ours**: `stages/finetune.py` as a run calls it, plain loss (`first_tokens_weight=1`), no checkpoint saved while timed.
- **trl**: `SFTTrainer` with prompt/completion rows and `SFTConfig`'s defaults (float32 weights under bfloat16 autocast, activation
  checkpointing, its attention, micro-batch and optimiser); **trl_float32**: the same with `bf16=False`.
- **paper**: the set-up of MedSafetyBench's fine-tuning (arXiv 2403.03744): `Trainer`, micro-batch 4, left-padded to multiples of 8,
  loss on prompt and answer, AdamW, no grouping by length; float32 on a CPU, fp16 on a GPU; no activation checkpointing, in its favour.
- All have the same rows, adapter, batch, number of updates, learning rate and schedule. The clock runs from the end of update 2
  and over as many updates as an epoch has: without the start of the trainer, and with batches of all lengths.
- Tokens are those of the rows, padding not counted; times are medians over the rounds, the ratio is that of each round.
- Work counted, per token: 2 FLOPs a weight of the linear layers forward, and 2 more backward for those in and above the first adapted
  layer; 6 a weight of the adapter; 4 a weight of the vocabulary head for tokens with loss. Not counted: attention scores, norms, the
  optimiser, padding, what activation checkpointing computes twice, and logits that no loss needs. It is the share of *needed* work.
- Peak: the best large matrix product in the same number format, measured in every round.
- Held-out loss: each adapter on the same float32 base model, mean cross-entropy per answer token; the paper's is trained on prompts too.
"""
HEAD = "# Results\n\nWhat the scripts in this folder measured. Each section names its commit, machine and settings; newest last.\n"


def settings_for(name: str, rows: int) -> FinetuneSettings:
    """A recipe's fine-tuning settings, without what would make the comparison unequal."""
    if name in (references.TINY, "tiny"):
        settings = FinetuneSettings(
            r=4, target_modules=LINEAR, layers_to_transform=[1], per_device_train_batch_size=4, learning_rate=1e-3
        )
    else:
        recipe: Any = OmegaConf.load(shipped("recipes") / f"{RECIPES.get(name, RECIPES['meditron7b'])}.yaml")
        settings = settings_from(recipe.finetune)
    updates = SKIPPED + rows // batch_of(settings)
    return replace(
        settings,
        mix=MixSettings(safe=1.0, benign=1.0, replay=1.0, recovery=0.0, recovery_benign=0.0, plain=0.0),
        self_distillation=False,
        updates=updates,
        warmup_steps=min(10, updates // 5),
        max_length=CUTOFF,
        first_tokens_weight=1.0,
        packing=False,
        gradient_checkpointing=False,
        save_steps=10**6,
    )


def rows_for(
    store: Store, model: ModelReference, number: int, heldout: int, data_folder: str | None, answers: bool, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows to train on and held-out ones, made by the project's own stages, gate included, and kept in the store.

    Half are refusals by the template teacher, half the base model's own answers to benign requests; without `answers`,
    for a model of random weights, all are refusals. Raises UserError where too few pass.
    """
    settings = DemonstrationsSettings(recovery=False, max_new_tokens=40)
    asked = requests(round(1.4 * (number + heldout)), data_folder, answers)  # the gate and CUTOFF take some
    own = own_answers.run(store, settings, asked, model)
    found = demonstrations.run(store, settings, asked, own, model, seed).records("demonstrations.jsonl")
    # What all can train on: plain text has no place in TRL's rows, and TRL ends every answer, one that was cut off too.
    found = short_enough([{**row, "ends": True} for row in found if row["kind"] != "plain"], model)
    found.sort(key=lambda row: hashlib.sha256(f"{seed}\n{row['id']}".encode()).hexdigest())
    if len(found) < number + heldout:
        raise UserError(
            f"{len(found)} rows passed, {number} + {heldout} are wanted: lower --rows, or give --data_folder"
        )
    return found[heldout : heldout + number], found[:heldout]


def requests(number: int, data_folder: str | None, answers: bool) -> TrainingSets:
    """So many requests, half of them harmful, or all."""

    def sets(names: list[str], kind: str, share: float) -> list[PromptSet]:
        each = -(-round(share * number) // len(names))
        loaded = [prompt_sets.load(name, kind, "train", data_folder) for name in names if share]
        return [prompt_sets.limited(prompts, each) for prompts in loaded]

    return TrainingSets(
        harmful=sets(["medsafetybench"] if data_folder else ["harmful_requests"], "harmful", 0.5 if answers else 1),
        benign=sets(["medsafetybench_twins"] if data_folder else ["benign_twins"], "benign", 0.25 if answers else 0),
        replay=sets(["replay_requests", "everyday_requests"], "benign", 0.25 if answers else 0),
        validation=[],
    )


def short_enough(rows: list[dict[str, Any]], model: ModelReference) -> list[dict[str, Any]]:
    """The rows of at most CUTOFF tokens."""
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)

    def length(row: dict[str, Any]) -> int:
        ids = prompts.training_ids(tokenizer, model.prompt_format, row["request"], row["response"], model.system_prompt)
        return sum(map(len, ids))

    return [row for row in rows if length(row) <= CUTOFF]


def write_shape(folder: Path, shape: str, device: str, seed: int) -> None:
    """A Llama of a shape with random weights in bfloat16, and a small tokenizer; real texts give rows of real lengths.

    The weights are made on the device, never in float32 on a CPU, and written once (13.5 GB for Meditron-7B, in the
    temporary folder): so every method loads them the way it loads a real model, 4-bit conversion included.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from medsafe_train.models import load, tiny

    texts = [p.prompt for p in prompt_sets.load("harmful_requests", "harmful", "train").prompts]
    folder.mkdir()
    tiny.write(folder, texts, seed)
    if (sizes := SHAPES[shape]) is not None:
        small = LlamaConfig.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        config = LlamaConfig(
            **sizes, bos_token_id=None, eos_token_id=small.eos_token_id, pad_token_id=small.pad_token_id
        )
        torch.manual_seed(seed)
        with torch.device(device):
            LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        load.free_memory()


# --- What is counted -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """Numbers of weights in matrix products: of all layers, of those from the first adapted one on, and of the rest."""

    layers: int
    upper: int
    adapter: int
    head: int

    def work(self, tokens: int, loss_tokens: int) -> int:
        """FLOPs that training on so many tokens needs; see ABOUT."""
        return (2 * self.layers + 2 * self.upper + 6 * self.adapter) * tokens + 4 * self.head * loss_tokens


def weights(folder: str, settings: FinetuneSettings) -> Weights:
    """Counted in a model without memory (torch's meta device)."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        head = base.get_output_embeddings().weight.numel()
        model = get_peft_model(base, training.lora_config(settings))
    layers: dict[int, int] = {}
    adapted = set()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and (match := re.search(r"\.layers\.(\d+)\.", name)):
            if ".lora_" in name:
                adapted.add(int(match[1]))
            else:
                layers[int(match[1])] = layers.get(int(match[1]), 0) + module.weight.numel()
    upper = sum(number for layer, number in layers.items() if layer >= min(adapted))
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Weights(sum(layers.values()), upper, adapter, head)


def figures(method: str, rounds: list[dict[str, Any]], job: Job, counted: Weights) -> dict[str, float]:
    """A method's figures, medians over the rounds; shares of the peak are fractions of 1, rates are per second."""
    kind, found = number_format(method, job.reference), []
    for results in rounds:
        seen, peak = results[method], results["peak"]
        rate = counted.work(seen["tokens"], seen["loss_tokens"]) / seen["time"]
        found.append(
            {
                "examples": seen["examples"] / seen["time"],
                "tokens": seen["tokens"] / seen["time"],
                "padding": 1 - seen["tokens"] / seen["padded"],
                "share": rate / peak[kind],
                "share32": rate / peak["float32"],
                "peak": peak[kind],
                **{name: seen[name] for name in ("memory", "heldout", "trainable")},
            }
        )
    return {name: statistics.median(one[name] for one in found) for name in found[0] if found[0][name] is not None}


def ratios(rounds: list[dict[str, Any]], others: list[str]) -> list[float]:
    """Ours against the better of the others, in tokens a second, one a round."""
    speed = [{m: results[m]["tokens"] / results[m]["time"] for m in ("ours", *others)} for results in rounds]
    return [one["ours"] / max(one[m] for m in others) for one in speed]


# --- Running and telling ---------------------------------------------------------------------------------------------


def worker(name: str, job: Path, folder: Path) -> Any:
    """Run one errand of training_methods in a process of its own."""
    result = folder / "result.json"
    command = [sys.executable, __file__, "--worker", name, "--job", str(job), "--result", str(result)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"the worker for {name} failed:\n{done.stderr[-3000:]}")
    return json.loads(result.read_text(encoding="utf-8"))


def run_rounds(job: Path, methods: list[str], number: int) -> list[dict[str, Any]]:
    """Every method once a round, and the machine's peak; each round begins with another one."""
    found = []
    for n in range(number):
        names = ["peak", *methods]
        names = names[n % len(names) :] + names[: n % len(names)]
        results: dict[str, Any] = {"load": os.getloadavg()[0]}
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                results[name] = worker(name, job, Path(folder))
            if name != "peak":
                speed = results[name]["tokens"] / results[name]["time"]
                progress.say(f"round {n + 1}: {name} {speed:,.0f} tokens/s")
        found.append(results)
    return found


def machine(device: str) -> str:
    """The machine's class: processor, cores, memory, card."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", file.read_text()) if file.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    if device == "cuda":
        import torch

        found += f", {torch.cuda.get_device_name()}"
    return found


def commit() -> str:
    """The checkout's commit, and whether it was changed."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True
        ).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if git("status", "-s", "-uno") else "")


HEADINGS = [
    "method",
    "examples/s",
    "tokens/s",
    "padding",
    "of the peak",
    "of the float32 peak",
    "peak, GFLOP/s",
    "memory, GiB",
    "trained weights",
    "held-out loss",
]


def table(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """The figures as text, a row a method."""
    return [
        [
            method, f"{f['examples']:.2f}", f"{f['tokens']:,.0f}", f"{f['padding']:.0%}", f"{f['share']:.0%}",
            f"{f['share32']:.0%}", f"{f['peak'] / 1e9:,.0f}", f"{f['memory']:.2f}", f"{f['trainable']:,.0f}",
            f"{f['heldout']:.4f}" if "heldout" in f else "-",
        ]
        for method, f in found.items()
    ]  # fmt: skip


def verdict(found: dict[str, dict[str, float]], ratio: list[float], base: float | None) -> str:
    """The ratio, and whether the losses let it count."""
    text = f"Ours against the better of the others: {statistics.median(ratio):.2f} (rounds: {min(ratio):.2f} to {max(ratio):.2f})."
    losses = {method: f["heldout"] for method, f in found.items() if "heldout" in f}
    if rivals := [loss for method, loss in losses.items() if method.startswith("trl")]:
        apart = losses["ours"] / min(rivals) - 1
        counts = "so the claim counts" if apart <= 0.02 else "MORE THAN 2 %: THE CLAIM DOES NOT COUNT"
        text += f" Held-out loss against TRL's better one: {apart:+.2%}, {counts}; before training it was {base:.4f}."
    return text


def section(
    job: Job, options: argparse.Namespace, rows: list[list[str]], told: str, rounds: list[dict[str, Any]]
) -> str:
    """What RESULTS.md gets; nothing of where things lie on this machine."""
    s, loads = job.settings, ", ".join(f"{results['load']:.1f}" for results in rounds)
    layers = f"layers {s.layers_to_transform[0]}-{s.layers_to_transform[-1]}" if s.layers_to_transform else "all layers"
    modules = s.target_modules if isinstance(s.target_modules, str) else ", ".join(s.target_modules)
    source = "published sets" if options.data_folder else "the project's own sets"
    versions = ", ".join(
        f"{n} {artifacts.library_version(n)}" for n in ("torch", "transformers", "trl", "peft", "accelerate")
    )
    facts = {
        "commit": commit(),
        "machine": f"{machine(job.reference.device)}; load before each round {loads}",
        "versions": f"Python {platform.python_version()}, {versions}",
        "model": f"{job.reference.path}, quantisation {job.reference.quantization}, ours in {job.reference.dtype}",
        "adapter": f"r {s.r}, alpha {s.lora_alpha}, {modules}, {layers}"
        + ("; paper: its own" if job.paper_weights else ""),
        "training": f"{len(job.train)} rows from {source} ({len(job.heldout)} held out), batch {batch_of(s)}, "
        f"{s.updates} updates, lr {s.learning_rate:g} {s.lr_scheduler_type} after {s.warmup_steps}, seed {job.seed}",
        "rounds": len(rounds),
    }
    lines = [f"\n## Training speed: {job.reference.path}, {datetime.now(UTC):%Y-%m-%d}\n"]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", *(f"| {' | '.join(row)} |" for row in [HEADINGS, ["---"] * len(HEADINGS), *rows]), "", told]
    return "\n".join([*lines, "", "<details><summary>What is compared</summary>", "", ABOUT, "</details>", ""])


def prepare(options: argparse.Namespace, work_folder: Path, quantization: Quantization) -> Job:
    """Settings, model and rows of a comparison."""
    store, device = Store(Path(options.outputs) / "artifacts"), references.choose_device(Device(options.device))
    name = options.shape or options.model
    path, random = options.model, bool(options.shape) or options.model == references.TINY
    if options.shape:
        path = str(work_folder / options.shape)
        if not Path(path).exists():
            write_shape(Path(path), options.shape, device, options.seed)
    settings = settings_for(name, options.rows)
    model = references.resolve(store, ModelSettings(path=path, quantization=quantization), device, options.seed)
    if not Path(model.folder).is_dir():
        from huggingface_hub import snapshot_download

        model = replace(model, folder=snapshot_download(model.folder, revision=model.revision))
    number = options.rows // batch_of(settings) * batch_of(settings)
    if number < 1:
        raise UserError(f"--rows {options.rows} is less than a batch ({batch_of(settings)}): raise it")
    heldout = 0 if options.shape else options.heldout
    train, kept = rows_for(store, model, number, heldout, options.data_folder, not random, options.seed)
    return Job(model, settings, train, kept, options.seed, options.paper_weights)


def compare(options: argparse.Namespace, work_folder: Path, quantization: Quantization) -> None:
    """One comparison, from rows to a section of RESULTS.md."""
    from rich.table import Table

    from medsafe_train.models import load

    job = prepare(options, work_folder, quantization)
    load.release()  # the model that wrote the answers, before anything is timed
    file = work_folder / f"job-{quantization.value}.json"
    job.write(file)
    methods = options.methods or default_methods(job.reference)
    rounds = run_rounds(file, methods, options.rounds)
    base = worker("base", file, work_folder)["heldout"] if job.heldout else None
    counted = {m: weights(job.reference.folder, job.settings_of(m)) for m in methods}
    found = {m: figures(m, rounds, job, counted[m]) for m in methods}
    rows, shown = table(found), Table(*HEADINGS)
    for row in rows:
        shown.add_row(*row)
    told = verdict(found, ratios(rounds, [m for m in methods if m != "ours"]), base)
    if len({results[m]["rows"] for results in rounds for m in methods}) > 1:
        told += " THE METHODS DID NOT TRAIN ON THE SAME TOKENS: THE COMPARISON IS UNEQUAL."
    progress.console.print(shown, told)
    out = Path(options.out)
    before = out.read_text(encoding="utf-8") if out.exists() else HEAD
    artifacts.write_text(out, before + section(job, options, rows, told, rounds))


def default_methods(model: ModelReference) -> list[str]:
    """Those that make sense here: bfloat16 autocast where the processor has it, the paper's without 4 bits."""
    if model.quantization != "none":
        return ["ours", "trl"]
    if model.device == "cuda":
        return ["ours", "trl", "paper"]
    native = references.choose_dtype(ModelSettings(), "cpu") == "bfloat16"
    return ["ours", *(["trl"] if native else []), "trl_float32", "paper"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=192, help="to train on; rounded down to whole batches")
    parser.add_argument("--heldout", type=int, default=48, help="rows that the loss is compared on")
    parser.add_argument("--rounds", type=int, default=3)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default=SMOLLM2, help="a folder, a Hub id, or tiny-random")
    which.add_argument("--shape", choices=SHAPES, help="random weights of a model's shape; LoRA, then QLoRA (nf4)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="ours is always among them")
    parser.add_argument("--data_folder", help="a folder with the published data sets, in place of data/")
    parser.add_argument("--paper-weights", action="store_true", help="the paper's set-up with its own adapter")
    parser.add_argument("--device", default="auto", choices=[device.value for device in Device])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outputs", default="outputs", help="where rows are kept for the next time")
    parser.add_argument("--out", default=str(Path(__file__).with_name("RESULTS.md")))
    for hidden in ("--worker", "--job", "--result"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.methods and ("ours" not in options.methods or len(options.methods) < 2):
        parser.error("--methods: name ours and at least one other")
    return options


def main() -> None:
    """Compare, or run one worker's errand."""
    options = parse()
    if options.worker:
        result = Path(options.result)
        artifacts.write_json(result, work(options.worker, Job.read(Path(options.job)), result.parent))
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            for quantization in Quantization if options.shape else [Quantization.none]:
                compare(options, Path(folder), quantization)
    except UserError as error:
        sys.exit(f"training_speed: {error}")


if __name__ == "__main__":
    main()
