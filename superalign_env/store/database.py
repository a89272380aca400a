"""One connection to a record: its pragmas, its transactions, its errors in our words.

Every write happens in ``BEGIN IMMEDIATE``: a deferred transaction that reads first and
writes later fails at once in WAL mode when another process wrote in between.
"""

import errno
import re
import shutil
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from superalign_env.errors import RecordDamaged, RecordError, RecordFull, RecordLocked
from superalign_env.store.row_hashes import hash_rows

if TYPE_CHECKING:
    import sqlite_utils


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, or what one may write on it, or into one file, is used up."""

_OS_ERROR = re.compile(r"os error (\d+)")
"""How libraries written in Rust (safetensors, tokenizers) quote the system."""


def disk_full(path: Path) -> RecordFull:
    """Return the error about a full disk, with what to do."""
    return RecordFull(
        f"no room left for {path}: what was written before is kept; free some space and "
        "continue with --resume"
    )


@contextmanager
def reporting_full_disk(path: Path) -> Iterator[None]:
    """Turn any library's error about a full disk into `RecordFull`.

    Args:
        path: what is being written.

    Raises:
        RecordFull: there was no room for it.
    """
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise disk_full(path) from error
        raise


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk, or one's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    match = _OS_ERROR.search(str(error))
    return match is not None and int(match[1]) in _NO_ROOM


TIMEOUT = 30.0
"""Seconds that a writer waits for another one's transaction."""

_MOUNTS = Path("/proc/self/mounts")

_RECOVER = "restore a copy, or recover what can be read with `sqlite3 run.db .recover`"

_FAR_FILESYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smbfs",
    }
)

Row = tuple[Any, ...]

Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """A connection that threads may share, one transaction at a time.

    Args:
        path: the SQLite file; made when it does not exist, unless read-only.
        readonly: refuse every write.

    Raises:
        RecordDamaged: the file is no SQLite database.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self.readonly = readonly
        self.before_writing: Callable[[], None] | None = None
        """Called before every transaction; raises where nothing may be written any more."""
        self._lock = threading.RLock()
        self._hashes_rows = False
        with translated(path):
            self.connection = _open(path, readonly, self)
            if not readonly:
                # Here, not with the first row: a writer's thread would wait for the
                # interpreter at each of some hundred statements, 5 ms beside a busy loop.
                self._hashes_rows = hash_rows(self.connection)

    @property
    def tables(self) -> "sqlite_utils.Database":
        """The same connection, with sqlite-utils' comforts."""
        # Half a second of import (it takes pandas along): paid by those who write.
        from sqlite_utils import Database as Comforts  # noqa: PLC0415 - see above

        return Comforts(self.connection, execute_plugins=False)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing; waits for other writers and nests in itself.

        Raises:
            RecordFull: the disk is full; nothing of this transaction is kept.
            RecordLocked: another process held the database for too long.
            RecordDamaged: the file is broken.
        """
        if self.readonly:
            raise RecordError(
                f"{self.path.parent} was opened read-only; open it for writing"
            )
        with self._lock, translated(self.path):
            self._hashes_rows = self._hashes_rows or hash_rows(self.connection)
            if self.connection.in_transaction:
                yield self.connection
                return
            if self.before_writing is not None:
                self.before_writing()
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                # Triggers that were made within it are gone, too.
                self._hashes_rows = False
                raise

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Return all rows of a query."""
        with self._lock, translated(self.path):
            return self.connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Return the first row of a query, if there is one."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """Return the first value of the first row; None when there is none."""
        row = self.row(sql, parameters)
        return row[0] if row else None

    def pages(self, sql: str) -> Iterator[list[Row]]:
        """Yield pages of a query, in which ``?`` is the first row number, and it the first column."""
        first = -1 << 63
        while first < 1 << 63 and (rows := self.rows(sql, (first,))):
            yield rows
            first = rows[-1][0] + 1

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row, in one transaction."""
        with self.transaction() as connection:
            connection.executemany(sql, rows)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one moment of a record at which somebody else works.

        Not where there is no WAL: there whoever writes would have to wait.
        """
        mode = self.value("PRAGMA journal_mode")
        with self._lock, translated(self.path):
            if mode != "wal" or self.connection.in_transaction:
                yield
                return
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.connection.execute("ROLLBACK")

    @contextmanager
    def lossless(self) -> Iterator[None]:
        """Read texts that are no UTF-8 with surrogates in them instead of failing."""
        self.connection.text_factory = _with_surrogates
        try:
            yield
        finally:
            self.connection.text_factory = str

    def close(self) -> None:
        """Close the connection; twice does no harm."""
        with self._lock:
            if not self.readonly:
                _leave_one_file(self.connection)
            self.connection.close()


def _with_surrogates(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def upsert(table: str, columns: Iterable[str], *, key: str) -> str:
    """Return SQL that inserts a row, or changes these columns of the one with its key.

    ``INSERT OR REPLACE`` would remove the old row without its triggers.
    """
    names = [f'"{column}"' for column in columns]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return (
        f"INSERT INTO {table}({', '.join(names)}) VALUES ({','.join('?' * len(names))}) "
        f"ON CONFLICT({key}) DO UPDATE SET {changes}"
    )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise _in_our_words(path, error) from error
    except UnicodeDecodeError as error:  # of a name in the schema
        raise RecordDamaged(f"{path} is damaged ({error}); {_RECOVER}") from error


def _in_our_words(path: Path, error: sqlite3.DatabaseError) -> RecordError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return disk_full(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RecordLocked(
            f"{path} was held by another process for more than {TIMEOUT:.0f} s; "
            "end that process or wait"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return RecordDamaged(f"{path} is damaged ({error}); {_RECOVER}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return RecordError(
            f"{path} cannot be opened or written ({error}); see who may write {path.parent} "
            "and whether it is still there"
        )
    if code == sqlite3.SQLITE_IOERR:
        return RecordError(
            f"{path} cannot be read or written ({error}): see whether the disk or a quota is "
            "full; what was written before is kept: continue with --resume"
        )
    return RecordError(f"{path}: {error}")


def _open(path: Path, readonly: bool, database: object) -> sqlite3.Connection:
    connection = _connect(path, "ro" if readonly else "rwc")
    try:
        # The first statement that reads the file; a readable WAL needs a writable folder.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if not readonly or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise
        connection = _open_unwritable(path, database)
    if not readonly:
        journal = "DELETE" if on_network(path) else "WAL"
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=NORMAL")
        # Ten times the default: a checkpoint rewrites pages and syncs, so less of both.
        connection.execute("PRAGMA wal_autocheckpoint=10000")
    connection.execute("PRAGMA cache_size=-65536")
    return connection


def _open_unwritable(path: Path, database: object) -> sqlite3.Connection:
    """Open a record in a folder that nobody can write; its killed writer may have left files.

    SQLite would have to write beside the record to read what lies in these, and reads past
    them where nothing may change. So it reads a copy, which goes with the `Database`.
    """
    left = [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal")]
    left = [side for side in left if side.is_file() and side.stat().st_size]
    if not left:
        connection = _connect(path, "ro&immutable=1")
    else:
        folder = Path(mkdtemp(prefix="superalign-"))
        weakref.finalize(database, shutil.rmtree, folder, ignore_errors=True)
        for file in (path, *left):
            shutil.copyfile(file, folder / file.name)
        connection = _connect(folder / path.name, "rw")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _leave_one_file(connection: sqlite3.Connection) -> None:
    """End WAL mode, unless others have the record open: then the last of them does.

    Whoever reads a record in WAL mode makes files beside it; at rest it is one file.
    """
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout=0")
        # In memory: leaving WAL mode writes one page, and the mode is not kept.
        connection.execute("PRAGMA journal_mode=MEMORY")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


def on_network(path: Path) -> bool:
    """Return whether a path lies on a network filesystem, where WAL does not work."""
    if not _MOUNTS.exists():
        return False
    where, kind = "", ""
    target = str(path.resolve())
    for line in _MOUNTS.read_text(errors="replace").splitlines():
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(where):
            where, kind = point, fields[2]
    return kind in _FAR_FILESYSTEMS
