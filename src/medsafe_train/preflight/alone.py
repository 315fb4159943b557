"""What evaluation alone works on: a model that is loaded here or behind a server, and an adapter of it, where one is named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from medsafe_train import endpoint, progress
from medsafe_train.artifacts import Store
from medsafe_train.config import Config, Engine, ModelSettings
from medsafe_train.endpoint import EndpointSettings
from medsafe_train.models import adapter, reference
from medsafe_train.models.arm import Arm, Served
from medsafe_train.models.reference import ModelReference
from medsafe_train.preflight import data as reading
from medsafe_train.preflight import lengths, models, names
from medsafe_train.preflight.data import Data


@dataclass(frozen=True)
class Evaluated:
    """What is measured, and on what."""

    store: Store
    arms: dict[str, Arm | Served]
    """before, and with an adapter after"""
    data: Data
    judges: dict[str, ModelReference] = field(default_factory=dict)
    """what judges load that are models here, by the judge's name"""


def ready(config: Config) -> Evaluated:
    """Check the configuration against this machine, read what is asked, pin the model down or see that its server can be asked.

    Raises UserError for the first thing that is wrong, before anything large is downloaded or computed.
    """
    names.check(config)
    models.check_outputs(Path(config.outputs))
    store, device = Store(Path(config.outputs) / "artifacts"), reference.choose_device(config.device)
    data = reading.read_evaluated(config)
    if config.model.engine is Engine.endpoint:
        arms = served(config.model)
        data = askable(config.model, data)
    else:
        models.check_model(config)
        arms = loaded(config, store, device)
        lengths.check(config, next(arm.base for arm in arms.values() if isinstance(arm, Arm)), data)
    judging = {name: models.judge(config, name, store, device) for name in models.judge_settings(config.judge)}
    lengths.check_judges(config, judging, data.rounds)
    return Evaluated(store, arms, data, judging)


def loaded(config: Config, store: Store, device: str, make: bool = True) -> dict[str, Arm | Served]:
    """The arms that are loaded here; with `make` false, nothing is converted."""
    model = reference.resolve(store, config.model, device, config.seed, make)
    found: dict[str, Arm | Served] = {"before": Arm(model)}
    if config.model.adapter:
        found["after"] = Arm(model, adapter.existing(config.model.adapter, model))
    return found


def served(m: ModelSettings) -> dict[str, Arm | Served]:
    """The arms behind a server. Raises UserError where it cannot be asked."""
    assert m.path is not None and m.base_url is not None
    server = EndpointSettings(
        setting="model", base_url=m.base_url, model=m.path, api_key_env=m.api_key_env, concurrency=m.concurrency,
        timeout=m.timeout, max_retries=m.max_retries, temperature=m.temperature, max_new_tokens=0,
        max_total_tokens=m.max_total_tokens, evaluated=True,
    )  # fmt: skip
    endpoint.check(server)
    found: dict[str, Arm | Served] = {"before": Served(server, system_prompt=m.system_prompt)}
    if m.adapter:
        found["after"] = Served(replace(server, model=m.adapter), True, m.system_prompt)
    return found


def askable(m: ModelSettings, data: Data) -> Data:
    """The data without what a server cannot be asked, which is said: log-likelihoods, and answers that are begun for the model."""
    if data.benchmarks:
        left = ", ".join(benchmark.name for benchmark in data.benchmarks)
        progress.say(f"left out, as questions are asked by log-likelihood, which takes model.engine=local: {left}")
    begun = [asked.name for asked in data.rounds if asked.begins and not m.continues]
    if begun:
        progress.say(
            f"left out, as the server is not said to go on with a begun answer (model.continues=true): {', '.join(begun)}"
        )
    return replace(data, benchmarks=[], rounds=[asked for asked in data.rounds if asked.name not in begun])
