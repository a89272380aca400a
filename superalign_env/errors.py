"""Every error that this package raises on purpose.

::

    SuperalignError
    ├── InvalidUtterance        a text that no rule may see (also a ValueError)
    ├── InvalidVerdict          a verdict that cannot be parsed (also a ValueError)
    ├── UnknownId               no such agent, scenario, … (also a KeyError)
    ├── DuplicateId             two plug-ins claim one id
    ├── InvalidOption           a setting that makes no sense (also a ValueError)
    ├── ProtocolError           a plug-in breaks its contract
    │   └── NotReproducible     same seed, different words
    ├── EpisodeOver             the game has ended
    ├── CellsFailed             cells of an experiment; the others are kept
    ├── EpisodesFailed          too many episodes of a stage, and why most of them
    ├── WorkerLost              a process that played has died; what came back is kept
    ├── OutOfMemory             not even one prompt fits (also a MemoryError)
    ├── Halted                  a run stands still until people have spoken
    └── RecordError             something is wrong with a run folder
        ├── RecordDamaged       the database or a checkpoint is broken or was altered
        ├── RecordOtherFormat   written by a version with other tables
        ├── RecordLocked        another process writes to this run
        └── RecordFull          the disk is full; what was written before is kept
"""

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """Return known names that are close to a name, the closest first.

    Upper and lower case are the same here.

    Args:
        name: as it was written.
        known: names that there are.
        cutoff: how alike they must be, from 0 (anything) to 1 (the same).
    """
    folded = {
        name_there.casefold(): name_there for name_there in sorted(known, reverse=True)
    }
    matches = difflib.get_close_matches(name.casefold(), sorted(folded), n=3, cutoff=cutoff)
    return [folded[name_there] for name_there in matches]


def hint(near: Sequence[str], known: Iterable[str], *, listed: str = "known") -> str:
    """Return the second half of a message about an unknown name: near names, or all.

    Args:
        near: what may have been meant, as one has to write it.
        known: what is named where nothing is near.
        listed: what these are called.
    """
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"{listed}: {', '.join(known) or 'none'}"


class SuperalignError(Exception):
    """Root of the tree; its message says what to do next."""


class InvalidUtterance(SuperalignError, ValueError):
    """A text that no rule may see."""


class InvalidVerdict(SuperalignError, ValueError):
    """A verdict in neither the word form nor the JSON form."""


class UnknownId(SuperalignError, KeyError):
    """No such id; the message names the nearest ones."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        also: str = "",
        else_try: str = "",
    ) -> None:
        """Compose the message: nearest ids, and what else is wrong.

        Args:
            kind: of what was named.
            name: as it was written.
            known: all ids of the kind.
            also: what else is wrong.
            else_try: what may be written instead of an id; then not all ids are listed.
        """
        known = sorted(known)
        near = nearest(name, known)
        suggestion = hint(near, known) if near or not else_try else ""
        hints = " ".join(filter(None, [suggestion, else_try]))
        own = _as_own(name) if else_try else ""
        message = f"no {kind} is called {name!r}; {own}{hints}"
        super().__init__(f"{message} ({also})" if also else message)

    def __str__(self) -> str:
        """Return the message; KeyError would show its repr."""
        return str(self.args[0])


def _as_own(name: str) -> str:
    """Return the form ``module:attribute`` of a name with a dot in its place."""
    module, dot, attribute = name.rpartition(".")
    if not dot or not all(part.isidentifier() for part in (*module.split("."), attribute)):
        return ""
    return f"something of yours is {module}:{attribute}, with a colon; "


class DuplicateId(SuperalignError):
    """Two plug-ins claim one id."""


class InvalidOption(SuperalignError, ValueError):
    """A setting that makes no sense."""


def require_one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Raise unless an option is one of a few words.

    Raises:
        InvalidOption: with the nearest of them.
    """
    if value not in known:
        near = hint(nearest(str(value), known), known)
        raise InvalidOption(f"{name}={value!r} is not known; {near}")


class ProtocolError(SuperalignError):
    """A plug-in breaks its contract."""


class NotReproducible(ProtocolError):
    """The same seed gave different words."""


class EpisodeOver(SuperalignError):
    """The game has ended; reset it."""


class OutOfMemory(SuperalignError, MemoryError):
    """Not even one prompt fits into memory."""


class CellsFailed(SuperalignError):
    """Some cells of an experiment could not be computed; the others are kept."""


class EpisodesFailed(SuperalignError):
    """Too many episodes of a stage failed; the message names the commonest reason."""


class WorkerLost(SuperalignError):
    """A process that played episodes has died; what came back before is kept."""


class Halted(SuperalignError):
    """A run stands still until people have spoken; everything is kept, resume goes on."""


class RecordError(SuperalignError):
    """Something is wrong with a run folder."""


class RecordDamaged(RecordError):
    """The database or a checkpoint is broken or was altered."""


class RecordOtherFormat(RecordError):
    """The record was written by a version of this package that has other tables."""


class RecordLocked(RecordError):
    """Another process writes to this run."""


class RecordFull(RecordError):
    """The disk is full; what was written before is kept."""
