"""What an import costs, and what the four packages show to the outside."""

import importlib
import json
import pkgutil
import sys

import pytest

PACKAGES = (
    "superalign_env",
    "superalign_agents",
    "superalign_scenarios",
    "superalign_training",
)
HEAVY = (
    "datasets",
    "hydra",
    "matplotlib",
    "openai",
    "pandas",
    "scipy",
    "sqlite_utils",
    "stable_baselines3",
    "torch",
    "transformers",
    "trl",
)
"""Slow or large: imported by the command or the agent that needs it, and nobody else."""

LOADED = (
    f"; import json, sys; print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_can_be_imported_first_and_brings_nothing_heavy(package, run):
    done = run("-W", "error", "-c", f"import {package}{LOADED}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_naming_everything_imports_nothing_heavy(run):
    """The tables are read without importing what they point at."""
    code = (
        "import superalign_env; superalign_env.scenarios(); superalign_env.agents();"
        "superalign_env.env('echo').reset(seed=0)"
    )
    done = run("-c", code + LOADED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_help_imports_nothing_heavy(run):
    code = (
        "import json, sys; sys.argv = ['superalign', '--help']\n"
        "from superalign_env.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"print(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


def modules():
    for package in PACKAGES:
        found = importlib.import_module(package)
        yield package
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            yield module.name


def test_every_module_imports():
    names = [name for name in modules() if not name.endswith("__main__")]
    assert {name.partition(".")[0] for name in names} == set(PACKAGES)
    for name in names:
        importlib.import_module(name)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_all_promises_exists_and_is_sorted(package):
    found = [
        importlib.import_module(name)
        for name in modules()
        if name.startswith(package) and not name.endswith("__main__")
    ]
    promising = [module for module in found if hasattr(module, "__all__")]
    assert promising
    for module in promising:
        name, promised = module.__name__, module.__all__
        ordered = sorted(set(promised), key=lambda n: (not n.isupper(), n.islower(), n))
        assert list(promised) == ordered, f"{name}.__all__ is not sorted"
        missing = [n for n in promised if not hasattr(module, n)]
        assert missing == [], f"{name}.__all__ promises what is not there"


def test_all_names_the_whole_public_surface():
    module = importlib.import_module("superalign_env")
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(module.__all__)


def test_every_registered_target_can_be_loaded():
    registry = importlib.import_module("superalign_env.registry")
    kinds = {kind for package in PACKAGES for kind in table(package)}
    assert len(kinds) >= 9
    for kind in sorted(kinds):
        assert registry.entries(kind), f"{kind} is registered and empty"
        for name, entry in registry.entries(kind).items():
            found = registry.load(kind, name)
            # An experiment is a description, everything else is called.
            usable = found.name == name if kind == "experiment" else callable(found)
            assert usable, f"{kind} {name}: {entry.target}"
            assert entry.line and "\n" not in entry.line, f"{kind} {name} has no line"


def table(package):
    where = "superalign_env.plugins" if package == "superalign_env" else package
    return importlib.import_module(where).PLUGINS
