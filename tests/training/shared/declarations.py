"""Which metrics a module declares by being imported: read from the source, nothing is run."""

import ast
import importlib
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from superalign_env import registry
from superalign_env.store import Run
from superalign_training.selfplay.plan import entries
from superalign_training.selfplay.playing import stage_capabilities
from superalign_training.selfplay.settings import read_settings

OURS = (
    "superalign_env",
    "superalign_training",
    "superalign_agents",
    "superalign_scenarios",
)


def undeclared(path):
    """Return (stage, metric) of a run that the module of that stage does not declare.

    Metrics of updates may also be declared by what their algorithm imports when it runs.
    """
    with Run.open(path, readonly=True) as run:
        settings = read_settings(run.info.config)
        rows = run.metrics.read()
        names = {stage.id: stage.name for stage in run.stages.all()}
    stages = {
        entry.name: f"superalign_training.selfplay.stages.{entry.stage.target.split(':')[0]}"
        for entry in entries(settings, stage_capabilities(settings))
    }
    missing = set()
    for row in rows:
        patterns = declared_by(stages[names[row.stage]])
        name = row.metric.tags.get("algorithm", "")
        if name in registry.entries("algorithm"):
            algorithm = registry.load("algorithm", name)
            patterns |= declared_by(algorithm.__module__, lazily=True)
        if not any(fnmatchcase(row.metric.name, pattern) for pattern in patterns):
            missing.add((names[row.stage], row.metric.name))
    return missing


@cache
def declared_by(module, lazily=False):
    """Return patterns of the metrics that importing a module declares.

    Args:
        module: the name.
        lazily: also what its functions, and those of what it imports, import later.
    """
    reached, waiting = set(), [module]
    while waiting:
        parts = waiting.pop().split(".")
        if parts[0] not in OURS:
            continue
        for end in range(1, len(parts) + 1):  # a package is imported before what it holds
            name = ".".join(parts[:end])
            if name not in reached and tree_of(name):
                reached.add(name)
                waiting += imports(tree_of(name), lazily)
    return {pattern for name in reached for pattern in declarations(name)}


@cache
def declarations(module):
    """Return patterns of the metrics that a module itself declares."""
    patterns = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "declare":
            match node.args[0]:
                case ast.Constant(value=name):
                    patterns.add(name)
                case ast.Name(id=constant):
                    patterns.add(getattr(importlib.import_module(module), constant))
                case ast.JoinedStr(values=parts):
                    fixed = [p.value for p in parts if isinstance(p, ast.Constant)]
                    patterns.add(f"*{fixed[-1]}*")
    return patterns


def imports(tree, lazily):
    """Yield names of modules, or of what is in them, that a module imports."""
    for node in ast.walk(tree) if lazily else at_once(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_once(tree):
    """Yield the statements that importing a module runs."""
    waiting = list(tree.body)
    for node in waiting:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            waiting += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try | ast.With):
            waiting += node.body


@cache
def tree_of(module):
    """Return the syntax tree of a module; None when a name is no module."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec else None
