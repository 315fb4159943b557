"""Settings that hold a secret: refused before anything is written, as settings go into every run's files and into W&B."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

# Environment variables by whose name their value is a secret, and from which length on a value can be told from a word.
NAMED = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
LENGTH = 8
# What keys look like that are given out today. Forty hex digits are not among them: that is what a commit looks like too.
LOOKS = re.compile(
    r"""
    \b sk-[A-Za-z0-9_-]{16,}                              # OpenAI and its like
    | \b hf_[A-Za-z0-9]{16,}                              # Hugging Face
    | \b wandb_v\d_[A-Za-z0-9_]{16,} | \b local-[0-9a-f]{40}\b  # W&B
    | \b (?: ghp | gho | ghs | ghu )_[A-Za-z0-9]{20,} | \b github_pat_\w{20,} | \b glpat-[\w-]{16,}
    | \b AKIA[0-9A-Z]{16}\b | \b AIza[\w-]{30,} | \b xox[abprs]-[\w-]{10,}
    | \b eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.                     # a JSON web token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY
    | \bBearer\ +[\w.~+/-]{16,}
    """,
    re.VERBOSE,
)
USER_IN_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@]+@", re.IGNORECASE)


def wrong(settings: Any) -> list[str]:
    """A sentence for each setting that holds a secret, by its dotted name and without its value."""
    held = environment(os.environ)
    found = []
    for key, text in texts(settings):
        if (what := secret(text, held)) is not None:
            found.append(
                f"{key} holds {what}, and settings are kept in every run's files: take it out, and put keys into environment "
                "variables (OPENAI_API_KEY, HF_TOKEN, WANDB_API_KEY)"
            )
    return found


def secret(text: str, held: Mapping[str, str]) -> str | None:
    """What secret is in a text, in words, or None; `held` are secret values of the environment by name."""
    for name, value in held.items():
        if value in text:
            return f"the value of the environment variable {name}"
    if USER_IN_ADDRESS.search(text):
        return "an address with a user or password in it"
    return "what looks like a key" if LOOKS.search(text) else None


def redacted(text: str) -> str:
    """A text for people, without the secrets in it."""
    for value in environment(os.environ).values():
        text = text.replace(value, "[secret]")
    return LOOKS.sub("[secret]", USER_IN_ADDRESS.sub("[secret]@", text))


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment's secrets by the name of their variable."""
    return {name: value for name, value in variables.items() if NAMED.search(name) and len(value) >= LENGTH}


def texts(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted name, text) of every string in nested settings, names of keys included."""
    if isinstance(settings, Mapping):
        keys = [(prefix or "settings", str(key)) for key in settings]
        return keys + [
            pair for key, value in settings.items() for pair in texts(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(settings, list | tuple):
        return [pair for value in settings for pair in texts(value, prefix)]
    return [(prefix, settings)] if isinstance(settings, str) else []
