"""The cells of an experiment in its record, each with the code that computed it.

The code is a hash of sources that docstrings and comments do not change. It covers our
packages and the package of the cell, whatever was imported: things are made by id here, so
imports alone would not say what was used. What cannot matter to a cell (the command line,
the engine, other experiments) is left out, and of the file of the cell only what its
function reaches, so that a better table or picture changes nothing.
"""

import ast
import importlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from superalign_env.canonical import content_hash
from superalign_env.store import Cell, Run
from superalign_env.store.provenance import versions
from superalign_training.experiments.engine.experiment import CELLS
from superalign_training.experiments.engine.plan import Job, Plan
from superalign_training.experiments.engine.pool import CellResult

SNAPSHOTS = "code"
"""Folder of the files behind each hash of the code."""

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
    "superalign_training/cli/",
    "superalign_training/testing/",
    f"{_EXPERIMENTS}engine/",
)
"""Parts that compute nothing of a cell."""

_SKIPPED = ("__pycache__", ".pyc", "commands.py", "py.typed")

Snapshot = dict[str, str]
"""File or package → hash or version."""


class CellCache:
    """The cells of one call. Only the holder of the run folder's lock writes them.

    Args:
        run: opened for work.
        plan: which cells.
    """

    def __init__(self, run: Run, plan: Plan) -> None:
        self.folder = run.path
        self.experiment = plan.experiment
        self.jobs = plan.jobs()
        self._run = run
        self._revision = str(plan.experiment.revision)
        self._sources = snapshot(plan.experiment.cell)
        self._code = content_hash(self._sources)[:16]
        self._write_sources()

    @property
    def scope(self) -> str:
        """Experiment, revision and code: shared folders of other code are made anew."""
        return f"{self.experiment.name} {self._revision} {self._code}"

    def missing(self, *, recompute: bool) -> list[Job]:
        """Return the cells that are to be computed.

        Args:
            recompute: also those that other code computed; their folders are removed.
        """
        return [job for job in self.jobs if not self._is_done(job, recompute)]

    def begin(self, job: Job) -> None:
        """Mark a cell as running."""
        self._put(job, "running", CellResult({}), self._first_code(job))

    def end(self, job: Job, result: CellResult) -> None:
        """Write the result of a cell."""
        claimed = self._run.cells.get(job.hash)
        code = claimed.code if claimed else self._code
        self._put(job, "failed" if result.error else "done", result, code)

    def finished(self) -> list[Cell]:
        """Return the cells of the plan, in its order."""
        cells = [self._run.cells.get(job.hash) for job in self.jobs]
        return [cell for cell in cells if cell is not None]

    def remarks(self) -> list[str]:
        """Return warnings about cells of other revisions and of other code."""
        cells = self._run.cells.all()
        remarks = []
        older = sorted({cell.revision for cell in cells} - {self._revision})
        if older:
            remarks.append(
                f"{self.folder} also holds cells of revision {', '.join(older)}: they are kept "
                f"and not used; this is revision {self._revision}"
            )
        hashes = {job.hash for job in self.jobs}
        used = [
            c for c in cells if c.hash in hashes and (c.status == "done" or self._left(c))
        ]
        for code in sorted({cell.code for cell in used} - {self._code}):
            count = sum(cell.code == code for cell in used)
            remarks.append(
                f"warning: {count} of the cells were computed (or begun) by other code, which "
                f"differs in {_few(changed(self._sources_of(code), self._sources))}. If that "
                "changes results, raise `revision` in the experiment's file, or compute them "
                "again with --recompute"
            )
        return remarks

    def _is_done(self, job: Job, recompute: bool) -> bool:
        cell = self._run.cells.get(job.hash)
        if cell is None or (recompute and cell.code != self._code):
            shutil.rmtree(self.folder / CELLS / job.hash, ignore_errors=True)
            return False
        return cell.status == "done"

    def _first_code(self, job: Job) -> str:
        """Return the code that a cell counts for: what began the folder it continues in."""
        cell = self._run.cells.get(job.hash)
        return cell.code if cell and self._left(cell) else self._code

    def _left(self, cell: Cell) -> bool:
        """Return whether a cell has a folder to continue in."""
        return (self.folder / CELLS / cell.hash).exists()

    def _put(self, job: Job, status: str, result: CellResult, code: str) -> None:
        cell = Cell(
            job.hash,
            self.experiment.name,
            job.params,
            job.seed,
            self._revision,
            status,
            result.values,
            result.seconds,
            result.cost,
            code,
            result.error,
        )
        self._run.cells.put(cell)

    def _write_sources(self) -> None:
        (self.folder / SNAPSHOTS).mkdir(exist_ok=True)
        path = self.folder / SNAPSHOTS / f"{self._code}.json"
        path.write_text(json.dumps(self._sources, indent=1) + "\n", encoding="utf-8")
        self._run.files.keep(f"{SNAPSHOTS}/{path.name}")

    def _sources_of(self, code: str) -> Snapshot:
        path = self.folder / SNAPSHOTS / f"{code}.json"
        sources: Snapshot = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return sources


def _few(names: Sequence[str]) -> str:
    """Return names, or the first four and the number of the others."""
    listed = ", ".join(names[:4])
    return listed if len(names) <= 4 else f"{listed} and {len(names) - 4} more files"


def snapshot(cell: Callable[..., Any]) -> Snapshot:
    """Return the hashes of the code that a cell's function may run, file by file.

    Args:
        cell: a function of a module.
    """
    hashes = {f"{name} (version)": number for name, number in versions().items()}
    del hashes["sqlite (version)"]
    own = _file_of(cell)
    for package in dict.fromkeys((*_OURS, cell.__module__.partition(".")[0])):
        for name, path in _files(package):
            elsewhere = name.startswith(_EXPERIMENTS) and not _beside(path, own)
            if not name.startswith(_IDLE) and not elsewhere and path != own:
                hashes[name] = _hash_of(path)
    for path in _reached(own) if own else ():
        if path != own and _beside(path, own):
            continue  # is in already
        name = f"{path.parent.name}/{path.name}"
        start = cell.__qualname__.partition(".")[0] if path == own else ""
        hashes[name] = _hash_of(path, start)
    return hashes


def changed(before: Snapshot, now: Snapshot) -> list[str]:
    """Return what differs between two snapshots, or is only in one."""
    return sorted(
        n for n in before.keys() | now.keys() if before.get(n, "") != now.get(n, "")
    )


def _beside(path: Path, cell_file: Path | None) -> bool:
    """Return whether a file belongs to an experiment that is a folder."""
    return (
        cell_file is not None
        and cell_file.parent.name != "experiments"
        and cell_file.parent in path.parents
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


def _reached(cell_file: Path) -> list[Path]:
    """Return a file and the neighbours in its own folder that it imports, however far."""
    waiting, reached = [cell_file], [cell_file]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                path = cell_file.parent / f"{node.module.rpartition('.')[2]}.py"
                if path.is_file() and path not in reached:
                    reached.append(path)
                    waiting.append(path)
    return reached


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
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined] # just read
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
