"""What a sweep costs beside as many separate runs: trials share demonstrations and the evaluation of the base model.

    python benchmarks/sweep_cost.py                          # four learning rates on quickstart, cut down to minutes
    python benchmarks/sweep_cost.py --ways multirun separate --small evaluation.limit=60

Three ways, each in a fresh folder: `separate` (every trial alone, sharing nothing), `multirun` (Hydra's), `wandb` (the commands that W&B's agent would
run, rendered by wandb, with tracking offline). Prints the seconds of each, its share of the separate runs', and where `compare` has put its page.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

KEY, VALUES = "finetune.learning_rate", (2.0e-4, 5.0e-4, 8.0e-4, 1.0e-3)
# An hour's sweep in minutes: the shares of its parts stay about what they are.
SMALL = (
    "demonstrations.limit=36",
    "demonstrations.replay_limit=18",
    "evaluation.limit=36",
    "medical_qa.limit=48",
    "finetune.merge=false",
)


def call(*arguments: str) -> float:
    """Seconds of one command; its output is kept from the terminal unless it fails."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "medsafe_train", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.monotonic() - start


def separate(settings: list[str], root: Path) -> float:
    """Every trial in a folder of its own."""
    return sum(call(*settings, f"{KEY}={value}", f"outputs={root / str(value)}") for value in VALUES)


def multirun(settings: list[str], root: Path) -> float:
    """All trials in one process, through Hydra."""
    return call("--multirun", *settings, f"{KEY}={','.join(map(str, VALUES))}", f"outputs={root}")


def wandb(settings: list[str], root: Path) -> float:
    """Every trial in a process of its own and one folder, by the arguments that wandb renders for its agent."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    took = 0.0
    for value in VALUES:
        arguments = create_sweep_command_args({"args": {KEY: {"value": value}}})["args_no_hyphens"]
        took += call(*settings, *arguments, "tracking.mode=offline", f"outputs={root}")
    return took


WAYS = {"separate": separate, "multirun": multirun, "wandb": wandb}


def main() -> None:
    """Run the ways and print their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--small", nargs="*", default=list(SMALL))
    parser.add_argument("--outputs", type=Path, default=Path("outputs/sweep_cost"))
    options = parser.parse_args()
    took: dict[str, float] = {}
    for way in options.ways:
        root = options.outputs / way
        shutil.rmtree(root, ignore_errors=True)
        took[way] = WAYS[way]([f"+recipe={options.recipe}", *options.small], root)
        share = f", {100 * took[way] / took['separate']:.0f} % of the separate runs" if "separate" in took else ""
        print(f"{way:<10} {len(VALUES)} trials {took[way]:7.1f} s{share}", flush=True)
        if way != "separate":
            call("+recipe=compare", f"runs=[{root}]", f"outputs={root / 'compared'}")
            print(f"           {next((root / 'compared').rglob('compare.md'))}", flush=True)


if __name__ == "__main__":
    main()
