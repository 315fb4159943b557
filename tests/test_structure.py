"""How the source hangs together: imports point one way, and what must not be there is not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medsafe_train

PACKAGE = Path(medsafe_train.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room and its height; a file imports only from lower rooms, or from its own where OWN says so.
HEIGHT = {
    "config": 0,
    "contradictions": 1,
    "prompts": 1, "question_prompts": 1, "address": 1, "endpoint": 1, "replies": 1, "artifacts": 1, "statistics": 1, "repeated": 1, "measured": 1, "agreement": 1, "progress": 1, "energy": 1, "principles": 1, "markdown": 1, "confidential": 1,
    "pages": 2,
    "teachers": 2, "judges": 2, "models": 2, "sources": 2, "quality": 2, "attacks": 2, "evidence": 2,
    "stages": 3, "comparison": 3, "report_page": 3, "publish": 3,
    "preflight": 4, "plan": 4, "provenance": 4, "tracking": 4, "pipeline": 4,
    "cli": 5,
    "__main__": 6,
}  # fmt: skip
# Rooms of one height that may know each other. What shapes a question takes the type it shapes.
OWN = {
    (room, room)
    for room in (
        "contradictions",
        "teachers",
        "judges",
        "models",
        "sources",
        "quality",
        "attacks",
        "evidence",
        "comparison",
        "preflight",
        "plan",
        "report_page",
    )
}
OWN |= {
    ("teachers", "sources"),
    ("teachers", "models"),
    ("quality", "judges"),
    ("attacks", "sources"),
    ("evidence", "attacks"),
    ("evidence", "judges"),
    ("evidence", "sources"),
    ("evidence", "judges"),
    ("judges", "models"),
    ("judges", "quality.coherence"),
    ("evidence", "quality"),
    ("question_prompts", "prompts"),
    ("question_prompts", "artifacts"),
    ("question_prompts", "sources.questions"),
    ("question_prompts", "sources.question_rows"),
}
OWN |= {("publish", "publish"), ("publish", "report_page")}
OWN |= {("repeated", "statistics"), ("replies", "prompts"), ("artifacts", "progress"), ("progress", "energy")}
OWN |= {("endpoint", beside) for beside in ("address", "artifacts", "progress", "prompts", "replies")}
OWN |= {("pipeline", beside) for beside in ("preflight", "plan", "provenance", "tracking")}
OWN |= {("plan", "preflight"), ("provenance", "preflight"), ("tracking", "provenance")}


def module_of(path):
    """The dotted name below the package, `` for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imports(tree):
    """(line, dotted name) of everything imported, at the top or inside functions; `from a import b` gives a.b too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own_imports(path):
    """(line, module below the package) of what a file imports from the package."""
    for line, name in imports(ast.parse(path.read_text("utf-8"))):
        root, _, rest = name.partition(".")
        if root == "medsafe_train" and rest:
            yield line, rest if rest in MODULES else rest.rpartition(".")[0]


def allowed(importer, imported):
    """Whether a module may import another."""
    one, other = importer.partition(".")[0], imported.partition(".")[0]
    return HEIGHT[other] < HEIGHT[one] or (one, other) in OWN or (one, imported) in OWN


def test_the_rule_itself_can_say_no():
    assert allowed("stages.report", "statistics") and allowed("question_prompts", "sources.questions")
    assert not allowed("stages.report", "stages.finetune")
    assert not allowed("prompts", "sources.read")
    assert not allowed("models.load", "stages.finetune") and not allowed("judges.estimate", "quality.gate")
    assert not allowed("config", "artifacts") and not allowed("pipeline", "cli")


def test_every_module_has_a_place():
    assert len(FILES) > 25
    assert {module.partition(".")[0] for module in MODULES} - {""} <= set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) or "medsafe_train" for path in FILES])
def test_imports_point_one_way(path):
    module = module_of(path)
    wrong = [(line, other) for line, other in own_imports(path) if other and not allowed(module, other)]
    assert wrong == []


def users(library):
    """The files that import a library."""
    found = set()
    for path in FILES:
        names = {name.partition(".")[0] for _, name in imports(ast.parse(path.read_text("utf-8")))}
        if library in names:
            found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_only_the_door_imports_hydra():
    assert users("hydra") == {"cli.py"}


def test_only_tracking_imports_wandb():
    assert users("wandb") == {"tracking.py"}


def test_only_the_endpoint_imports_openai():
    assert users("openai") == {"endpoint.py"}


def test_nothing_imports_pickle_or_what_wraps_it():
    for library in ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"):
        assert users(library) == set(), library


def test_no_drawer_for_odds_and_ends():
    stems = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    assert not stems & {"utils", "util", "common", "helpers", "helper", "misc"}


def calls(tree):
    """All calls of a file."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) or "medsafe_train" for path in FILES])
def test_no_remote_code_and_no_unsafe_loading(path):
    tree = ast.parse(path.read_text("utf-8"))
    for call in calls(tree):
        for keyword in call.keywords:
            value = getattr(keyword.value, "value", ...)
            # `...`: not written as True or False, so it could be turned on from outside
            assert not (keyword.arg == "trust_remote_code" and value is not False), call.lineno
            assert not (keyword.arg == "weights_only" and value is not True), call.lineno
        assert not (isinstance(call.func, ast.Name) and call.func.id in ("eval", "exec")), call.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                named = getattr(key, "value", None) == "trust_remote_code"
                assert not (named and getattr(value, "value", ...) is not False), node.lineno


@pytest.mark.parametrize("module", ["medsafe_train.cli", "medsafe_train.config"])
def test_the_door_is_light(module):
    """An error in the settings comes before the seconds that torch takes."""
    code = (
        f"import sys, {module}\n"
        "heavy = ('torch', 'transformers', 'trl', 'peft', 'datasets', 'wandb', 'scipy', 'statsmodels', 'openai')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def public(tree, prefix=""):
    """Public functions, classes and their public methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


def one_statement(name, node):
    """Whether a definition is a method of one statement, which its name says whole."""
    return "." in name and isinstance(node, ast.FunctionDef) and len(node.body) == 1


@pytest.mark.parametrize("path", FILES, ids=[module_of(path) or "medsafe_train" for path in FILES])
def test_public_names_have_a_docstring(path):
    tree = ast.parse(path.read_text("utf-8"))
    if path.name != "__main__.py":
        assert ast.get_docstring(tree), "the file has no docstring"
    bare = [
        f"{path.name}:{node.lineno} {name}"
        for name, node in public(tree)
        if not ast.get_docstring(node) and not one_statement(name, node)
    ]
    assert bare == []


def test_every_setting_has_a_line_under_it_or_the_librarys_own_name():
    """Fields of our own are explained; those that pass on to PEFT and TRL keep their documented names."""
    tree = ast.parse((PACKAGE / "config.py").read_text("utf-8"))
    bare = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name in ("Config", "FinetuneSettings"):
            continue
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                bare += [] if explained else [f"{node.name}.{field.target.id}"]
    assert set(bare) <= {"DemonstrationsSettings.teacher", "TrackingSettings.project"}
