"""Sweeps: the commands that W&B's agent would run, Hydra's own multirun with the same trials, and its launchers."""

import itertools
import json
import re
import shlex

import pytest
from omegaconf import OmegaConf

from medsafe_train.config import shipped
from tests.conftest import ROOT, run_process
from tests.test_recipes import config_of

FOLDER = shipped("recipes") / "sweeps"
SWEEPS = sorted(file.stem for file in FOLDER.glob("*.yaml"))


def sweep_of(name):
    return OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))


def values_of(parameter):
    """The values of a parameter; of a distribution its ends and what lies between."""
    if "distribution" in parameter:
        low, high = parameter["min"], parameter["max"]
        return [low, (low * high) ** 0.5 if "log" in parameter["distribution"] else (low + high) / 2, high]
    return parameter.get("values", [parameter.get("value")])


def trials_of(sweep):
    """Every combination of values, as W&B would hand it over."""
    options = {key: values_of(parameter) for key, parameter in sweep["parameters"].items()}
    return [dict(zip(options, trial, strict=True)) for trial in itertools.product(*options.values())]


def rendered(sweep, trial):
    """The arguments that an agent calls us with, rendered by wandb itself."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    given = create_sweep_command_args({"args": {key: {"value": value} for key, value in trial.items()}})
    words = [given["args_no_hyphens"] if word == "${args_no_hyphens}" else [word] for word in sweep["command"]]
    return [word for group in words for word in group]


def composed(arguments):
    """The configuration that an agent's or multirun's arguments give."""
    (recipe,) = (word.partition("=")[2] for word in arguments if word.startswith("+recipe="))
    return config_of(recipe, *(word for word in arguments if "=" in word and not word.startswith("+recipe=")))


def test_the_sweeps_are_there():
    assert {"dose_response", "lora_grid", "mix_bayes"} <= set(SWEEPS)
    assert {sweep_of(name)["method"] for name in SWEEPS} == {"grid", "bayes"}
    swept = {key for name in SWEEPS for key in sweep_of(name)["parameters"]}
    assert {"finetune.r", "finetune.learning_rate", "finetune.mix.replay", "demonstrations.limit"} <= swept


@pytest.mark.parametrize("name", SWEEPS)
def test_every_trial_of_a_sweep_composes(name):
    sweep = sweep_of(name)
    trials = trials_of(sweep)
    assert len(trials) > 1 and sweep["program"] == "medsafe_train"
    for trial in trials[:: max(1, len(trials) // 6)]:
        arguments = rendered(sweep, trial)
        assert arguments[:4] == ["${env}", "${interpreter}", "-m", "medsafe_train"]
        config = composed(arguments[4:])
        assert config.tracking.mode.value == "online"
        for key, value in trial.items():
            found = config
            for part in key.split("."):
                found = getattr(found, part)
            assert found == (OmegaConf.create(value) if isinstance(value, str) and value[0] == "[" else value), key


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweeps_first_line_is_its_command(name):
    first = (FOLDER / f"{name}.yaml").read_text().splitlines()[0]
    assert first == f"# wandb sweep --project medsafe_train recipes/sweeps/{name}.yaml"


def test_what_a_sweep_chooses_by_is_no_figure_of_the_report():
    """Test items that choose would flatter what they choose; the dose-response grid chooses nothing."""
    for name in set(SWEEPS) - {"dose_response"}:
        assert sweep_of(name)["metric"] == {"name": "validation/youden", "goal": "maximize"}


def multirun(overrides):
    """The trials that Hydra's own sweeper makes of a command line."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(overrides)
    return [trial for batch in BasicSweeper.split_arguments(parsed, max_batch_size=None) for trial in batch]


def test_multirun_gives_the_same_trials_without_wandb():
    """The command in the grid's third line, taken apart by Hydra."""
    text = (FOLDER / "lora_grid.yaml").read_text()
    command = re.search(r"python -m medsafe_train --multirun (.+)", text)[1]
    here = [vars(composed(trial).finetune) | {"seed": composed(trial).seed} for trial in multirun(shlex.split(command))]
    sweep = sweep_of("lora_grid")
    agents = [composed(rendered(sweep, trial)[4:]) for trial in trials_of(sweep)]
    agents = [vars(config.finetune) | {"seed": config.seed} for config in agents]
    assert len(here) == len(agents) == 27
    assert sorted(map(repr, here)) == sorted(map(repr, agents))


@pytest.mark.parametrize(
    ("launcher", "settings", "shown"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"], "n_jobs: 2"),
        ("submitit_slurm", ["hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1"], "partition: gpu"),
    ],
)
def test_launchers_compose(cli, launcher, settings, shown):
    pytest.importorskip(
        f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher", reason="pip install medsafe_train[launchers]"
    )
    line = [f"hydra/launcher={launcher}", *settings]
    code, out, err = cli("--cfg", "hydra", "+recipe=quickstart", "finetune.r=8", *line)
    assert code == 0, err
    assert f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher" in out and shown in out


def test_trials_in_parallel_share_what_they_have_in_common(tmp_path):
    """Two processes of joblib's at once: the demonstrations are made once, and a refused trial is not lost."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install medsafe_train[launchers]")
    done = run_process("--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "+recipe=smoke", "finetune.merge=false",
                       "finetune.r=2,0,4", f"outputs={tmp_path}", env={"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 2 and "finetune.r=0 must be above 0" in done.stderr, done.stderr
    reports = sorted(tmp_path.glob("sweeps/*/*/report.json"))
    assert [json.loads(path.read_text())["settings"]["finetune"]["r"] for path in reports] == [2, 4]
    made = lambda kind: [p for p in (tmp_path / "artifacts" / kind).iterdir() if not p.name.startswith(".")]  # noqa: E731
    assert len(made("demonstrations")) == 1 and len(made("finetune")) == 2


def test_each_trial_has_a_heading_and_the_last_a_way_to_compare(cli, monkeypatch, tmp_path):
    from medsafe_train import pipeline

    def finished(config, folder):
        print(f"running r={config.finetune.r}")
        (folder / "report.json").write_text("{}")
        return 0

    monkeypatch.setattr(pipeline, "run", finished)
    monkeypatch.setenv("SOME_API_KEY", "a-long-secret-value")
    arguments = ["--multirun", "+recipe=smoke", "finetune.r=2,4", "seed=range(0,2)", f"outputs={tmp_path / 'o'}"]
    code, out, err = cli(*arguments)
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith(("trial", "running"))]
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "trial 1 of 4 finetune.r=2 seed=0", "running r=2", "trial 2 of 4 finetune.r=2 seed=1"]  # fmt: skip
    (sweep,) = (tmp_path / "o" / "sweeps").iterdir()
    assert out.rstrip().endswith(f"python -m medsafe_train +recipe=compare runs=[{sweep}]")
    assert "warning" not in out + err.lower() and "secret" not in out
    _, out, _ = cli("+recipe=smoke", f"outputs={tmp_path / 'one'}")
    assert "trial" not in out and "recipe=compare" not in out
    _, out, _ = cli("--multirun", "+recipe=evaluate", "model=tiny", "seed=0,1", f"outputs={tmp_path / 'e'}")
    assert "trial 2 of 2" in out and "recipe=compare" not in out


def test_the_readme_says_how_trials_run_in_parallel():
    text = (ROOT / "README.md").read_text()
    assert "hydra/launcher=joblib" in text and "hydra/launcher=submitit_slurm" in text and "[launchers]" in text
