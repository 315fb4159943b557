"""SIGKILL at random moments: does the run end with the same bytes as one that nobody killed?

    python benchmarks/killed.py --kills 20                    # while it answers and judges
    python benchmarks/killed.py --kills 20 --of questions     # while it answers medical questions

An evaluation of the tiny model, judged by a rubric that a tiny model is asked, or asked medical questions alone, runs once undisturbed. Then runs in fresh folders are
killed at moments drawn with a seed while they do so, and started again with the same command until they get through.
Every file of their artifacts and their report are compared with the undisturbed ones. Exit code 1 where one byte differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = ["+recipe=evaluate", "model=tiny", "device=cpu"]
ANSWERS = [
    "judge=local_rubric", "judge.model=tiny-random", "judge.max_new_tokens=4", "judge.min_coverage=0",
    "evaluation.harmful=[harmful_requests]", "evaluation.benign=[benign_twins]", "evaluation.limit=27", "evaluation.attack_limit=9",
    "evaluation.attacks=[prefill,role_play]", "evaluation.max_new_tokens=8", "evaluation.batch_tokens=300", "medical_qa.benchmarks=[]",
]  # fmt: skip
# In small batches, so that much is on disk already when a run is killed.
QUESTIONS = [
    "judge=refusal", "evaluation.harmful=[]", "evaluation.benign=[]", "medical_qa.benchmarks=[medical_questions,abstract_questions]",
    "medical_qa.shots=2", "medical_qa.shot_seeds=[0,1]", "medical_qa.batch_tokens=600",
]  # fmt: skip
# What is run, and the stages that it is killed in.
OF = {"answers": (ANSWERS, ("responses", "verdicts")), "questions": (QUESTIONS, ("medical_qa", "medical_text"))}
# Runs the command line, and dies so many seconds after the first request is asked, unless it has ended.
DYING = """
import os, signal, sys, threading
from medsafe_train import cli, progress
after = float(sys.argv.pop(1))
def stage(name, what, original=progress.stage, started=[]):
    if not started:
        started.append(1)
        timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    return original(name, what)
progress.stage = stage
cli.main()
"""


def run(of: str, outputs: Path, dies_after: float | None = None) -> int:
    """Run once, to its end or until it is killed; the process's exit code."""
    command = [*COMMON, *OF[of][0], f"outputs={outputs}"]
    if dies_after is None:
        called = [sys.executable, "-m", "medsafe_train", *command]
    else:
        called = [sys.executable, "-c", DYING, str(dies_after), *command]
    done = subprocess.run(called, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode not in (0, -9):
        sys.exit(f"killed: the run failed by itself:\n{done.stderr[-2000:]}")
    return done.returncode


def contents(outputs: Path) -> dict[str, bytes]:
    """Every finished artifact's files, and the last report."""
    root = outputs / "artifacts"
    found = {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(root).parts)
    }
    last = max((outputs / "runs" / "evaluate").glob("*/report.json"))
    return {**found, "report.json": last.read_bytes()}


def seconds(of: str, outputs: Path) -> float:
    """How long the stages in question took in the undisturbed run."""
    (timings,) = (outputs / "runs" / "evaluate").glob("*/timings.json")
    took = json.loads(timings.read_text(encoding="utf-8"))["seconds"]
    return sum(value for name, value in took.items() if name in OF[of][1])


def compare(kills: int, seed: int, folder: Path, of: str = "answers") -> tuple[int, int, list[str]]:
    """So many kills: how many there were, how many runs got through after them, and which files differ."""
    chance = random.Random(seed)
    assert run(of, folder / "undisturbed") == 0
    whole, span = contents(folder / "undisturbed"), seconds(of, folder / "undisturbed")
    killed, ended, different = 0, 0, []
    while killed < kills:
        outputs = folder / f"killed-{ended}"
        # Short enough that a run is killed several times before it gets through.
        while killed < kills and run(of, outputs, chance.uniform(0, span / 2)) == -9:
            killed += 1
        assert run(of, outputs) == 0
        ended += 1
        found = contents(outputs)
        different += sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
    return killed, ended, different


def main() -> None:
    """Kill, compare, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", choices=OF, default="answers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killed, ended, different = compare(options.kills, options.seed, Path(folder), options.of)
    print(f"killed {killed} times; {ended} runs got through; files that differ: {', '.join(different) or 'none'}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
