"""Self-play: settings, plan, stages and the driver of a run.

`run` holds `SelfPlay`; `settings`, `lineup` and `plan` say what a run does, `checks` whether
it can; `driver` runs the stages one after the other and hands a `state.RunState` on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superalign_training.selfplay.run import SelfPlay as SelfPlay


def __getattr__(name: str) -> Any:
    """Import `SelfPlay` when it is asked for: torch takes seconds."""
    if name != "SelfPlay":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("superalign_training.selfplay.run").SelfPlay
