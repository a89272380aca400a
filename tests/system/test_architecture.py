"""What is imported and written in one place only; `make lint` has the import law."""

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from superalign_env.report.layout import GROUPS, HEADLINES

ROOT = Path(__file__).resolve().parents[2]
OURS = {
    "superalign_env",
    "superalign_agents",
    "superalign_scenarios",
    "superalign_training",
}

_DRAWN = "pictures are saved by one function, and matplotlib is slow to import"

LATE_IMPORTS = {
    "training/superalign_training/experiments/engine/results.py": _DRAWN,
    "training/superalign_training/ladder/ladder_tables.py": _DRAWN,
    "training/superalign_training/selfplay/opponents/matrix.py": _DRAWN,
    "agents/superalign_agents/ladders/fetch.py": "what is here already is found without torch",
    "agents/superalign_agents/guard.py": "a guard behind a server needs no torch",
    "*/cli/*": "commands import what they run, so that `superalign --help` is quick",
    "*commands.py": "commands import what they run, so that `superalign --help` is quick",
    "training/superalign_training/cli/*": "torch and TRL take seconds to import: only "
    "once the settings make sense",
    "training/superalign_training/selfplay/checks.py": "a plan is checked without torch, unless "
    "who is seated needs it",
    "training/superalign_training/evaluation/holdout.py": "its tasks are drawn without torch "
    "before a run begins",
    "training/superalign_training/algorithms/*": "settings are read without torch; who "
    "trains imports it",
    "scenarios/superalign_scenarios/__init__.py": "its table is read while superalign_env "
    "is itself being imported",
}
"""File pattern → why imports of our own packages stand inside functions there."""

AT_HOME = {
    "sqlite3": ["superalign_env/store/*"],
    "sqlite_utils": ["superalign_env/store/*"],
    "torch": ["agents/*", "training/*"],
    "transformers": ["agents/*", "training/*"],
    "safetensors": ["agents/*", "training/*"],
    "trl": ["training/superalign_training/algorithms/*"],
    "stable_baselines3": ["agents/*", "training/*"],
    "openai": ["agents/superalign_agents/*"],
    "matplotlib": ["superalign_env/figures/*", "training/*"],
}
"""Foreign package → the only files that may import it."""

COMES_WITH = {
    "click": "typer, which is built on it",
    "omegaconf": "hydra-core",
    "huggingface_hub": "transformers",
    "safetensors": "transformers",
    "tokenizers": "transformers",
    "accelerate": "trl",
    "datasets": "trl",
}
"""Imported, but chosen by a package that we declare."""

NEEDED_BY = {"pyyaml": "msgspec.yaml"}
"""Declared, but imported by a package that we declare."""

SQL = re.compile(
    r"\b(SELECT\s+.+\s+FROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM"
    r"|CREATE\s+(TABLE|INDEX|TRIGGER|VIEW)|PRAGMA\s+\w+)\b",
    re.DOTALL,
)


def fits(name, patterns):
    return any(fnmatch(name, pattern) for pattern in patterns)


@cache
def imports(tree):
    """Every (node, absolute module) that a tree imports, at any depth."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node, node.module))
    return found


def functions(tree):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def strings(tree):
    """String literals that are no docstrings, with their lines; f-strings joined."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "x" for v in node.values]
            yield node.lineno, "".join(parts)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documented
        ):
            yield node.lineno, node.value


def test_own_packages_are_imported_at_the_top_of_a_file(sources):
    late = [
        f"{s.name}:{node.lineno} {module}"
        for s in sources
        if not fits(s.name, LATE_IMPORTS)
        for function in functions(s.tree)
        for node, module in imports(function)
        if module.split(".")[0] in OURS
    ]
    assert late == []


@pytest.mark.parametrize("foreign", AT_HOME)
def test_a_foreign_package_is_imported_only_at_home(sources, foreign):
    importing = {
        s.name
        for s in sources
        for _, module in imports(s.tree)
        if module.split(".")[0] == foreign
    }
    assert importing, "nobody needs a home for it"
    assert {name for name in importing if not fits(name, AT_HOME[foreign])} == set()


def test_hydra_is_met_in_one_file(sources):
    places = {
        s.name
        for s in sources
        for _, module in imports(s.tree)
        if module.split(".")[0] in ("hydra", "omegaconf")
    }
    assert len(places) == 1, places


def test_sql_is_written_only_in_the_store(sources):
    found = {s.name for s in sources for _, text in strings(s.tree) if SQL.search(text)}
    assert found, "the store has some"
    assert [name for name in found if not name.startswith("superalign_env/store/")] == []


def test_every_import_is_declared_and_every_declared_package_is_imported(sources):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    known = packages_distributions()

    def plain(requirement):
        return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")

    base = {plain(r) for r in project["dependencies"]}
    optional = {
        plain(r) for e in ("endpoints", "rows", "figures", "train") for r in extras[e]
    }
    used = {"base": set(), "optional": set()}
    undeclared = []
    for source in sources:
        for node, module in imports(source.tree):
            root = module.split(".")[0]
            if root in sys.stdlib_module_names or root in OURS or root == "msvcrt":
                continue
            names = {name.lower().replace("_", "-") for name in known.get(root, [root])}
            if names & base:
                used["base"] |= names & base
            elif names & optional:
                used["optional"] |= names & optional
            elif root not in COMES_WITH:
                undeclared.append(f"{source.name}:{node.lineno} {root}")
    assert undeclared == []
    assert base - used["base"] - set(NEEDED_BY) == set(), (
        "a base dependency that nothing imports"
    )


def test_randomness_comes_from_keys_alone(sources):
    allowed = {"Generator", "Philox", "SeedSequence", "PCG64DXSM"}
    strays = []
    for source in sources:
        if "/testing/" in source.name:
            continue  # looks for who draws from global generators, or hides one
        for node, module in imports(source.tree):
            if module == "random":
                strays.append(f"{source.name}:{node.lineno} import random")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                owner = ast.unparse(node.value)
                if owner in ("np.random", "numpy.random") and node.attr not in allowed:
                    strays.append(f"{source.name}:{node.lineno} {owner}.{node.attr}")
    assert strays == []


def test_rules_know_no_clock_no_files_and_no_network(sources):
    banned = {
        "asyncio",
        "datetime",
        "os",
        "random",
        "socket",
        "subprocess",
        "threading",
        "time",
    }
    strays = [
        f"{s.name}:{node.lineno} {module}"
        for s in sources
        if s.module.startswith("superalign_scenarios")
        for node, module in imports(s.tree)
        if module.split(".")[0] in banned
    ]
    assert strays == []


def test_only_simulated_annotators_and_evaluation_open_the_door_to_gold(sources):
    """``scenario.gold(episode, turn, group)``; ``source.gold(task)`` is the rules' own."""
    allowed = [
        "superalign_env/humans/*",
        "superalign_env/evaluation.py",
        "training/superalign_training/evaluation/*",
        "training/superalign_training/experiments/human_pay/*",  # its people file vetoes
    ]
    asking = [
        f"{s.name}:{node.lineno}"
        for s in sources
        for node in ast.walk(s.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "gold"
        and len(node.args) + len(node.keywords) > 1
    ]
    assert asking, "the door has a user"
    assert [place for place in asking if not fits(place.split(":")[0], allowed)] == []


def test_nothing_that_steers_a_chain_looks_at_the_truth(sources):
    """Sources, controllers, hazards, gate, alarms and stages see what was said, not gold."""
    blind = ("oversight", "gap", "selfplay", "algorithms", "data")
    modules = {s.module for s in sources}
    assert [p for p in blind if f"superalign_training.{p}" not in modules] == []
    strays = [
        f"{s.name}:{node.lineno} .{node.attr}"
        for s in sources
        if s.module.startswith(tuple(f"superalign_training.{part}" for part in blind))
        for node in ast.walk(s.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("gold", "grade", "grades")
    ]
    assert strays == []


def test_only_the_critics_school_and_evaluation_hear_of_planted_answers(sources):
    """Their truth travels in a fact; see docs/truth.md."""
    doors = ("planted_verdicts", "planted_forecasts")
    counts = ("self", "run", "settings", "total", "stage_counts")  # how many there are

    def of_fact(node):
        return not (isinstance(node.value, ast.Name) and node.value.id in counts)

    allowed = [
        "superalign_env/*",  # carries and records them
        "scenarios/superalign_scenarios/red_team/__init__.py",  # plants them
        "training/superalign_training/judging.py",  # reads the fact
        "training/superalign_training/selfplay/stages/judge.py",
        "training/superalign_training/selfplay/opponents/games.py",
        "training/superalign_training/oversight/critics.py",
        "training/superalign_training/evaluation/*",
    ]
    used = {
        (s.name, getattr(node, "id", ".planted"))
        for s in sources
        for node in ast.walk(s.tree)
        if (isinstance(node, ast.Attribute) and node.attr == "planted" and of_fact(node))
        or (isinstance(node, ast.Name) and node.id in doors)
    }
    assert {door for _, door in used} == {*doors, ".planted"}, (
        "all of them are still called so"
    )
    assert {name for name, _ in used if not fits(name, allowed)} == set()


def test_nothing_that_trains_chooses_episodes_by_the_truth(sources):
    """``run.episodes(fault=True)`` is for people who read a record."""
    strays = [
        f"{s.name}:{node.value.lineno}"
        for s in sources
        if s.module.startswith("superalign_training")
        for node in ast.walk(s.tree)
        if isinstance(node, ast.keyword) and node.arg == "fault"
    ]
    assert strays == []


def test_nothing_unsafe_is_loaded_or_executed(sources):
    pickling = [
        "superalign_env/testing/*",  # writes, and never reads
        "superalign_env/rollout/blocks.py",  # writes, too, for
        "superalign_env/rollout/worker_process.py",  # processes of ours, down a pipe of their own
    ]
    strays = [
        f"{s.name}:{node.lineno} {module}"
        for s in sources
        for node, module in imports(s.tree)
        if module.split(".")[0] in ("pickle", "cloudpickle", "dill", "marshal", "shelve")
        and not fits(s.name, pickling)
    ]
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                trusting = any(
                    k.arg == "trust_remote_code"
                    and not (isinstance(k.value, ast.Constant) and k.value.value is False)
                    for k in node.keywords
                )
                if name in ("eval", "exec", "os.system") or trusting:
                    strays.append(f"{source.name}:{node.lineno} {name}")
    assert strays == []


def test_no_module_is_called_like_a_public_function(sources):
    import superalign_env  # noqa: PLC0415 - the only test here that needs it

    modules = {s.module for s in sources}
    # A package of that name could be imported before the function is.
    clashes = {n for n in superalign_env.__all__ if f"superalign_env.{n}" in modules}
    assert clashes == set()


def test_source_roots_are_no_packages():
    """A package called ``agents`` belongs to somebody else."""
    assert [
        r
        for r in ("agents", "scenarios", "training")
        if (ROOT / r / "__init__.py").exists()
    ] == []


def test_training_knows_no_role_by_its_name(sources):
    """Roles come from the facts that a scenario declares."""
    homes = ("selfplay", "cli", "evaluation", "oversight", "gap")
    read = [
        s
        for s in sources
        if (
            s.module.startswith(tuple(f"superalign_training.{name}." for name in homes))
            and ".watching" not in s.module
        )  # it knows tags of metrics, and one is called attacker
        or s.module == "superalign_training.judging"
    ]
    assert len(read) > 50
    names = {"attacker", "learner", "critic"}
    seats = {f"{name}_0" for name in names}
    strays = []
    for source in read:
        # Tags of metrics say which kind of attacker, and which critic judged a cell.
        tags = {
            id(key)
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Dict)
            for key in node.keys
        }
        strays += [
            f"{source.name}:{node.lineno} {node.value!r}"
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Constant)
            and node.value in names | seats
            and id(node) not in tags
        ]
    assert strays == []


def declarations(tree):
    """Names of metrics that a module declares, those by a constant of it among them."""
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "declare":
            name = node.args[0]
            yield constants.get(getattr(name, "id", ""), getattr(name, "value", None))


def test_every_metric_that_a_report_groups_is_declared_beside_its_computation(sources):
    declared = {name for s in sources for name in declarations(s.tree)}
    grouped = {name for group in GROUPS for chart in group.charts for name in chart.names}
    assert len(grouped) > 30
    assert sorted(grouped - declared) == []
    assert sorted(HEADLINES - declared) == []
