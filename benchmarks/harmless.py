"""Operations that alter nothing that was measured, and alterations hidden by design."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from altered_bytes import settled
from altered_rows import connected
from altered_schemas import execute
from finished_runs import command

from superalign_env.store import Run


class Harmless(NamedTuple):
    """Something done to a finished run of which `validate` does not complain."""

    name: str
    do: Callable[[Path], Path | None]
    """Does it; returns where the run is now, if elsewhere."""
    why: str
    same_digest: bool = True
    """Whether the digest stays as it was; False: it is what finds the alteration."""
    run: str = "chain"


def _commands(*verbs: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for verb in verbs:
            word, *more = verb.split()
            answer = command(word, str(folder), *more)
            if answer.code or answer.traceback:
                raise RuntimeError(f"{verb}: {answer.text}{answer.traceback}")

    return do


def _sql(*statements: str) -> Callable[[Path], None]:
    return execute(*statements)


def _one_episode(folder: Path) -> None:
    with Run.open(folder, readonly=True) as run:
        episode = next(iter(run.episodes())).id
    _commands(f"show {episode}", f"replay {episode}")(folder)


def _moved(folder: Path) -> Path:
    elsewhere = folder.with_name("another name")
    folder.rename(elsewhere)
    return elsewhere


def _plain_copy(folder: Path) -> Path:
    elsewhere = folder.with_name("copy")
    shutil.copytree(folder, elsewhere, copy_function=shutil.copyfile)
    return elsewhere


def _zipped(folder: Path) -> Path:
    archive = shutil.make_archive(str(folder.with_name("archive")), "zip", folder)
    elsewhere = folder.with_name("unpacked")
    shutil.unpack_archive(archive, elsewhere)
    return elsewhere


def _through_link(folder: Path) -> Path:
    link = folder.with_name("link")
    link.symlink_to(folder)
    return link


def _backup(folder: Path) -> None:
    path = settled(folder)
    with (
        closing(connected(folder)) as db,
        closing(sqlite3.connect(folder / "backup")) as copy,
    ):
        db.backup(copy)
    settled(folder)
    (folder / "backup").replace(path)


def _dumped(folder: Path) -> None:
    path = settled(folder)
    with closing(connected(folder)) as db, closing(sqlite3.connect(folder / "new")) as new:
        for pragma in ("user_version", "application_id"):
            (value,) = db.execute(f"PRAGMA {pragma}").fetchone()
            new.execute(f"PRAGMA {pragma} = {value}")
        new.executescript("\n".join(db.iterdump()))
    settled(folder)
    (folder / "new").replace(path)


def _modes(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o777)


def _times(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))


def _unread_log(folder: Path) -> None:
    settled(folder)
    (folder / "run.db-wal").write_bytes(b"garbage" * 1000)


def _without_journal(folder: Path) -> None:
    (folder / "run.db-shm").unlink(missing_ok=True)
    (folder / "run.db-wal").unlink()


def _without_help_files(folder: Path) -> None:
    settled(folder)
    (folder / "run.lock").unlink()


def _words_in_lock(folder: Path) -> None:
    (folder / "run.lock").write_text("x")


def _logs(folder: Path) -> None:
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events.out").write_bytes(b"x")


def _labelled_later(folder: Path) -> None:
    with Run.open(folder, beside=True) as run:
        run.annotators.enroll("later", group="others")
        run.questions.lease("open", "later")
        run.questions.answer("open", "later", value=0.75)


def _renumbered(folder: Path, change: str) -> None:
    with closing(connected(folder)) as db:
        for table in ("episodes", "seatings", "rules", "files"):
            db.execute(f'UPDATE "{table}" SET rowid = {change}')


HARMLESS = (
    Harmless("validate, twice", _commands("validate", "validate"), "it reads"),
    Harmless(
        "ls, show, digest, doctor", _commands("ls", "show", "digest", "doctor"), "they read"
    ),
    Harmless("show and replay an episode", _one_episode, "they read"),
    Harmless(
        "report, twice",
        _commands("report", "report", "ls"),
        "made from the record",
        run="recording",
    ),
    Harmless(
        "show of an experiment", _commands("show", "ls"), "they read", run="experiment"
    ),
    Harmless("moved and renamed", _moved, "no path of its own is kept"),
    Harmless("copied without modes and times", _plain_copy, "none is kept"),
    Harmless("packed and unpacked", _zipped, "the same bytes"),
    Harmless("read through a link", _through_link, "the same folder"),
    Harmless("VACUUM", _sql("VACUUM"), "the same rows"),
    Harmless("VACUUM of a recording", _sql("VACUUM"), "the same rows", run="recording"),
    Harmless("VACUUM of an experiment", _sql("VACUUM"), "the same rows", run="experiment"),
    Harmless("REINDEX", _sql("REINDEX"), "the same rows"),
    Harmless(
        "checkpoint of the journal",
        _sql("PRAGMA wal_checkpoint(TRUNCATE)"),
        "the same rows",
    ),
    Harmless("another journal", _sql("PRAGMA journal_mode = DELETE"), "the same rows"),
    Harmless(
        "other pages",
        _sql("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 8192", "VACUUM"),
        "the same rows",
    ),
    Harmless(
        "incremental vacuum", _sql("PRAGMA auto_vacuum = 2", "VACUUM"), "the same rows"
    ),
    Harmless("sqlite3 .backup", _backup, "the same rows"),
    Harmless("sqlite3 .dump, read again", _dumped, "the same rows"),
    Harmless("a deleted lock and helper files", _without_help_files, "made anew"),
    Harmless("logs of another library", _logs, "no part of the run"),
    Harmless(
        "an answer given later",
        _labelled_later,
        "a person may answer after the end",
        same_digest=False,
    ),
)

BY_DESIGN = (
    Harmless("modes of files", _modes, "git and zip keep none; nothing reads them"),
    Harmless("times of files", _times, "every copy changes them; nothing reads them"),
    Harmless(
        "report.html deleted",
        lambda f: (f / "report.html").unlink(),
        "made from the record",
    ),
    Harmless("a log that SQLite does not read", _unread_log, "its checksums do not fit"),
    Harmless(
        "run.lock with words in it",
        _words_in_lock,
        "only the lock on it counts",
    ),
    Harmless(
        "hidden numbers of rows, turned round",
        partial(_renumbered, change="1000000 - rowid"),
        "VACUUM may change them; nothing reads them",
    ),
    Harmless(
        "hidden numbers of rows, below 0",
        partial(_renumbered, change="-rowid"),
        "nothing reads them",
    ),
    Harmless(
        "run.db-wal of a killed run deleted",
        _without_journal,
        "the record as it was at an earlier moment; nothing tells",
        same_digest=False,
        run="killed",
    ),
    Harmless(
        "a row, which no seal counts yet, deleted with its hash",
        _sql(
            "DELETE FROM row_hashes WHERE \"table\" = 'metrics' AND key = "
            "(SELECT CAST(id AS TEXT) FROM metrics WHERE name = 'late')",
            "DELETE FROM metrics WHERE name = 'late'",
        ),
        "what is not sealed may be taken back, as by whoever resumes",
        same_digest=False,
        run="killed",
    ),
    Harmless(
        "a lease given back",
        _sql(
            "DELETE FROM leases WHERE rowid = 1",
            "DELETE FROM row_hashes WHERE \"table\" = 'leases' AND key = 'q0'",
        ),
        "a lease is no measurement and runs out",
        run="recording",
    ),
)
