"""Is a model behind a server the model that is loaded here? The same evaluation both ways, against `transformers serve`.

    python benchmarks/served_parity.py --data FOLDER             # SmolLM2, 108 requests of MedSafetyBench, plainly and role-played

The stages of an evaluation run with model.engine=local and with model.engine=endpoint; the share of answers that are the same text,
and of the same finish reasons, is printed. Both compute in float32 with the same attention; what differs is who shapes the prompt,
who cuts the answer, and what an answer is batched with. Exit code 1 under 98 %.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training_speed import SMOLLM2

from medsafe_train import progress
from medsafe_train.artifacts import Store
from medsafe_train.attacks import rounds as asking
from medsafe_train.config import Dtype, EvaluationSettings, ModelSettings
from medsafe_train.models import load
from medsafe_train.models import reference as references
from medsafe_train.models.arm import Arm
from medsafe_train.preflight import alone
from medsafe_train.sources import prompt_sets
from medsafe_train.stages import responses

ENOUGH = 0.98


@contextmanager
def served(folder: str) -> Iterator[str]:
    """The address of `transformers serve` with a model on the CPU, in float32."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        folder,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    more = ["--device", "cpu", "--dtype", "float32", "--attn-implementation", "eager"]
    server = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if server.poll() is not None:
                sys.exit("served_parity: transformers serve ended by itself: pip install medsafe_train[serve]")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Evaluate both ways and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder with the published data sets; without it, the project's own requests")
    parser.add_argument("--requests", type=int, default=108, help="a half of them role-played too")
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--model", default=SMOLLM2)
    parser.add_argument("--outputs", default="outputs")
    options = parser.parse_args()
    store = Store(Path(options.outputs) / "artifacts")
    model = references.resolve(store, ModelSettings(path=options.model, dtype=Dtype.float32), "cpu", 0)
    name = "medsafetybench" if options.data else "harmful_requests"
    sets = [prompt_sets.limited(prompt_sets.load(name, "harmful", "test", options.data), options.requests)]
    settings = EvaluationSettings(
        attacks=["role_play"],
        attack_limit=options.requests // 2,
        safety_prompt=False,
        max_new_tokens=options.length,
        batch_tokens=12288,
    )
    same, ends, number = 0, 0, 0
    local = {a.name: responses.run(store, settings, a, Arm(model)) for a in asking.rounds(settings, sets)}
    load.release()
    with served(model.folder) as url:
        # One at a time: this server batches nothing on a CPU.
        remote = ModelSettings(path=model.folder, base_url=url, concurrency=1, system_prompt=model.system_prompt)
        for asked in asking.rounds(settings, sets):
            there = responses.run(store, settings, asked, alone.served(remote)["before"])
            pairs = list(
                zip(local[asked.name].records("responses.jsonl"), there.records("responses.jsonl"), strict=True)
            )
            same += sum(one["response"] == other["response"] for one, other in pairs)
            ends += sum(one["finish_reason"] == other["finish_reason"] for one, other in pairs)
            number += len(pairs)
            for one, other in pairs:
                if one["response"] != other["response"]:
                    progress.say(
                        f"{asked.name} {one['id']}:\n  local  {one['response']!r}\n  server {other['response']!r}"
                    )
    print(f"{same} of {number} answers are the same text ({same / number:.1%}), {ends / number:.1%} end the same way")
    sys.exit(same < ENOUGH * number)


if __name__ == "__main__":
    main()
