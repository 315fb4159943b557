"""How fast medical questions are answered: this project against lm-evaluation-harness, on the same items, threads and worked examples.

    python benchmarks/qa_speed.py --data ../shared/data --work /tmp/qa            # after qa_parity.py, which installs the harness
    python benchmarks/qa_speed.py --data ../shared/data --work /tmp/qa --limit 24 --threads 1

Both stay loaded and take turns, a setting at a time: the harness with batches of 1, 8 and 16 on the first items, then its best on
all of them; this project on all of them, the base model alone, then before and after an adapter in one loaded model. The clock
runs from text to log-likelihoods; start-up is not in it and is told beside it. Peak memory is each process's own: the harness's with
its best batch, this project's with the adapter.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import qa_parity
from qa_parity import SHOTS, Benchmark

# (benchmark, worked examples, how many times as fast it should be)
SETTINGS = (("pubmedqa", SHOTS, 4.0), ("medqa_4options", SHOTS, 3.0), ("medqa_4options", 0, 1.5))
BATCHES = (1, 8, 16)
ADAPTER = {"r": 16, "target_modules": "all-linear", "init_lora_weights": False}


class Worker:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.start = self.read()["start_s"]

    def ask(self, **what: Any) -> dict[str, Any]:
        """Have it do one thing."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Its next answer; what libraries print in between is skipped."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith('{"qa"'):
                return json.loads(line)["qa"]
        raise RuntimeError(f"{self.process.args} ended")

    def stop(self) -> None:
        """Let it end."""
        self.process.communicate()


def chosen(name: str, data: str, limit: int) -> Benchmark:
    """A benchmark's first questions, as they come, and worked examples that are none of them."""
    known = qa_parity.descriptions.published(name)
    inside = known.shots == "rest"
    whole = qa_parity.questions.load(name, data_folder=data, shots=inside)
    pool = whole.pool[:SHOTS] if inside else whole.questions[limit : limit + SHOTS]
    return replace(whole, questions=whole.questions[:limit], pool=pool, first_shots=True)


def work(given: argparse.Namespace) -> None:
    """This project's side: base alone, or before and after, as asked."""
    start = time.perf_counter()
    import torch
    from peft import LoraConfig, get_peft_model

    from medsafe_train.models.load import load, release

    torch.set_num_threads(given.threads)
    model = qa_parity.model_reference(given.work)
    folder = given.work / "adapter"
    if not folder.is_dir():
        torch.manual_seed(0)
        get_peft_model(load(model).model, LoraConfig(**ADAPTER)).save_pretrained(folder)
        release()
    load(model)
    print(json.dumps({"qa": {"start_s": time.perf_counter() - start}}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        made = chosen(asked["name"], given.data, given.limit)
        both = asked["what"] == "both"
        load(model, folder if both else None)
        start = time.perf_counter()
        for adapter in (None, folder) if both else (None,):
            qa_parity.ours(load(model, adapter), made, asked["shots"])  # loading here switches the adapter off and on
        found = {
            "seconds": time.perf_counter() - start,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }
        print(json.dumps({"qa": found}), flush=True)


def measure(given: argparse.Namespace, name: str, shots: int, wanted: float) -> dict[str, Any]:
    """One setting, turn by turn."""
    made = chosen(name, str(given.data), given.limit)
    python = qa_parity.environment(given.work)
    folder = given.work / "speed" / f"{name}-{shots}"
    qa_parity.write_task(folder, made)
    common = ["--threads", str(given.threads)]
    harness = Worker([str(python), str(qa_parity.WORKER), "--tasks", str(folder / "tasks"), "--name", name, "--model",
                      qa_parity.model_reference(given.work).folder, "--serve", *common])  # fmt: skip
    mine = Worker(
        [
            sys.executable,
            __file__,
            "--worker",
            "--data",
            given.data,
            "--work",
            str(given.work),
            "--limit",
            str(given.limit),
            *common,
        ]
    )
    rates: dict[int, float] = {}
    peaks: dict[int, float] = {}
    bases = []
    for batch in BATCHES:
        few = min(given.limit, max(batch, 8))
        answer = harness.ask(batch=batch, limit=few, shots=shots)
        rates[batch], peaks[batch] = answer["seconds"] / few, answer["peak_gb"]
        bases.append(mine.ask(what="base", name=name, shots=shots))
    best = min(rates, key=rates.__getitem__)
    whole = harness.ask(batch=best, limit=given.limit, shots=shots)["seconds"]
    base = sorted(one["seconds"] for one in bases)[len(bases) // 2]
    both = [mine.ask(what="both", name=name, shots=shots) for _ in range(2)]
    found = {
        "setting": f"{shots}-shot {name}", "items": given.limit, "harness_s": whole, "harness_batch": best, "ours_s": base,
        "times": whole / base, "wanted": wanted, "both_over_base": min(one["seconds"] for one in both) / base,
        "harness_peak_gb": peaks[best], "ours_peak_gb": both[-1]["peak_gb"], "harness_start_s": harness.start, "ours_start_s": mine.start,
        "harness_seconds_an_item": rates,
    }  # fmt: skip
    for worker in (harness, mine):
        worker.stop()
    return found


def main() -> None:
    """Measure every setting and print a line of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.work = given.work.resolve()
    if given.worker:
        return work(given)
    for setting in SETTINGS:
        found = measure(given, *setting)
        print(
            f"| {found['setting']} | {found['items']} | {found['harness_s']:.1f} s (batch {found['harness_batch']}) | {found['ours_s']:.1f} s | "
            f"{found['times']:.2f} (wanted {found['wanted']:g}) | {found['both_over_base']:.2f} | {found['harness_peak_gb']:.2f} GB | "
            f"{found['ours_peak_gb']:.2f} GB | {found['harness_start_s']:.0f} s, {found['ours_start_s']:.0f} s |",
            flush=True,
        )
        print(json.dumps(found), file=sys.stderr, flush=True)
    return None


if __name__ == "__main__":
    main()
