"""What in the settings for an OpenAI-compatible server cannot be meant."""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import urlsplit


class Settings(Protocol):
    """What a server is asked by."""

    base_url: str | None
    model: str | None
    api_key_env: str
    concurrency: int
    timeout: float
    max_retries: int
    temperature: float | None
    max_new_tokens: int
    max_total_tokens: int | None


def numbers(s: Settings, at: str) -> list[str]:
    """Which numbers under `at` are out of range; also where no server is asked, as a local model takes some of them."""
    found = []
    for name in ("concurrency", "timeout", "max_new_tokens", "max_total_tokens"):
        value = getattr(s, name)
        if value is not None and not 0 < value < float("inf"):
            found.append(f"{at}.{name}={value} must be above 0")
    for name in ("max_retries", "temperature"):
        value = getattr(s, name)
        if value is not None and not 0 <= value < float("inf"):
            found.append(f"{at}.{name}={value} must not be below 0")
    return found


def wrong(s: Settings, at: str, chosen: str) -> list[str]:
    """What is wrong with the settings under `at`, a sentence each; `chosen` is the choice that needs them."""
    found = []
    if not s.base_url:
        found.append(f"{chosen} needs {at}.base_url=ADDRESS, for example http://localhost:8000/v1")
    # Neither value is repeated: what is wrong with it may be that it holds a secret.
    elif not is_plain_address(s.base_url):
        found.append(
            f"{at}.base_url must be http(s)://HOST/PATH without user, password or query: "
            f"correct it, and put the key into the environment variable that {at}.api_key_env names"
        )
    if not s.model:
        found.append(f"{chosen} needs {at}.model=ID, by which the server knows the model")
    if not re.fullmatch(r"[A-Za-z_]\w*", s.api_key_env):
        found.append(f"{at}.api_key_env must be the name of an environment variable that holds the key, not the key")
    return found


def is_plain_address(address: str) -> bool:
    """Whether an address is http(s)://HOST/PATH and nothing that could carry a secret."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is no port
    except ValueError:
        return False
    plain = not ("@" in parts.netloc or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain
