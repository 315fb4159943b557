"""Who writes a safe response to a harmful request."""

from collections.abc import Callable

from medsafe_train.sources.prompt_sets import Prompt
from medsafe_train.teachers import template

# name → (version, function from requests and seed to safe responses in the same order)
TEACHERS: dict[str, tuple[int, Callable[[list[Prompt], int], list[str]]]] = {
    "template": (template.VERSION, template.write),
}
