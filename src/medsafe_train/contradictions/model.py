"""What in the settings of a model that is only measured, here or behind a server, cannot be meant."""

from __future__ import annotations

from types import SimpleNamespace

from medsafe_train.config import Config, Engine, Task
from medsafe_train.contradictions import server


def wrong(config: Config) -> list[str]:
    """What is wrong, a sentence each with the next step."""
    m, alone = config.model, config.task is Task.evaluate
    remote = m.engine is Engine.endpoint
    rules = [
        (alone or not remote, "model.engine=endpoint: a model behind a server is only measured: add task=evaluate or +recipe=evaluate"),
        (alone or not m.adapter, f"model.adapter={m.adapter}: an existing adapter is only measured: add task=evaluate or +recipe=evaluate"),
        (remote or not m.base_url, "model.base_url is set, but the model is loaded here: add model.engine=endpoint"),
        (remote or not m.continues, "model.continues=true is about a server: add model.engine=endpoint"),
        (not remote or not m.revision, f"model.revision={m.revision} means nothing to a server: leave it out"),
        (not remote or m.adapter != m.path, f"model.adapter={m.adapter} is the base model's own id: give the fine-tuned one's"),
    ]  # fmt: skip
    found = [text for good, text in rules if not good]
    if remote:
        asked = SimpleNamespace(base_url=m.base_url, model=m.path, api_key_env=m.api_key_env)
        found += [
            text.replace("model.model=", "model.path=") for text in server.wrong(asked, "model", "engine=endpoint")
        ]
    above = {name: getattr(m, name) for name in ("concurrency", "timeout", "max_total_tokens")}
    found += [
        f"model.{name}={value} must be above 0" for name, value in above.items() if value is not None and not value > 0
    ]
    below = {name: getattr(m, name) for name in ("max_retries", "temperature")}
    return found + [
        f"model.{name}={value} must not be below 0" for name, value in below.items() if value is not None and value < 0
    ]
