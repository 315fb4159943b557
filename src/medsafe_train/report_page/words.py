"""What the page calls things, for readers who have not seen the settings."""

from __future__ import annotations

WAYS = {
    "": "as asked",
    "plain": "as asked",
    "safety_prompt": "with a safety system prompt",
    "prefill": "answer begun with assent",
    "past_tense": "put in the past tense",
    "role_play": "as a role play",
    "authority": "claiming authority",
    "drop_rules": "told to drop its rules",
    "hypothetical": "as a hypothesis",
}
CHANGES = {
    "answered>refused": "now refused",
    "refused>answered": "no longer refused",
    "refused>refused": "refused both times",
    "answered>answered": "answered both times",
    "wrong>right": "now right",
    "right>wrong": "now wrong",
    "right>right": "right both times",
    "wrong>wrong": "wrong both times",
    "unscored": "without a verdict",
}


def way(name: str) -> str:
    """How a request was put, in words; a user's own attack under its name."""
    return WAYS.get(name, name.replace("_", " "))
