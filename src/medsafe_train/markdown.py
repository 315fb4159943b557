"""Text of strangers, shown to people: what a model or a data file wrote must not act in a page or a terminal."""

from __future__ import annotations

import html
import re


def line(text: str, length: int) -> str:
    """Hostile text as one line of at most `length` characters: no control or direction marks, no line breaks."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", "", text).strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def inert(text: str) -> str:
    """Text that means nothing to a Markdown or HTML reader: no tag, link, image, code, table or list comes of it."""
    text = re.sub(r"([\\`*_{}\[\]()#+!|~>$-])", r"\\\1", html.escape(text, quote=False).replace("&gt;", ">"))
    return text.replace("://", ":\u200b//").replace("www.", "www\u200b.").replace("@", "@\u200b")
