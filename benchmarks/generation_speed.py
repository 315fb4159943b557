"""How fast answers come here, against the paper's loop and a plain fixed batch: the same requests, the same greedy answers.

    python benchmarks/generation_speed.py --data FOLDER       # SmolLM2, 64 test requests of MedSafetyBench

FOLDER holds the published files (`medsafetybench/test/...`). The methods run in turn, round after round, in one process on models
of one number format, so that the machine's moods hit all alike. A section is added to RESULTS.md; `ABOUT` says what is compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from training_speed import HEAD, SMOLLM2, commit, machine

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Ledger, Store
from medsafe_train.config import Device, Dtype, ModelSettings, UserError
from medsafe_train.models import generate
from medsafe_train.models import load as loading
from medsafe_train.models import reference as references
from medsafe_train.models.load import Loaded
from medsafe_train.sources import prompt_sets
from medsafe_train.sources.prompt_sets import Prompt

Answers = dict[str, str]
BATCH, SMALL = 8, 640
ABOUT = f"""\
- **ours**: `models/generate.py` as an evaluation calls it: longest requests first, batches within a token budget, kept on disk batch by
  batch, the model loaded as a run loads it.
- **loop**: one request after the other through `model.generate`, the way of MedSafetyBench's published code (arXiv 2403.03744);
  **batch**: `model.generate` on {BATCH} requests at a time in the order in which they come, padded on the left.
- **loop** and **batch** load the model with transformers' own choice of attention. All have the same prompt tokens, number format,
  length and stop tokens, and start from the text; the clock runs without loading.
- Identical: the share of requests whose answer is the same text as the loop's. Only sums in another order tell them apart.
- Changes with the batch: ours once more in each number format, within the budget and within {SMALL} tokens (a few answers a batch); the
  share of answers that are not the same text. In bfloat16 two words are often level to the last bit, and rounding decides.
"""


def requests(data: str | None, number: int) -> list[Prompt]:
    """Test requests, spread over the principles, in the set's order."""
    name = "medsafetybench" if data else "harmful_requests"
    return prompt_sets.limited(prompt_sets.load(name, "harmful", "test", data), number).prompts


def ours(loaded: Loaded, asked: list[Prompt], length: int, batch_tokens: int, shape: Callable[..., Any]) -> Answers:
    """The project's own way."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "answers.jsonl")
        items = [(prompt.id, shape(loaded.tokenizer, prompt.prompt)) for prompt in asked]
        generate.answer(loaded, items, length, batch_tokens, ledger, "ours")
        return {id: record["response"] for id, record in ledger.records.items()}


def plain(loaded: Loaded, asked: list[Prompt], length: int, size: int, shape: Callable[..., Any]) -> Answers:
    """`model.generate` on `size` requests at a time, as they come."""
    import torch

    found: Answers = {}
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        shaped = [shape(loaded.tokenizer, prompt.prompt) for prompt in batch]
        inputs = loaded.tokenizer.pad({"input_ids": shaped}, return_tensors="pt").to(loaded.model.device)
        with torch.no_grad():
            output = loaded.model.generate(
                **inputs, max_new_tokens=length, do_sample=False, eos_token_id=list(loaded.stop_ids)
            )
        for prompt, ids in zip(batch, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            end = next((n for n, id in enumerate(ids) if id in loaded.stop_ids), None)
            found[prompt.id] = prompts.parted(loaded.tokenizer.decode(ids[:end], skip_special_tokens=True), False)[0]
    return found


def identical(found: Answers, other: Answers) -> float:
    """The share of answers that are the same text."""
    return sum(found[id] == other[id] for id in other) / len(other)


def compare(options: argparse.Namespace) -> str:
    """Every method in every round; the section for RESULTS.md."""
    store, device = Store(Path(options.outputs) / "artifacts"), references.choose_device(Device(options.device))
    model = references.resolve(store, ModelSettings(path=options.model, dtype=Dtype(options.dtype)), device, 0)
    asked = requests(options.data, options.requests)
    # Both are kept in memory: what is timed is answering.
    mine = loading.load(model)
    theirs = theirs_of(model)
    methods: dict[str, Callable[[], Answers]] = {
        "ours": lambda: ours(mine, asked, options.length, options.batch_tokens, model.prompt),
        "loop": lambda: plain(theirs, asked, options.length, 1, model.prompt),
        "batch": lambda: plain(theirs, asked, options.length, BATCH, model.prompt),
    }
    for method in (
        lambda: plain(theirs, asked[:2], 2, 2, model.prompt),
        lambda: ours(mine, asked[:2], 2, 512, model.prompt),
    ):
        method()  # threads, caches
    rounds: list[dict[str, float]] = []
    answers: dict[str, Answers] = {}
    for n in range(options.rounds):
        names, speed = list(methods), {}
        for name in names[n % 3 :] + names[: n % 3]:
            start = time.perf_counter()
            answers[name] = methods[name]()
            speed[name] = len(asked) / (time.perf_counter() - start)
            progress.say(f"round {n + 1}: {name} {speed[name]:.2f} answers/s")
        rounds.append(speed)
    changes = {dtype: changing(options, store, device, dtype, asked) for dtype in options.formats}
    return section(options, model, rounds, answers, changes)


def changing(options: argparse.Namespace, store: Store, device: str, dtype: str, asked: list[Prompt]) -> float:
    """The share of our answers that change with the batch size in one number format."""
    model = references.resolve(store, ModelSettings(path=options.model, dtype=Dtype(dtype)), device, 0)
    loaded = loading.load(model)
    large, small = (
        ours(loaded, asked, options.length, tokens, model.prompt) for tokens in (options.batch_tokens, SMALL)
    )
    return 1 - identical(small, large)


def theirs_of(model: references.ModelReference) -> Loaded:
    """The model as transformers loads it, with the project's tokenizer and stop tokens."""
    base = loading.load_base(replace(model, attn_implementation=None)).eval()
    tokenizer = loading.load_tokenizer(model)
    stops = loading.stop_ids(base, tokenizer, model.prompt_format)
    base.generation_config.pad_token_id = tokenizer.pad_token_id
    return Loaded(base, tokenizer, stops)


def ratios(rounds: list[dict[str, float]], rival: str) -> str:
    """How many times as fast ours is, the median over the rounds with their range."""
    found = [speed["ours"] / speed[rival] for speed in rounds]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def section(
    options: argparse.Namespace,
    model: references.ModelReference,
    rounds: list[dict[str, float]],
    answers: dict[str, Answers],
    changes: dict[str, float],
) -> str:
    """What RESULTS.md gets; nothing of where things lie on this machine."""
    import torch

    facts = {
        "commit": commit(),
        "machine": f"{machine(model.device)}, {torch.get_num_threads()} threads; load at the end {os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, torch {artifacts.library_version('torch')}, "
        f"transformers {artifacts.library_version('transformers')}",
        "model": f"{model.path}, {model.dtype}",
        "requests": f"{len(answers['loop'])} of {'MedSafetyBench test' if options.data else 'harmful_requests'}, up to "
        f"{options.length} new tokens; ours in batches of {options.batch_tokens} tokens",
        "rounds": len(rounds),
        "answers that change with the batch": ", ".join(f"{share:.1%} in {dtype}" for dtype, share in changes.items()),
    }
    rows = [["method", "answers/s", "ours is faster by", "identical to the loop's"], ["---"] * 4]
    for name in ("ours", "loop", "batch"):
        speed = statistics.median(speed[name] for speed in rounds)
        faster = ratios(rounds, name) if name != "ours" else "–"
        rows.append([name, f"{speed:.2f}", faster, f"{identical(answers[name], answers['loop']):.1%}"])
    lines = [f"\n## Generation speed: {model.path}, {datetime.now(UTC):%Y-%m-%d}\n"]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", "<details><summary>What is compared</summary>", "", ABOUT, "</details>", ""])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder with the published data sets; without it, the project's own requests")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--length", type=int, default=32, help="new tokens an answer, at most")
    parser.add_argument("--batch_tokens", type=int, default=12288, help="as evaluation.batch_tokens")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default=SMOLLM2, help="a folder, a Hub id, or tiny-random")
    parser.add_argument("--dtype", default="float32", choices=[dtype.value for dtype in Dtype])
    parser.add_argument(
        "--formats", nargs="*", default=["float32", "bfloat16"], help="in which answers may change with the batch"
    )
    parser.add_argument("--device", default="auto", choices=[device.value for device in Device])
    parser.add_argument("--outputs", default="outputs", help="where a converted model is kept for the next time")
    parser.add_argument("--out", default=str(Path(__file__).with_name("RESULTS.md")))
    return parser.parse_args(arguments)


def main() -> None:
    """Compare, print and keep the section."""
    options = parse()
    try:
        told = compare(options)
    except UserError as error:
        sys.exit(f"generation_speed: {error}")
    print(told)
    out = Path(options.out)
    before = out.read_text(encoding="utf-8") if out.exists() else HEAD
    artifacts.write_text(out, before + told)


if __name__ == "__main__":
    main()
