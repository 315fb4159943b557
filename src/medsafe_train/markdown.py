"""Text of strangers, shown to people: what a model or a data file wrote must not act in a page, a terminal or a spreadsheet."""

from __future__ import annotations

import html
import re

# Control characters but tab and line feed, and marks that steer a text's direction or breaks without being seen.
HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def line(text: str, length: int) -> str:
    """Hostile text as one line of at most `length` characters: no control or direction marks, no line breaks."""
    text = HIDDEN.sub("", re.sub(r"\s+", " ", text)).strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def visible(text: str) -> str:
    """Text without control and direction marks, its lines kept."""
    return HIDDEN.sub("", re.sub(r"\r\n?|[\u0085\u2028\u2029]", "\n", text))


def inert(text: str) -> str:
    """Text that means nothing to a Markdown or HTML reader: no tag, link, image, code, table or list comes of it."""
    text = re.sub(r"([\\`*_{}\[\]()#+!|~>$-])", r"\\\1", html.escape(text, quote=False).replace("&gt;", ">"))
    return text.replace("://", ":\u200b//").replace("www.", "www\u200b.").replace("@", "@\u200b")


def cell(text: str) -> str:
    """Text for a CSV file that no spreadsheet takes for a formula, and no terminal for a command.

    An apostrophe before what begins like a formula is what spreadsheets themselves write for "this is text" (OWASP, CSV
    injection).
    """
    text = visible(text)
    formula = text.lstrip()[:1] in {"=", "+", "-", "@", "＝", "＋", "－", "＠"} or text[:1] in {"\t", "\n"}
    return f"'{text}" if formula else text
