"""Ladders whose rungs are models of other people: presets, by hub name or local folder.

``qwen2.5/7B-Instruct`` names a rung. Where ``$SUPERALIGN_MODELS`` is set, a folder of the
model's name in it is taken instead of the hub, which is what clusters without a network
need. A preset is one YAML file in this folder and holds no code.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from superalign_env.errors import UnknownId

_FOLDER = Path(__file__).parent
_REFERENCE = re.compile(r"(?P<family>[a-z][\w.-]*)/(?P<rung>[\w.-]+)")


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
    rate: dict[str, float]
    """First learning rates: ``lora`` and ``whole``."""

    @property
    def location(self) -> str:
        """The folder in ``$SUPERALIGN_MODELS``, where there is one, else the hub's name."""
        root = os.environ.get("SUPERALIGN_MODELS")
        folder = Path(root) / self.source.rpartition("/")[2] if root else None
        return str(folder) if folder and (folder / "config.json").is_file() else self.source

    def options(self, device: str) -> dict[str, Any]:
        """Return what a `TransformerAgent` on a device is made with."""
        options: dict[str, Any] = {"template": self.template, "max_context": self.context}
        return options if device == "cpu" else {**options, "dtype": self.dtype}


class _Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shared: dict[str, Any]
    rungs: dict[str, dict[str, Any]]


@cache
def families() -> dict[str, dict[str, Preset]]:
    """Return family → rung → preset, smallest models first."""
    found = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        family = msgspec.yaml.decode(path.read_bytes(), type=_Family)
        rungs = {
            name: msgspec.convert({**family.shared, **fields}, Preset)
            for name, fields in family.rungs.items()
        }
        found[path.stem] = rungs
    return found


def preset_of(reference: str) -> Preset | None:
    """Return the preset that a reference names; None when no family is called so.

    Raises:
        UnknownId: the family has no such rung; the message names the nearest.
    """
    match = _REFERENCE.fullmatch(reference)
    family = families().get(match["family"]) if match else None
    if match is None or family is None:
        return None
    if match["rung"] not in family:
        raise UnknownId("rung", reference, known_presets())
    return family[match["rung"]]


def known_presets() -> list[str]:
    """Return every rung of every family of presets."""
    return [f"{family}/{rung}" for family, rungs in families().items() for rung in rungs]
