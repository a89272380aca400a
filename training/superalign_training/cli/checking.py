"""What would stop a run is said at once: before anything is measured, played or written."""

import shlex
from pathlib import Path

from superalign_agents.devices import require_device
from superalign_env.errors import RecordError
from superalign_env.store import Run
from superalign_training.loggers import make_loggers
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.settings import Settings


def check(settings: Settings, *, resume: bool = False, load: bool = True) -> list[str]:
    """Raise if a run with these settings could not begin.

    Args:
        settings: of the run.
        resume: whether it goes on in a folder that has a run.
        load: whether models that do not learn are read, too, which takes seconds.

    Raises:
        InvalidOption: a device or a logger's library that is not here; a lineup or algorithms that do not fit the
            scenario, options that it does not know, or a split without tasks.
        RecordError: the folder holds a run already.

    Returns:
        What the run leaves out, and why: a line each.
    """
    if not resume:
        _refuse_taken(settings.run_dir)
    make_loggers(settings.log_to)  # says which library is missing
    require_device(settings.device)
    return require_lineup(settings, ModelCache(), load=load)


def _refuse_taken(folder: Path) -> None:
    try:
        Run.open(folder, readonly=True).close()
    except RecordError:
        return  # there is none that was begun, or whoever makes one can say more
    raise RecordError(
        f"{folder} holds a run already; superalign train run_dir={shlex.quote(str(folder))} "
        "--resume goes on with it, or choose another run_dir"
    )
