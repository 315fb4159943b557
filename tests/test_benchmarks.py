"""The benchmark's ways of training, each for two timed updates on a tiny Llama: equal where they must be. No timing is asserted."""

import dataclasses
import math
import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import generation_speed
import killed
import training_methods
import training_speed
from training_methods import Job, Mark

METHODS = ("ours", "trl", "paper")


@pytest.fixture
def job(reference):
    rows = [
        {"id": f"{n}", "request": f"Request number {n}, please.", "response": "I can't help with that." + " More." * n,
         "kind": "safe", "principle": 1, "source": "test"}
        for n in range(12)
    ]  # fmt: skip
    return Job(reference, training_speed.settings_for("tiny", rows=8), rows[:8], rows[8:])


def test_every_method_trains_the_same_weights_on_the_same_rows(job, tmp_path):
    path = tmp_path / "job.json"
    job.write(path)
    assert Job.read(path) == job
    found = {method: training_methods.work(method, Job.read(path), tmp_path / method) for method in METHODS}
    before = training_methods.heldout_loss(job, None)
    for method, seen in found.items():
        assert seen["updates"] == training_methods.SKIPPED + 2, method
        assert seen["examples"] == 8 and seen["time"] > 0 and seen["examples"] / seen["time"] > 0, method
        assert 0 < seen["loss_tokens"] < seen["tokens"] <= seen["padded"], method
        assert math.isfinite(seen["heldout"]) and seen["heldout"] < before, method
    assert len({seen["trainable"] for seen in found.values()}) == 1
    assert found["ours"]["trainable"] == training_speed.weights(job.reference.folder, job.settings).adapter
    assert len({seen["rows"] for seen in found.values()}) == 1
    assert found["paper"]["loss_tokens"] > found["ours"]["loss_tokens"] == found["trl"]["loss_tokens"]
    assert abs(found["ours"]["heldout"] / found["trl"]["heldout"] - 1) < 0.02


def test_the_paper_may_have_its_own_weights_and_nobody_else(job):
    own = dataclasses.replace(job, paper_weights=True)
    assert own.settings_of("paper").target_modules == ["q_proj", "v_proj"]
    assert own.settings_of("ours") == own.settings_of("trl") == job.settings_of("paper") == job.settings


def test_work_is_counted_from_the_first_adapted_layer(reference, job):
    # Width 64, 2 key heads of 16, inner width 128: q and o 4,096 each, k and v 2,048 each, the other three 8,192 each.
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    counted = training_speed.weights(reference.folder, job.settings)
    assert (counted.layers, counted.upper) == (2 * layer, layer)
    everywhere = dataclasses.replace(job.settings, layers_to_transform=None)
    assert training_speed.weights(reference.folder, everywhere).upper == 2 * layer
    more = counted.work(10, 4) - counted.work(10, 3)
    assert more == 4 * counted.head
    assert counted.work(1, 0) == 2 * 2 * layer + 2 * layer + 6 * counted.adapter


def test_the_verdict_turns_on_the_loss_and_the_ratio_on_the_better_rival(job):
    def results(ours, trl, paper):
        speeds = {"ours": ours, "trl": trl, "paper": paper}
        return {method: dataclasses.asdict(Mark(time=1.0, tokens=speed)) for method, speed in speeds.items()}

    assert training_speed.ratios([results(30, 10, 15), results(30, 20, 15)], ["trl", "paper"]) == [2.0, 1.5]
    good = training_speed.verdict({"ours": {"heldout": 1.01}, "trl": {"heldout": 1.0}}, [1.5], 2.0)
    bad = training_speed.verdict({"ours": {"heldout": 1.03}, "trl": {"heldout": 1.0}}, [1.5], 2.0)
    assert "counts" in good and "DOES NOT COUNT" in bad


def test_every_way_of_answering_gives_the_same_answers(reference):
    from medsafe_train.models import load

    asked = generation_speed.requests(None, 9)
    assert len({prompt.principle for prompt in asked}) == 9
    mine, theirs = load.load(reference), generation_speed.theirs_of(reference)
    ours = generation_speed.ours(mine, asked, 6, 300, reference.prompt)
    for size in (1, 4):
        plain = generation_speed.plain(theirs, asked, 6, size, reference.prompt)
        assert list(plain) == [prompt.id for prompt in asked] and generation_speed.identical(ours, plain) == 1.0
    assert any(ours.values())
    first = next(iter(ours))
    assert generation_speed.identical({**ours, first: "other"}, ours) == pytest.approx(8 / 9)


def test_the_section_says_how_many_times_as_fast(reference):
    options = generation_speed.parse(["--model", "tiny-random"])
    rounds = [{"ours": 80.0, "loop": 10.0, "batch": 40.0}, {"ours": 90.0, "loop": 10.0, "batch": 30.0}]
    answers = {"loop": {"a": "x", "b": "y"}, "ours": {"a": "x", "b": "z"}, "batch": {"a": "x", "b": "y"}}
    told = generation_speed.section(options, reference, rounds, answers, {"float32": 0.0, "bfloat16": 0.125})
    assert "| ours | 85.00 | – | 50.0% |" in told and "| loop | 10.00 | 8.50 (8.00 to 9.00) | 100.0% |" in told
    assert (
        "2.50 (2.00 to 3.00)" in told and "0.0% in float32, 12.5% in bfloat16" in told and reference.folder not in told
    )


def test_killed_while_it_answers_or_judges_it_ends_with_the_same_bytes(tmp_path):
    times, ended, different = killed.compare(2, 1, tmp_path)
    assert (times, different) == (2, []) and ended >= 1
    # The comparison can tell: one byte of one verdict.
    file = next((tmp_path / "killed-0" / "artifacts" / "verdicts").glob("*/verdicts.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"outcome", b"Outcome", 1))
    assert killed.contents(tmp_path / "killed-0") != killed.contents(tmp_path / "undisturbed")
