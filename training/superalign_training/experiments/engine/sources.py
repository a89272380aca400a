"""Which code computes a cell: hashes of sources that docstrings and comments do not change.

A snapshot covers our packages and the package of the cell, whatever was imported: things
are made by id here, so imports alone would not say what was used. What cannot matter to a
cell (the command line, the engine, other experiments) is left out, and of the file of the
cell only what its function reaches, so that a better table or picture changes nothing.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from superalign_env.store.provenance import versions

_OURS = (
    "superalign_env",
    "superalign_agents",
    "superalign_scenarios",
    "superalign_training",
)

_EXPERIMENTS = "superalign_training/experiments/"

_IDLE = (
    "superalign_env/cli/",
    "superalign_env/report/",
    "superalign_env/testing/",
    "superalign_training/testing/",
    "superalign_env/web/",
    f"{_EXPERIMENTS}engine/",
)
"""Parts that compute nothing of a cell."""

_SKIPPED = ("__pycache__", ".pyc", "commands.py", "py.typed")

Snapshot = dict[str, str]
"""File or package → hash or version."""


def snapshot(cell: Callable[..., Any]) -> Snapshot:
    """Return the code that a cell's function may run, file by file.

    Args:
        cell: a function of a module.
    """
    found = {f"{name} (version)": number for name, number in versions().items()}
    del found["sqlite (version)"]
    own = _file_of(cell)
    for package in dict.fromkeys((*_OURS, cell.__module__.partition(".")[0])):
        for name, path in _files(package):
            elsewhere = name.startswith(_EXPERIMENTS) and not _beside(path, own)
            if not name.startswith(_IDLE) and not elsewhere and path != own:
                found[name] = _hash_of(path)
    for path in _reached(own) if own else ():
        if path != own and _beside(path, own):
            continue  # is in already
        name = f"{path.parent.name}/{path.name}"
        start = cell.__qualname__.partition(".")[0] if path == own else ""
        found[name] = _hash_of(path, start)
    return found


def changed(before: Snapshot, now: Snapshot) -> list[str]:
    """Return what differs between two snapshots, or is only in one."""
    return sorted(
        n for n in before.keys() | now.keys() if before.get(n, "") != now.get(n, "")
    )


def _beside(path: Path, own: Path | None) -> bool:
    """Return whether a file belongs to an experiment that is a folder."""
    return (
        own is not None and own.parent.name != "experiments" and own.parent in path.parents
    )


def _files(package: str) -> Iterator[tuple[str, Path]]:
    """Yield every file of an importable package, with its name from there."""
    if package in ("__main__", "__mp_main__"):
        return
    spec = importlib.util.find_spec(package)
    for root in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(root).rglob("*")):
            if path.is_file() and not any(part in str(path) for part in _SKIPPED):
                yield f"{package}/{path.relative_to(root).as_posix()}", path


def _file_of(cell: Callable[..., Any]) -> Path | None:
    """Return the file that a function stands in; None for one typed into a notebook."""
    module = sys.modules.get(cell.__module__)
    path = getattr(module, "__file__", None)
    return Path(path).resolve() if path else None


def _reached(own: Path) -> list[Path]:
    """Return a file and the neighbours in its own folder that it imports, however far."""
    waiting, found = [own], [own]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                path = own.parent / f"{node.module.rpartition('.')[2]}.py"
                if path.is_file() and path not in found:
                    found.append(path)
                    waiting.append(path)
    return found


def _hash_of(path: Path, start: str = "") -> str:
    """Return the hash of a file's meaning, or of what one of its names reaches."""
    return _hashed(path, start, path.stat().st_mtime_ns)


@cache
def _hashed(path: Path, start: str, changed_at: int) -> str:
    """Read and hash a file, once for each of its states."""
    raw = path.read_bytes()
    if path.suffix == ".py":
        tree = _without_docstrings(ast.parse(raw))
        body = _reachable(tree.body, start) if start else tree.body
        raw = "\n".join(map(ast.dump, body)).encode()
    return blake2b(raw, digest_size=8).hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined] # just read
    return tree


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _reachable(body: list[ast.stmt], start: str) -> list[ast.stmt]:
    """Return the statements of a module that one of its names needs; imports included."""
    defined: dict[str, list[ast.stmt]] = {}
    for statement in body:
        for name in _defines(statement):
            defined.setdefault(name, []).append(statement)
    if start not in defined:
        return body
    waiting, needed = [start], {start}
    while waiting:
        for statement in defined[waiting.pop()]:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and node.id in defined.keys() - needed:
                    needed.add(node.id)
                    waiting.append(node.id)
    return [s for s in body if needed & set(_defines(s))]


def _defines(statement: ast.stmt) -> list[str]:
    """Return the names that a statement of a module gives a meaning to."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(a.asname or a.name).partition(".")[0] for a in statement.names]
    stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return [node.id for node in stored if isinstance(node.ctx, ast.Store)]
