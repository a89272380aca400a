"""Where the rungs of a ladder lie: those shipped with the package and those built here.

A rung is a standard Hugging Face folder ``FAMILY/RUNG@SEED`` with a ``card.json`` that
says what it can do. This file reads folders only; nothing here imports torch.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env.errors import RecordDamaged, UnknownId

MICRO_CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}<|end|>"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)
"""Chat template of micro models: the messages of a view, joined, are its text."""

SHIPPED = Path(__file__).parent
"""Ladders that came with the package."""

_REFERENCE = re.compile(r"(?P<family>[a-z][\w.-]*)/(?P<rung>\d+)(?:@(?P<seed>\d+))?")


class RungReference(NamedTuple):
    """One rung of one ladder, from one seed."""

    family: str
    rung: int
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> "RungReference | None":
        """Read ``micro/3`` or ``micro/3@2``; None when the text is no such reference."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            return None
        return cls(match["family"], int(match["rung"]), int(match["seed"] or 0))

    def __str__(self) -> str:
        """Return ``micro/3@2``."""
        return f"{self.family}/{self.rung}@{self.seed}"

    @property
    def folder_name(self) -> str:
        """The rung's folder inside its ladder, ``3@2``."""
        return f"{self.rung}@{self.seed}"


def built_root() -> Path:
    """Return where rungs built on this machine lie.

    ``$SUPERALIGN_LADDERS`` when set, else the user's cache folder.
    """
    named = os.environ.get("SUPERALIGN_LADDERS")
    if named:
        return Path(named)
    return user_cache() / "ladders"


def user_cache() -> Path:
    """Return where this machine keeps what is ours: ``$SUPERALIGN_CACHE``, else a user's cache."""
    named = os.environ.get("SUPERALIGN_CACHE")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "superalign"


def search_path() -> tuple[Path, ...]:
    """Return the roots that are searched, first hit wins."""
    return (built_root(), SHIPPED)


def find_rungs(roots: tuple[Path, ...] | None = None) -> dict[RungReference, Path]:
    """Return every finished rung and its folder, sorted.

    A folder counts as finished once it holds its card, which is written last.
    """
    found: dict[RungReference, Path] = {}
    for root in search_path() if roots is None else roots:
        for card in root.glob("*/*@*/card.json"):
            reference = RungReference.parse(f"{card.parent.parent.name}/{card.parent.name}")
            if reference is not None:
                found.setdefault(reference, card.parent)
    return dict(sorted(found.items()))


def rung_folder(reference: RungReference) -> Path:
    """Return the folder of one rung.

    Raises:
        UnknownId: no such rung is shipped or built; the message names the nearest and
            how to build it.
    """
    for root in search_path():
        folder = root / reference.family / reference.folder_name
        if (folder / "card.json").is_file():
            return folder
    error = UnknownId("rung", str(reference), [str(known) for known in find_rungs()])
    raise UnknownRung(
        f"{error}; to build it: superalign ladder build --family {reference.family} "
        f"--rungs {reference.rung} --seeds {reference.seed}"
    )


class UnknownRung(UnknownId):
    """A rung that is neither shipped nor built."""

    def __init__(self, message: str) -> None:
        """Take the finished message."""
        KeyError.__init__(self, message)


def read_card(folder: Path) -> dict[str, Any]:
    """Return what is known of a rung: sizes, training, capacity by family and tier.

    Raises:
        RecordDamaged: the card is missing or is no JSON object.
    """
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordDamaged(
            f"the card of {folder} cannot be read ({error}); rebuild the rung"
        ) from error
    if not isinstance(card, dict):
        raise RecordDamaged(f"the card of {folder} is no JSON object; rebuild the rung")
    return card
