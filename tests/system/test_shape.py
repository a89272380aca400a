"""How the code looks: lengths, names, nothing left for later. `make lint` has the rest."""

import ast
import re

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
