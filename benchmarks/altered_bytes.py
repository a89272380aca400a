"""Alterations of run.db that no SQL makes: its bytes, its journals."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from altered_files import folder_instead
from altered_rows import Alteration, NothingChanged, connected
from altered_schemas import execute


def settled(folder: Path) -> Path:
    """Return run.db with everything in it, and nothing beside it."""
    with closing(connected(folder)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in ("run.db-wal", "run.db-shm"):
        (folder / name).unlink(missing_ok=True)
    return folder / "run.db"


def _words(folder: Path, old: bytes, new: bytes) -> None:
    """Replace some bytes in the file, wherever they are first."""
    path = settled(folder)
    data = path.read_bytes()
    if old not in data:
        raise NothingChanged
    path.write_bytes(data.replace(old, new, 1))


def _page(folder: Path, root: str, data: bytes | None) -> None:
    """Overwrite the root page of a table or index; None: with that of another."""
    path = settled(folder)
    with closing(connected(folder)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        roots = dict(db.execute("SELECT name, rootpage FROM sqlite_master"))
    settled(folder)
    whole = bytearray(path.read_bytes())
    at = (roots[root] - 1) * size
    other = (roots["metrics"] - 1) * size
    whole[at : at + size] = (
        whole[other : other + size] if data is None else data * (size // len(data))
    )
    path.write_bytes(bytes(whole))


def _write(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = settled(folder)
    path.write_bytes(change(path.read_bytes()))


def _in_journal(folder: Path) -> None:
    """Leave the altered row in the write-ahead log alone: run.db itself is as it was."""
    path = settled(folder)
    kept = path.with_name("kept")
    db = connected(folder)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("UPDATE metrics SET value = value + 1 WHERE id = 3")
    shutil.copy(path, kept)
    log = path.with_name("log")
    shutil.copy(f"{path}-wal", log)
    db.close()
    settled(folder)
    kept.replace(path)
    log.replace(path.with_name("run.db-wal"))


def rolled_back(folder: Path) -> None:
    """Leave a true run.db whose journal of a transaction brings an altered row when it is opened."""
    path = settled(folder)
    with closing(connected(folder)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        values = db.execute("SELECT id, value FROM metrics").fetchall()
        db.execute("UPDATE metrics SET value = value + 1")
    db = connected(folder)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA cache_size = 1")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN")
    db.executemany("UPDATE metrics SET value = ? WHERE id = ?", [(v, n) for n, v in values])
    db.execute(
        "UPDATE episodes SET said = said"
    )  # so much that pages are written before the end
    kept, journal = path.with_name("kept"), path.with_name("journal")
    shutil.copy(path, kept)
    shutil.copy(f"{path}-journal", journal)
    db.execute("ROLLBACK")
    db.close()
    kept.replace(path)
    journal.replace(path.with_name("run.db-journal"))


def _bytes_of(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return partial(_write, change=change)


def _of(run: str, name: str, alter: Callable[[Path], object], *says: str) -> Alteration:
    return Alteration(f"run.db: {name}", run, says or ("run.db", "database"), alter)


def alterations_of_bytes(run: str, others: dict[str, Path]) -> Iterator[Alteration]:
    """Yield changes of run.db that no SQL makes."""
    yield from _of_the_file(run, others)
    yield from _of_pages(run)
    yield from _of_words(run)


def _of_the_file(run: str, others: dict[str, Path]) -> Iterator[Alteration]:
    """Yield files that are cut, replaced or altered in their head."""
    yield _of(run, "deleted", lambda f: settled(f).unlink(), "run.db", "no run at")
    yield _of(run, "emptied", _bytes_of(lambda b: b""))
    yield _of(run, "cut to a page", _bytes_of(lambda b: b[:4096]))
    yield _of(run, "cut in half", _bytes_of(lambda b: b[: len(b) // 2]))
    yield _of(run, "last page lost", _bytes_of(lambda b: b[:-4096]))
    yield _of(run, "half of the last page lost", _bytes_of(lambda b: b[:-2048]))
    yield _of(run, "some bytes long", _bytes_of(lambda b: b[:50]))
    yield _of(run, "text instead", _bytes_of(lambda b: b"moved to the archive\n"))
    yield _of(run, "zeros instead", _bytes_of(lambda b: bytes(len(b))))
    yield _of(run, "header altered", _bytes_of(lambda b: b"SQLite format 4" + b[15:]))
    yield _of(run, "page size altered", _bytes_of(lambda b: b[:16] + b"\x02\x00" + b[18:]))
    yield _of(
        run, "text encoding altered", _bytes_of(lambda b: b[:56] + b"\0\0\0\2" + b[60:])
    )
    yield _of(
        run,
        "two bytes of the first page",
        _bytes_of(lambda b: b[:100] + b"\xff\xff" + b[102:]),
    )
    yield _of(
        run,
        "a folder of its name",
        lambda f: folder_instead(settled(f)),
        "run.db",
        "no run at",
    )
    yield _of(
        run,
        "another run's",
        lambda f: shutil.copy(others["recording"] / "run.db", settled(f)),
        "run.db",
        "database",
        "runs",
        "config.yaml",
        "checkpoint",
    )
    yield _of(run, "an empty database", _empty_database)
    for table in (
        "metrics",
        "episodes",
        "signals",
        "row_hashes",
        "seals",
        "stages",
        "runs",
        "notices",
        "agents",
    ):
        garbage = partial(_page, root=table, data=b"\xa5\x17\x42\x99")
        yield _of(
            run,
            f"garbage in the first page of {table}",
            garbage,
            "run.db",
            "database",
            table,
        )


def _of_pages(run: str) -> Iterator[Alteration]:
    """Yield pages that hold something else."""
    yield _of(
        run,
        "zeros in the first page of notices",
        partial(_page, root="notices", data=b"\0"),
        "run.db",
        "database",
        "notices",
    )
    yield _of(
        run,
        "first page of hazards is that of metrics",
        partial(_page, root="hazards", data=None),
        "run.db",
        "database",
        "hazards",
        "metrics",
    )
    yield _of(
        run,
        "index page is garbage",
        partial(_page, root="metrics_by_name", data=b"\xa5"),
        "run.db",
        "database",
        "metrics",
    )


def _of_words(run: str) -> Iterator[Alteration]:
    """Yield bytes of texts, and journals, that were altered."""
    yield _of(
        run,
        "index page is zeros",
        partial(_page, root="notices_by_kind", data=b"\0"),
        "run.db",
        "database",
        "notices",
    )
    yield _of(
        run,
        "bytes of an answer",
        partial(_words, old=b'"learner_0","', new=b'"learner_1","'),
        "episode",
        "run.db",
    )
    yield _of(
        run,
        "bytes of a notice",
        partial(_words, old=b"alarm.untaught", new=b"alarm.untaughz"),
        "notices",
    )
    yield _of(
        run,
        "bytes of a role",
        partial(_words, old=b"critic-g0-r0-judge", new=b"critic-g0-r0-judgf"),
        "agents",
        "undo",
        "stage",
        "files",
        "row_hashes",
        "judge",
    )
    yield _of(run, "altered row in a leftover journal", _in_journal, "metrics")
    yield _of(run, "altered rows in a rollback journal", rolled_back, "metrics", "run.db")


def _empty_database(folder: Path) -> None:
    path = settled(folder)
    path.unlink()
    sqlite3.connect(path).close()
    execute("CREATE TABLE x (a)")(folder)
