"""Every test runs a check, whatever its loops, branches and comprehensions are given."""

import ast
import re

import pytest

CHECKS = ("assert", "check_", "raises", "warns", "fail")
KEEPERS = {"zip", "enumerate", "sorted", "list", "set", "product", "combinations"}
LOOP = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
TRUE_OF_NOTHING = re.compile(
    r"all\(|not |.*== (\[\]|\{\}|\(\)|set\(\))$|[{\[][^}\]]*[}\]] <= |set\([^)]*\) <= "
)


def filled(items, known):
    """Whether a loop over an expression surely takes a step: literals and constants."""
    match items:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return any(
                not isinstance(p, ast.Starred) or filled(p.value, known) for p in parts
            )
        case ast.Dict(keys=keys):
            return bool(keys)
        case ast.Call(func=ast.Attribute(value=table, attr="items" | "values")):
            return filled(table, known)
        case ast.Call(func=ast.Name(id="range"), args=args):
            return all(isinstance(a, ast.Name | ast.Constant) for a in args)
        case ast.Call(func=ast.Name(id=name), args=args) if name in KEEPERS:
            return all(filled(argument, known) for argument in args)
        case ast.ListComp(generators=loops):
            return all(filled(g.iter, known) and not g.ifs for g in loops)
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            return name.isupper() or name in known
    return False


def asserts(test, known):
    """Whether an asserted expression can be false, also of no items: ``all(…)`` is not."""
    if isinstance(test, ast.BoolOp):
        some = any if isinstance(test.op, ast.And) else all
        return some(asserts(value, known) for value in test.values)
    if isinstance(test, ast.Constant):
        return not test.value
    loops = [g for n in ast.walk(test) if isinstance(n, LOOP) for g in n.generators]
    if all(filled(g.iter, known) for g in loops):
        return True
    return not TRUE_OF_NOTHING.match(ast.unparse(test))


def calls(node, known):
    """Whether it calls pytest.raises, an ``assert_…`` or a helper that surely asserts."""
    called = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    plain = {f.id for f in called if isinstance(f, ast.Name)}
    methods = {f.attr for f in called if isinstance(f, ast.Attribute)}
    return bool(plain & known) or any(
        n.startswith(CHECKS) or n.endswith("_test") for n in plain | methods
    )


def checks(body, known):
    """Whether running these statements surely runs a check."""
    return any(check(statement, known) for statement in body)


def check(node, known):
    match node:
        case ast.Assert(test=test):
            return asserts(test, known)
        case ast.For(iter=items, body=body):
            return calls(items, known) or (filled(items, known) and checks(body, known))
        case ast.If(body=body, orelse=other):
            return checks(body, known) and checks(other, known)
        case ast.With(items=items, body=body):
            return any(calls(item, known) for item in items) or checks(body, known)
        case ast.Try(body=body, finalbody=last):
            return checks([*body, *last], known)
        case ast.FunctionDef(decorator_list=marks, body=body):
            return any(calls(m, {"given"}) for m in marks) and checks(body, known)
    return not isinstance(node, ast.While | ast.ClassDef) and calls(node, known)


def literals(body):
    """Names of variables with a literal and of functions that return one, with items."""
    names = set()
    for n in body:
        if isinstance(n, ast.Assign) and filled(n.value, names):
            names |= {ast.unparse(target) for target in n.targets}
        if isinstance(n, FUNCTION) and isinstance(n.body[-1], ast.Return):
            names |= {n.name} if filled(n.body[-1].value, set()) else set()
    return names


def vacuous(files):
    """``file:line name`` of every test that may end without having checked anything."""
    functions = [
        (file, node, literals(tree.body) | literals(node.body))
        for file, tree in files.items()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTION)
    ]
    tests = [f for f in functions if f[1].name.startswith("test")]
    helpers = [f for f in functions if not f[1].name.startswith("test")]
    sure = set()
    for _ in range(2):  # a helper may call a helper that asserts
        sure |= {node.name for _, node, names in helpers if checks(node.body, names | sure)}
    return [
        f"{file}:{node.lineno} {node.name}"
        for file, node, names in tests
        if not checks(node.body, names | sure)
    ]


def test_every_test_surely_checks_something(root):
    """Assert first that a loop has items, ``assert rows``, or loop over a literal."""
    paths = sorted((root / "tests").rglob("*.py"))
    files = {p.relative_to(root).as_posix(): ast.parse(p.read_text("utf-8")) for p in paths}
    assert len(files) > 100
    strays = vacuous(files)
    assert strays == [], "may end without a check:\n" + "\n".join(strays)


@pytest.mark.parametrize(
    ("body", "sure"),
    [
        ("for row in rows: assert row", False),
        ("assert rows\n    for row in rows: assert row", True),
        ("for row in (1, 2): assert row", True),
        ("assert all(row > 1 for row in rows)", False),
        ("assert [row for row in rows if row < 1] == []", False),
        ("assert {row.name for row in rows} == {'one'}", True),
        ("assert {row.name for row in rows} <= {'one'}", False),
        ("if rows: assert rows[0]", False),
        ("assert rows or True", False),
        ("assert True", False),
        ("while rows: assert rows.pop()", False),
        ("with pytest.raises(ValueError): play()", True),
        ("for row in rows: helper(row)", False),
        ("helper(1)", True),
        ("play()", False),
    ],
)
def test_a_planted_test_is_judged_rightly(body, sure):
    code = f"def helper(row): assert row\ndef test_planted(rows):\n    {body}"
    assert (vacuous({"planted.py": ast.parse(code)}) == []) is sure
