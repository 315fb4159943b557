"""The same requests through every teacher, and how many of its safe responses the quality gate lets through.

    python benchmarks/teachers.py          # SmolLM2 as local teacher, and the same model behind `transformers serve`

`pip install medsafe_train[serve]` brings what the server needs. A section is added to RESULTS.md.
"""

from __future__ import annotations

import argparse
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from training_speed import HEAD, commit

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Store
from medsafe_train.config import DemonstrationsSettings, Device, GateSettings, ModelSettings, TeacherSettings, UserError
from medsafe_train.models import load, reference
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources import prompt_sets
from medsafe_train.sources.prompt_sets import TrainingSets
from medsafe_train.stages import demonstrations

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


@contextmanager
def served(folder: str, device: str) -> Iterator[str]:
    """The address of `transformers serve` with a model, ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", device],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            if server.poll() is not None:
                raise UserError("transformers serve did not start: pip install medsafe_train[serve]")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def rate(store: Store, teacher: TeacherSettings, sets: TrainingSets, model: ModelReference, seed: int) -> list[str]:
    """A row of the table: passed, by reason what did not, seconds."""
    settings = DemonstrationsSettings(
        teacher=teacher, recovery=False, gate=GateSettings(max_opening_share=1.0, max_principle_ratio=10.0)
    )
    begun = time.monotonic()
    local = model if teacher.name == "local" else None
    try:
        made = demonstrations.run(store, settings, sets, None, model, seed, local)
        passed, reasons = len(made.records("demonstrations.jsonl")), made.json("counts.json")["reasons"]
    except UserError as error:  # not one passed
        passed, reasons = 0, Counter({str(error): 1})
    took = time.monotonic() - begun
    asked = sum(len(s.prompts) for s in sets.harmful)
    told = "; ".join(f"{number} {reason}" for reason, number in reasons.items())
    name = teacher.name + (", begun with a refusal" if teacher.refusal_prefix else "")
    return [name, f"{passed} of {asked} ({100 * passed / asked:.0f} %)", f"{took:.0f} s", told]


def main() -> None:
    """Ask, print the table and add it to RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=SMOLLM2)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=str(Path(__file__).with_name("RESULTS.md")))
    options = parser.parse_args()
    device = reference.choose_device(Device.auto)
    prompts = prompt_sets.limited(prompt_sets.load("harmful_requests", "harmful", "train"), options.requests)
    sets = TrainingSets(harmful=[prompts], benign=[], replay=[], validation=[])
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        model = replace(
            reference.resolve(store, ModelSettings(path=options.model), device, options.seed), system_prompt=None
        )
        rows = [rate(store, TeacherSettings(), sets, model, options.seed)]
        for prefix in (False, True):
            teacher = TeacherSettings(name="local", refusal_prefix=prefix)
            rows.append(rate(store, teacher, sets, model, options.seed))
        load.release()
        with served(model.folder, device) as address:
            teacher = TeacherSettings(
                name="endpoint", base_url=address, model=model.folder, timeout=600.0, concurrency=2
            )
            rows.append(rate(store, teacher, sets, model, options.seed))
    lines = [
        f"\n## Teachers: {len(prompts.prompts)} requests of harmful_requests (train), {options.model}\n",
        f"Commit {commit()}, {platform.machine()}, {device}, seed {options.seed}; the gate's rules for single responses, "
        "not those for the set.\n",
        "| teacher | passed the gate | time | did not pass |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    progress.console.print("\n".join(lines))
    out = Path(options.out)
    before = out.read_text(encoding="utf-8") if out.exists() else HEAD
    artifacts.write_text(out, before + "\n".join(lines))


if __name__ == "__main__":
    main()
