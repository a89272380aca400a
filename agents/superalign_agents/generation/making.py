"""From a name in a configuration to an engine."""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Literal

from superalign_agents.adapters import Adapter
from superalign_agents.generation.seam import Generator, InProcess
from superalign_agents.generation.vllm import VllmGenerator
from superalign_env.errors import UnknownId

EngineName = Literal["transformers", "vllm"]
ENGINES: tuple[EngineName, ...] = ("transformers", "vllm")


def make_engine(name: str, *, source: str, adapter: Adapter | None = None) -> Generator:
    """Return the engine that a name stands for.

    Args:
        name: ``transformers``, the model itself, in this process; or ``vllm``.
        source: folder or hub name of the (base) model, for engines that load it.
        adapter: that the agent wears; engines that load models get it as a folder, written
            anew whenever its hash has changed.

    Raises:
        UnknownId: no such engine.
        InvalidOption: the engine is not installed.
    """
    if name not in ENGINES:
        raise UnknownId("engine", name, ENGINES)
    if name == "transformers":
        return InProcess()
    return VllmGenerator(source, adapters=AdapterShelf(adapter) if adapter else None)


class AdapterShelf:
    """Folders of an adapter as it was at each hash; they vanish with this object.

    Args:
        adapter: as it is now; saved when it is asked for.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._root = Path(tempfile.mkdtemp(prefix="superalign-adapters-"))
        weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)

    def __call__(self, policy: str) -> str:
        """Return the folder of the adapter with a hash."""
        folder = self._root / policy
        if not folder.is_dir():
            self._adapter.save(folder)
        return str(folder)
