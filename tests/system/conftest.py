"""The repository as data: its folders, its source files as syntax trees."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "superalign_env": ROOT / "superalign_env",
    "superalign_agents": ROOT / "agents" / "superalign_agents",
    "superalign_scenarios": ROOT / "scenarios" / "superalign_scenarios",
    "superalign_training": ROOT / "training" / "superalign_training",
}


class Source(NamedTuple):
    """One file of ours."""

    name: str
    """Relative to the repository, ``superalign_env/game.py``."""
    module: str
    """As imported, ``superalign_env.game``; empty for scripts."""
    text: str
    tree: ast.Module


def read(path, module=""):
    text = path.read_text(encoding="utf-8")
    return Source(path.relative_to(ROOT).as_posix(), module, text, ast.parse(text))


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def sources():
    """Every module of the four packages."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found.append(read(path, ".".join((package, *parts))))
    assert {source.module for source in found} > PACKAGES.keys()
    return found


@pytest.fixture(scope="session")
def scripts():
    """What runs beside the packages: benchmarks, generators."""
    folders = (ROOT / "benchmarks", ROOT / "docs")
    found = [read(path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert found
    return found


@pytest.fixture(scope="session")
def run():
    """Run python in a fresh process that finds the four packages and nothing of the tests."""

    def run(*args, cwd=ROOT, path=None, **env):
        roots = path or [folder.parent for folder in PACKAGES.values()]
        return subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def shell(run):
    """Runs the command line in a process of its own; never a traceback."""

    def shell(*args, code=0, **env):
        done = run("-c", "from superalign_env.cli import main; main()", *args, **env)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return shell
