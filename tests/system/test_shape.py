"""How the code looks: lengths, names, nothing left for later. `make lint` has the rest."""

import ast
import re

import pytest

LONG_FILES: dict[str, str] = {}
"""File → why it holds one noun all the same."""

LONG_FUNCTIONS: dict[str, str] = {}
"""``file:function`` → why it reads better whole."""

VAGUE = {"utils", "util", "helpers", "helper", "manager", "base", "core", "common", "misc"}


def test_no_file_is_longer_than_350_lines(sources, scripts):
    long = {s.name: s.text.count("\n") for s in sources + scripts}
    assert len(long) > 200
    assert {name: n for name, n in long.items() if n > 350 and name not in LONG_FILES} == {}


def test_no_function_is_longer_than_60_lines(sources, scripts):
    long = {
        f"{s.name}:{node.name}": node.end_lineno - node.lineno + 1
        for s in sources + scripts
        for node in ast.walk(s.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(long) > 1000
    assert {k: n for k, n in long.items() if n > 60 and k not in LONG_FUNCTIONS} == {}


def test_every_suppression_says_why(sources, scripts):
    """On its line, or in a comment right above it."""
    bare = re.compile(
        r"#\s*(type: ignore|noqa)(\[[\w, -]+\]|: *[A-Z]+\d+(, *[A-Z]+\d+)*)?\s*$"
    )
    strays = []
    for source in sources + scripts:
        lines = source.text.splitlines()
        for above, line in zip(["", *lines], lines, strict=False):
            if bare.search(line) and not above.strip().startswith("#"):
                strays.append(f"{source.name}: {line.strip()}")
    assert strays == []


def test_names_say_what_a_module_holds(sources):
    vague = [s.name for s in sources if VAGUE & set(s.module.split("."))]
    assert vague == []


def test_nothing_is_left_for_later(sources, scripts):
    later = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    strays = [
        f"{s.name}:{n}"
        for s in sources + scripts
        for n, line in enumerate(s.text.splitlines(), 1)
        if later.search(line)
    ]
    assert strays == []


RULES = {
    "id", "seats", "renderer_id", "max_utterance", "options", "weights", "source", "split",
    "__init__", "draw", "reset", "arm", "to_move", "view", "apply",
}  # fmt: skip
"""What every scenario has."""

CAPABILITIES = {"facts", "variants", "opinions", "lowest_pay", "baselines", "beats", "gold"}
"""What a scenario may declare beside it, for a trainer among others."""


@pytest.mark.parametrize(
    "name", ["relay_race", "market", "interrogation", "duel", "verdict"]
)
def test_a_scenario_of_somebodys_takes_no_line_for_the_trainer(name, root):
    text = (root / "tests" / "training" / "lineups" / f"{name}.py").read_text()
    assert text.count("\n") <= 120
    tree = ast.parse(text)
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
    }
    assert "superalign_env.types" in modules
    assert not [module for module in modules if "training" in module or "agents" in module]
    *_, scenario = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    named = {node.name for node in scenario.body if isinstance(node, ast.FunctionDef)}
    named |= {
        target.id
        for node in scenario.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    named |= {
        node.attr
        for node in ast.walk(scenario)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own = {"asked"} if name == "verdict" else set()  # an option that a variant sets
    assert named >= RULES
    assert named - RULES <= CAPABILITIES | own
