"""The harness's side of qa_parity.py and qa_speed.py: runs in its own environment, and imports nothing of this project."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import yaml

BUILT_IN = {
    "medqa_4options": "medqa/medqa.yaml",
    "pubmedqa": "pubmedqa/pubmedqa.yaml",
    "medmcqa": "medmcqa/medmcqa.yaml",
}


def task_file(folder: Path, name: str) -> Path:
    """A YAML task over local files that includes the built-in one; worked examples are the first of its train part."""
    import lm_eval

    given = json.loads((folder / name / "task.json").read_text(encoding="utf-8"))
    built_in = Path(lm_eval.__file__).parent / "tasks" / BUILT_IN.get(name, f"mmlu/default/{name}.yaml")
    content = {
        "include": str(built_in),
        "task": f"local_{name}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": given["files"]},
        "training_split": "train",
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": "train",
        "fewshot_config": {"sampler": "first_n"},
    }
    path = folder / name / f"local_{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def ask(model: Any, folder: Path, name: str, shots: int, limit: int | None = None) -> tuple[list[list[float]], float]:
    """Log-likelihoods of every question's options in order, and the seconds from text to them: data and tasks are made before."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    task_file(folder, name)
    tasks = TaskManager(include_path=str(folder / name), include_defaults=False)
    took, plain = [], model.loglikelihood

    def timed(requests: Any, **more: Any) -> Any:
        start = time.perf_counter()
        answers = plain(requests, **more)
        took.append(time.perf_counter() - start)
        return answers

    model.loglikelihood = timed
    try:
        found = lm_eval.simple_evaluate(
            model=model,
            tasks=[f"local_{name}"],
            num_fewshot=shots,
            task_manager=tasks,
            log_samples=True,
            bootstrap_iters=0,
            limit=limit,
        )
    finally:
        del model.loglikelihood
    samples = sorted(found["samples"][f"local_{name}"], key=lambda sample: sample["doc_id"])
    return [[float(answer[0][0]) for answer in sample["resps"]] for sample in samples], sum(took)


def serve(given: argparse.Namespace, model: Any, started: float) -> None:
    """Answer each line of JSON (batch, limit, shots) with the seconds that it took and the peak memory so far, in GB."""
    print(json.dumps({"qa": {"start_s": started}}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        model.batch_size_per_gpu = asked["batch"]
        _, seconds = ask(model, given.tasks, given.name, asked["shots"], asked["limit"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"qa": {"seconds": seconds, "peak_gb": peak}}), flush=True)


def main() -> None:
    """Load the model once, ask every task, and write what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--shots", default="0")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true", help="answer requests on standard input, for qa_speed.py")
    given = parser.parse_args()
    start = time.perf_counter()
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(given.threads)
    model = HFLM(pretrained=given.model, dtype="float32", device="cpu", batch_size=given.batch)
    started = time.perf_counter() - start
    if given.serve:
        return serve(given, model, started)
    values, seconds = {}, {}
    for shots in given.shots.split(","):
        values[shots], seconds[shots] = ask(model, given.tasks, given.name, int(shots))
    given.out.write_text(json.dumps({"values": values, "seconds": seconds, "start_s": started}), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
