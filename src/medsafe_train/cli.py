"""The one door: composes the configuration with Hydra, checks it, and hands plain values to the pipeline."""

from __future__ import annotations

import difflib
import errno
import math
import os
import platform
import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medsafe_train import confidential, progress
from medsafe_train.config import Config, Task, UserError, shipped
from medsafe_train.contradictions import contradictions

ENVIRONMENT = {
    # Hydra shortens errors and exits with 1 by itself; the door does both, so it wants the exception.
    "HYDRA_FULL_ERROR": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # A run uses one GPU; shown several, the trainer would try to spread a model over them that is not made for it.
    "CUDA_VISIBLE_DEVICES": "0",
}


def main() -> None:
    """Run the command line; a mistake of the user's ends in one line and exit code 2."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    door = Door()
    try:
        words = [word.partition("=") for word in sys.argv[1:]]
        if problems := confidential.wrong({key: value for key, _, value in words}):
            raise UserError("; ".join(problems))
        register_recipes(sys.argv if {"--help", "-h"} & set(sys.argv) else None)
        hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")(door.run)()
    except Stopped as stopped:  # said already, where it happened
        door.exit_code = max(door.exit_code, stopped.exit_code)
    except UserError as error:
        door.refuse(error)
    except (HydraException, OmegaConfBaseException) as error:
        door.refuse(explain(error))
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if door.opened:
            raise
        door.refuse(
            f"{error.filename or 'outputs'} cannot be written ({error.strerror}): choose another folder with outputs=FOLDER"
        )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    sys.exit(door.exit_code)


class NoSecrets(Callback):
    """Hydra's hook before it writes anything: settings that hold a secret end in one line, and nothing is left behind."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Of a single run."""
        self._look(config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Of a sweep, whose own file would keep them too."""
        self._look(config)

    def _look(self, config: DictConfig) -> None:
        given: Any = OmegaConf.to_container(config, resolve=False)
        if problems := confidential.wrong({key: value for key, value in given.items() if key != "hydra"}):
            Door().refuse("; ".join(problems))
            sys.exit(2)  # any other exception Hydra would turn into a warning


class Trials(Callback):
    """Hydra's hook around the trials of a sweep: a line before each, and after the last how to compare them."""

    swept: list[str] | None = None
    """the settings that vary, as they are typed; unset outside a sweep"""
    number: int | None = None
    """how many trials there are, where that can be told beforehand"""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Remember what varies; launchers take a copy of it to their trials."""
        given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        sweeps = [override for override in given if override.is_sweep_override()]
        self.swept = [override.get_key_element() for override in sweeps]
        if all(one.is_discrete_sweep() and one.value_type != ValueType.GLOB_CHOICE_SWEEP for one in sweeps):
            self.number = math.prod(len(list(override.sweep_string_iterator())) for override in sweeps)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """The trial's number and its values of what varies."""
        if self.swept is None:
            return
        values = [word for word in config.hydra.overrides.task if word.partition("=")[0] in self.swept]
        of = f" of {self.number}" if self.number else ""
        progress.heading(f"trial {config.hydra.job.num + 1}{of}", confidential.redacted(" ".join(values)))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """The command that compares the trials, where two at least have left a report."""
        folder = Path(config.hydra.sweep.dir)
        if config.task is Task.train and len(list(folder.glob("*/report.json"))) > 1:
            command = f"python -m medsafe_train +recipe=compare runs=[{folder}]"
            progress.heading("side by side", confidential.redacted(command))


class Stopped(Exception):
    """A trial in another process was refused or did not pass its gate; what is wrong has been said there."""

    def __init__(self, exit_code: int):
        super().__init__(exit_code)
        self.exit_code = exit_code


class Door:
    """Runs Hydra's jobs and remembers whether one was refused (2) or did not pass its gate (3): in a sweep the others still run."""

    def __init__(self) -> None:
        self.opened = False
        self.exit_code = 0
        self.process = (platform.node(), os.getpid())

    def run(self, composed: DictConfig) -> None:
        """Hydra's task: check the configuration, then run the pipeline in this run's folder."""
        self.opened = True
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            config = strict(composed)
            from medsafe_train import pipeline

            self.exit_code = max(self.exit_code, pipeline.run(config, folder))
        except UserError as error:
            # Raised on, Hydra would print a second line of its own.
            self.refuse(error)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.refuse(
                f"no space left for {error.filename or 'outputs'}: free some; the same command goes on from here"
            )
        except Exception as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, without importing torch for it
                raise
            self.refuse(
                "the GPU's memory does not suffice: lower finetune.per_device_train_batch_size (and raise "
                "finetune.gradient_accumulation_steps), evaluation.batch_tokens or medical_qa.batch_tokens, or set "
                "finetune.gradient_checkpointing=true; the same command goes on from here"
            )
        finally:
            _remove_if_empty(folder)
        # A launcher (joblib, submitit) has a copy of the door elsewhere; only an exception finds its way back.
        if self.exit_code and self.process != (platform.node(), os.getpid()):
            raise Stopped(self.exit_code)

    def refuse(self, why: object) -> None:
        """Say in one line what is wrong."""
        print(f"medsafe_train: {confidential.redacted(' '.join(str(why).split()))}", file=sys.stderr)
        self.exit_code = max(self.exit_code, 2)


def strict(composed: DictConfig) -> Config:
    """The composed configuration as dataclasses; raises UserError, with every mistake found, on what is not meant."""
    given = OmegaConf.to_container(composed, resolve=False)
    problems = [
        f"unknown key {key}{_nearest(key, ['+recipe', *keys(Config)])}" for key in _surplus(given, Config())
    ] + _nested(given)
    if problems:
        raise UserError("; ".join(problems))
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), composed))
    assert isinstance(config, Config)
    problems = contradictions(config)
    if problems:
        raise UserError("; ".join(problems))
    return config


def register_recipes(mentioned: list[str] | None = None) -> None:
    """Make the schema and every file in recipes/ known to Hydra, wherever the working directory is.

    With `mentioned`, only recipes whose name occurs in it are read, the others known by name: for --help, Hydra copies
    everything that is registered once for each name that it lists, which takes a second.
    """
    folder = shipped("recipes")
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(f"no recipes in {folder}: the installation is incomplete, install medsafe_train again")
    OmegaConf.register_new_resolver("options", options, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for file in files:
        wanted = mentioned is None or any(file.stem in word for word in mentioned)
        store.store(group="recipe", name=file.stem, node=OmegaConf.load(file) if wanted else {}, package="_global_")


def options(folder: str) -> str:
    """The names that a folder of recipes/ or conf/ offers."""
    root, _, group = folder.partition("/")
    return ", ".join(sorted(file.stem for file in (shipped(root) / group).glob("*.yaml")))


def keys(schema: Any, prefix: str = "") -> list[str]:
    """All dotted names of a dataclass and the dataclasses in it."""
    values = schema() if isinstance(schema, type) else schema
    found = []
    for field in fields(values):
        found.append(prefix + field.name)
        value = getattr(values, field.name)
        if is_dataclass(value):
            found += keys(value, f"{prefix}{field.name}.")
    return found


def explain(error: Exception) -> str:
    """One line for an error of Hydra's or OmegaConf's, with the nearest names."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options or [])
        return f"unknown {group or 'configuration'} {name!r}{_nearest(name, options)}; there are: {', '.join(sorted(options))}"
    text = " ".join(str(error).split())
    if match := re.search(r"Error parsing override '\+{0,2}([^'=]+)' missing EQUAL", text):
        recipe = (shipped("recipes") / f"{match[1]}.yaml").is_file()
        return f"{match[1]}: write {f'+recipe={match[1]}' if recipe else 'settings as NAME=VALUE, a recipe as +recipe=NAME'}"
    if "No match in the defaults list" in text and (match := re.search(r"override '(\w+)'", text)):
        return f"write +{match[1]}=NAME, with a plus" if match[1] == "recipe" else _unknown(match[1])
    cause = " ".join(str(error.__cause__ or "").split())
    if match := re.search(r"Could not override '([^']+)'|Key '([^']+)' (?:is )?not in", text):
        return _unknown(match[1] or match[2])
    for place in (cause, text):
        if match := re.search(r"(.*?) full_key: (\S+)", place):
            problem = re.sub(r"^Error merging override \S+ ", "", match[1]).rstrip(".")
            if "ListConfig" in problem:
                return f"{match[2]} is a list: write {match[2]}=[VALUE] or {match[2]}=[ONE,OTHER]"
            return f"{match[2]}: {problem}; write {match[2]}=VALUE with a value of that type"
    return text or type(error).__name__


def _unknown(key: str) -> str:
    return f"unknown key {key}{_nearest(key, keys(Config)) or '; see python -m medsafe_train --help'}"


def _nearest(name: str, names: list[str]) -> str:
    """`: did you mean ...?`, looking first beside the name, then everywhere; empty when nothing is near."""
    group, _, leaf = name.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in names if group and other.rpartition(".")[0] == group}
    close = [siblings[near] for near in difflib.get_close_matches(leaf, siblings, n=3, cutoff=0.5)]
    if not close and siblings:
        return f"; {group} has: {', '.join(siblings)}"
    close = close or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if not close:  # the right leaf in the wrong place
        close = [other for other in names if other.rpartition(".")[2] == leaf]
    return f": did you mean {' or '.join(close)}?" if close else ""


def _surplus(given: Any, schema: Any, prefix: str = "") -> list[str]:
    """Dotted names in a composed configuration that the schema does not have."""
    names = {field.name for field in fields(schema)}
    found = [f"{prefix}{key}" for key in given if key not in names]
    for key in names & set(given):
        inner = getattr(schema, key)
        if is_dataclass(inner) and isinstance(given[key], dict):
            found += _surplus(given[key], inner, f"{prefix}{key}.")
    return found


def _nested(given: Any, prefix: str = "") -> list[str]:
    """What is wrong with lists that hold anything but plain values, which OmegaConf lets pass whatever the schema says."""
    if isinstance(given, dict):
        return [problem for key, value in given.items() for problem in _nested(value, f"{prefix}.{key}".strip("."))]
    return [
        f"{prefix} holds {value!r}: a list of plain values is needed, such as names and paths: write [mine.csv]"
        for value in (given if isinstance(given, list) else [])
        if isinstance(value, dict | list)
    ]


def _remove_if_empty(folder: Path) -> None:
    """Take back the run's folder when nothing was written into it: after a typing error, after preflight=true."""
    settings = folder / ".hydra"
    if all(path == settings for path in folder.iterdir()):
        for path in settings.glob("*"):
            path.unlink()
        for empty in (settings, folder, folder.parent):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
