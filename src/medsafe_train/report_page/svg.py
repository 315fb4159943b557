"""Matplotlib figures as SVG that lies inside a page: coloured by the page's CSS variables, without inline styles, the same bytes every time."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Colours that matplotlib is given and that no plot has otherwise; the page says what they are, in light and in dark.
COLOURS = {
    name: f"#0a01{number:02x}"
    for number, name in enumerate(
        ("ink", "muted", "line", "paper", "before", "after", "score-1", "score-2", "score-3", "score-4", "score-5")
    )
}
# A name such as `$x$` is text, never a formula; fonts come with matplotlib, so that a plot is laid out alike everywhere.
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "medsafe_train",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def drawn(figure: Figure, name: str, label: str) -> str:
    """The figure as one `<svg>` element; `name` keeps its ids apart from other plots', `label` is read aloud."""
    file = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    used = set(re.findall(r"#([\w.-]+)", " ".join(value for node in root.iter() for value in node.attrib.values())))
    for node in root.iter():
        _mend(node, name, used)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("class", "plot")
    ElementTree.register_namespace("", SVG)
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
    return re.sub(r"\s*\n\s*", "\n", text)


def _mend(node: ElementTree.Element, name: str, used: set[str]) -> None:
    """Styles become attributes, which a page's security policy allows; ids that nothing refers to go."""
    for declaration in node.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":  # `font: 700 10px 'DejaVu Sans', …`: the family is the page's
            size = re.search(r"([\d.]+)px", value)
            node.attrib |= {"font-size": size[1]} if size else {}
            node.attrib |= {"font-weight": "600"} if re.search(r"\b(bold|[67]00)\b", value) else {}
        elif key:
            node.set(key, value)
    if (id := node.attrib.pop("id", None)) in used:
        node.set("id", f"{name}-{id}")
    if link := node.attrib.pop(f"{{{XLINK}}}href", None):
        node.set("href", f"#{name}-{link[1:]}")
    for key, value in node.attrib.items():
        value = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value)
        for colour, written in COLOURS.items():
            value = value.replace(written, f"var(--{colour})")
        node.set(key, value)
    if node.text and not node.text.strip():
        node.text = None
    if node.tail and not node.tail.strip():
        node.tail = "\n"
