"""Medical questions asked by lm-evaluation-harness and by this project: the same items and worked examples, side by side.

    python benchmarks/qa_parity.py --data ../shared/data --work /tmp/qa           # asks at least 300 questions of each benchmark
    python benchmarks/qa_parity.py --data ../shared/data --work /tmp/qa --limit 20

Installs lm-evaluation-harness 0.4.13 with exact pins into an environment of its own below --work; it is no dependency. Both read
the same questions from files there, the harness by YAML tasks that include its built-in ones. Prints every difference.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from medsafe_train import artifacts, question_prompts
from medsafe_train.artifacts import Ledger, Store
from medsafe_train.config import Dtype, ModelSettings
from medsafe_train.models import reference
from medsafe_train.sources import descriptions, questions
from medsafe_train.sources.questions import Benchmark, Question

PINS = ["torch==2.13.0", "transformers==5.23.0", "lm_eval==0.4.13", "datasets==5.2.0", "accelerate==1.15.0"]
BENCHMARKS = ("medqa_4options", "pubmedqa", "medmcqa", "mmlu_nutrition", "mmlu_high_school_biology")
SHOTS = 3
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WORKER = Path(__file__).with_name("qa_lm_eval.py")
CLOSE = 1e-3  # log-likelihoods in float32


def environment(work: Path) -> Path:
    """The Python of the harness's own environment, installed at the first call."""
    python = work / "lm_eval" / "bin" / "python"
    if not (work / "lm_eval" / "installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(work / "lm_eval")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS], check=True)
        (work / "lm_eval" / "installed").write_text("\n".join(PINS))
    return python


def model_reference(work: Path) -> Any:
    """SmolLM2 in float32 on the CPU, as a folder that both load."""
    settings = ModelSettings(path=MODEL, dtype=Dtype.float32)
    return reference.resolve(Store(work / "artifacts"), settings, "cpu", 0)


def benchmark(name: str, data: str, limit: int) -> Benchmark:
    """The shortest worked examples, and the `limit` shortest questions that are none of them.

    A parity is as good on short prompts, and sooner there. Where the folder has no train part, the worked examples are
    questions that are then not asked.
    """
    known = descriptions.published(name)
    inside = known.shots == "rest" or (Path(data) / str(known.shots.folder)).is_file()  # type: ignore[union-attr]
    whole = questions.load(name, data_folder=data, shots=inside)
    ordered = sorted(whole.questions, key=_length)
    pool = sorted(whole.pool, key=_length)[:SHOTS] if inside else ordered[:SHOTS]
    asked = [question for question in ordered if question not in pool][:limit]
    return replace(whole, questions=asked, pool=pool, first_shots=True)


def _length(question: Question) -> int:
    return len(question.question) + len(question.context or "") + sum(map(len, question.options))


def document(style: str, question: Question) -> dict[str, Any]:
    """A question in the columns that the harness's task reads."""
    options, answer = list(question.options), question.answer
    if style == "pubmedqa":
        return {
            "QUESTION": question.question,
            "CONTEXTS": (question.context or "").split("\n"),
            "final_decision": options[answer],
        }
    if style == "mmlu":
        return {"question": question.question, "choices": options, "answer": answer}
    if style == "medmcqa":
        return {
            "question": question.question,
            **{f"op{letter}": o for letter, o in zip("abcd", options, strict=True)},
            "cop": answer,
        }
    return {"sent1": question.question, **{f"ending{n}": o for n, o in enumerate(options)}, "label": answer}


def write_task(work: Path, made: Benchmark) -> Path:
    """The questions as JSONL and a YAML task that includes the built-in one."""
    folder = work / "tasks" / made.name
    folder.mkdir(parents=True, exist_ok=True)
    artifacts.write_jsonl(folder / "test.jsonl", [document(made.style, q) for q in made.questions])
    artifacts.write_jsonl(folder / "train.jsonl", [document(made.style, q) for q in made.pool])
    files = {part: str(folder / f"{part}.jsonl") for part in ("test", "train")}
    (folder / "task.json").write_text(json.dumps({"name": made.name, "files": files}), encoding="utf-8")
    return folder


def theirs(
    python: Path, work: Path, model: str, name: str, shots: list[int], batch: int, threads: int
) -> dict[str, Any]:
    """What the harness finds, by number of worked examples: log-likelihoods of every question's options in order, and seconds."""
    with tempfile.NamedTemporaryFile(suffix=".json", dir=work, delete=False) as out:
        pass
    command = [str(python), str(WORKER), "--tasks", str(work / "tasks"), "--name", name, "--model", model]
    command += [
        "--shots",
        ",".join(map(str, shots)),
        "--batch",
        str(batch),
        "--threads",
        str(threads),
        "--out",
        out.name,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = json.loads(Path(out.name).read_text(encoding="utf-8"))
    Path(out.name).unlink()
    return found


def ours(loaded: Any, made: Benchmark, shots: int, batch_tokens: int = 1024) -> list[list[float]]:
    """The same from this project."""
    from medsafe_train.models import loglikelihood

    examples = made.shots(shots, 0)
    asked = [question_prompts.ask(loaded.tokenizer, made, q, examples, chat=False) for q in made.questions]
    items = [loglikelihood.Item(str(n), one.context, one.options) for n, one in enumerate(asked)]
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger")
        loglikelihood.score(loaded, items, batch_tokens, ledger, f"ours on {made.name}, {shots}-shot")
        return [ledger.records[item.id]["loglikelihoods"] for item in items]


def choice(values: list[float]) -> int:
    """The likeliest option; of equals, the first."""
    return max(range(len(values)), key=values.__getitem__)


def compare(made: Benchmark, mine: list[list[float]], other: list[list[float]]) -> dict[str, Any]:
    """Accuracies, agreement and the largest difference, and every question that was answered otherwise."""
    answers = [q.answer for q in made.questions]
    right = [
        sum(choice(v) == a for v, a in zip(values, answers, strict=True)) / len(answers) for values in (mine, other)
    ]
    far = [max(abs(a - b) for a, b in zip(one, two, strict=True)) for one, two in zip(mine, other, strict=True)]
    flips = [
        {"question": q.id, "ours": one, "harness": two}
        for q, one, two in zip(made.questions, mine, other, strict=True)
        if choice(one) != choice(two)
    ]
    return {
        "n": len(answers),
        "accuracy_ours": right[0],
        "accuracy_harness": right[1],
        "same_choice": 1 - len(flips) / len(answers),
        "largest_difference": max(far),
        "far": [q.id for q, distance in zip(made.questions, far, strict=True) if distance > CLOSE],
        "flips": flips,
    }


def passed(found: dict[str, Any]) -> bool:
    """Whether a comparison is within the bounds: 0.3 points, 99.5 % and 1e-3."""
    near = abs(found["accuracy_ours"] - found["accuracy_harness"]) <= 0.003
    return near and found["same_choice"] >= 0.995 and found["largest_difference"] <= CLOSE


def rounds(given: argparse.Namespace, python: Path, model: Any) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(benchmark, worked examples, comparison), one by one."""
    from medsafe_train.models.load import load, release

    for name in given.benchmarks.split(","):
        made = benchmark(name, given.data, given.limit)
        write_task(given.work, made)
        other = theirs(python, given.work, model.folder, name, [0, SHOTS], given.batch, given.threads)
        for shots in (0, SHOTS):
            yield name, shots, compare(made, ours(load(model), made, shots), other["values"][str(shots)])
        release()


def main() -> None:
    """Install, ask, compare; exit code 1 where a bound is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="where the environment, the model and the files go")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4, help="the harness's batch size")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--benchmarks", default=",".join(BENCHMARKS))
    given = parser.parse_args()
    given.work = given.work.resolve()
    given.work.mkdir(parents=True, exist_ok=True)
    import torch

    given.threads = given.threads or torch.get_num_threads()
    start, python, model = time.perf_counter(), environment(given.work), model_reference(given.work)
    good = True
    for name, shots, found in rounds(given, python, model):
        good &= passed(found)
        print(
            f"| {name} | {shots} | {found['n']} | {100 * found['accuracy_ours']:.2f} % | {100 * found['accuracy_harness']:.2f} % | "
            f"{100 * found['same_choice']:.2f} % | {found['largest_difference']:.1e} | {'yes' if passed(found) else 'NO'} |",
            flush=True,
        )
        for flip in found["flips"]:
            print(f"  {name} {flip['question']}: ours {flip['ours']}, harness {flip['harness']}")
        if found["far"]:
            print(f"  further apart than {CLOSE}: {', '.join(found['far'])}")
    print(f"in {time.perf_counter() - start:.0f} s; all within the bounds: {'yes' if good else 'NO'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
