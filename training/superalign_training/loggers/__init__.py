"""Loggers: the metrics of a run, handed to libraries that draw them.

``log_to=tensorboard`` names one by its id, ``log_to=[tensorboard,wandb]`` several, and
``log_to={id: wandb, project: mine}`` gives options. The record stays the truth: a logger
that fails is left out, and the run goes on.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Protocol, Self

from pydantic import AfterValidator

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.lookup import named_object
from superalign_env.plain_text import inline
from superalign_env.registry import check_options
from superalign_env.store import Run, RunInfo
from superalign_env.types import Event, Metric

KIND = "logger"

OBJECT = "object:"
"""``object:module.Class/0``: a logger that was given as a Python object."""

LoggerReference = str | dict[str, Any]
"""``wandb``, ``module:Class``, or ``{id: wandb, project: mine}``."""


class Logger(Protocol):
    """Draws metrics elsewhere. Its constructor takes its options, and checks them."""

    def start(self, info: RunInfo, folder: Path) -> object:
        """Begin, or go on with, a run.

        Args:
            info: id, settings and seed of the run.
            folder: of the run.
        """
        ...

    def log(self, metrics: Sequence[Metric]) -> object:
        """Take metrics in the order of the record."""
        ...

    def finish(self) -> object:
        """Write what waits; the process is done with the run."""
        ...


def references(log_to: Any) -> list[LoggerReference]:
    """Return what was asked for as a list."""
    if log_to is None:
        return []
    return [log_to] if isinstance(log_to, (str, dict)) else list(log_to)


def _known(log_to: Any) -> Any:
    """Check the ids, as a field of settings."""
    for reference in references(log_to):
        name = _split(reference)[0]
        try:
            if ":" not in name:
                registry.entry(KIND, name)
            elif not name.startswith(OBJECT):
                named_object(name, what="logger")
        except (InvalidOption, UnknownId) as error:
            raise ValueError(str(error)) from error  # pydantic names the key then
    return log_to


LogTo = Annotated[
    LoggerReference | tuple[LoggerReference, ...] | None, AfterValidator(_known)
]
"""Which loggers, as a field of settings."""


def make_loggers(
    log_to: Any, objects: Mapping[str, Logger] | None = None
) -> list[tuple[str, Logger]]:
    """Return (id, logger) for everything that was asked for.

    Args:
        log_to: as settings have it.
        objects: loggers that were given as Python objects, by their references.

    Raises:
        UnknownId: no logger is called so; names the nearest ids.
        InvalidOption: an option that it does not know, or a library that is missing.
    """
    named = [_split(reference) for reference in references(log_to)]
    return [(name, _made(name, options, objects or {})) for name, options in named]


def referred(log_to: Any) -> tuple[Any, dict[str, Logger]]:
    """Return references to loggers, and the objects behind those that name one."""
    if log_to is None or isinstance(log_to, (str, dict)):
        return log_to, {}
    several = list(log_to) if isinstance(log_to, (list, tuple)) else [log_to]
    named: list[LoggerReference] = []
    objects: dict[str, Logger] = {}
    for one in several:
        if isinstance(one, (str, dict)):
            named.append(one)
            continue
        kind = type(one)
        missing = [name for name in _CALLED if not callable(getattr(one, name, None))]
        if missing or isinstance(one, type):
            raise InvalidOption(
                f"log_to={one!r} is no logger; pass an object with start, log and finish"
            )
        name = f"{OBJECT}{kind.__module__}.{kind.__qualname__}/{len(objects)}"
        named.append(name)
        objects[name] = one
    return tuple(named), objects


def _made(name: str, options: Mapping[str, Any], objects: Mapping[str, Logger]) -> Logger:
    if ":" not in name:
        made: Logger = registry.make(KIND, name, **options)
        return made
    if name.startswith(OBJECT):
        if name not in objects:
            raise InvalidOption(
                f"{name.removeprefix(OBJECT)} was given as a Python object and is not here; "
                "pass the same log_to again: SelfPlay(log_to=…).run(resume=True)"
            )
        return objects[name]
    found = named_object(name, what="logger")
    check_options(f"logger {name!r}", found, options)
    own: Logger = found(**options)
    missing = [one for one in _CALLED if not callable(getattr(own, one, None))]
    if missing:
        raise InvalidOption(
            f"{name} is no logger: it has no {' and no '.join(missing)}; see "
            "docs/your_logger.md"
        )
    return own


_CALLED = ("start", "log", "finish")


def _split(reference: LoggerReference) -> tuple[str, dict[str, Any]]:
    options = {"id": reference} if isinstance(reference, str) else dict(reference)
    return str(options.pop("id", "")), options


class Logging:
    """Hands rows to the loggers of a run, from its begin to its end, as a context.

    A logger that fails leaves an event ``logger.failed`` and a warning, and hears no more.

    Args:
        run: opened for work.
        loggers: (id, logger) each.
    """

    def __init__(self, run: Run, loggers: Sequence[tuple[str, Logger]]) -> None:
        self._run = run
        self._loggers = list(loggers)

    def log(self, metrics: Sequence[Metric]) -> None:
        """Hand on metrics that were recorded."""
        self._each(lambda logger: logger.log(metrics))

    def _each(self, call: Callable[[Logger], object]) -> None:
        for named in list(self._loggers):
            name, logger = named
            try:
                call(logger)
            except Exception as error:  # whatever a library raises must not stop a run
                self._loggers.remove(named)
                why = inline(f"{type(error).__name__}: {error}")
                evidence = {"logger": name, "error": why[:500]}
                self._run.events.add(Event("logger.failed", evidence=evidence))
                warnings.warn(
                    inline(
                        f"log_to={name} is left out from here on; the record has every number "
                        f"({why})"
                    ),
                    RuntimeWarning,
                    stacklevel=2,
                )

    def __enter__(self) -> Self:
        info = self._run.info
        self._each(lambda logger: logger.start(info, self._run.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._each(lambda logger: logger.finish())


def library(name: str, *, extra: str) -> Any:
    """Return a library that an extra installs.

    Raises:
        InvalidOption: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InvalidOption(
            f"log_to={extra} needs: pip install 'superalign-env[{extra}]' ({error})"
        ) from error


def known_id(folder: Path, library: str) -> str | None:
    """Return the id under which a library knows a run since an earlier process."""
    kept = folder / f"{library}.id"
    return kept.read_text(encoding="utf-8") if kept.exists() else None


def keep_id(folder: Path, library: str, id: str) -> None:
    """Keep the id under which a library knows a run: it is continued when the run is."""
    (folder / f"{library}.id").write_text(id, encoding="utf-8")


def series(metric: Metric) -> str:
    """Return the name of a metric's series for libraries that know no tags.

    It is the name and what tells it from others: ``train/loss/learner/learn``.
    """
    telling = (value for tag, value in sorted(metric.tags.items()) if tag not in _MOMENTS)
    return "/".join((metric.name, *telling))


_MOMENTS = ("round", "algorithm")
"""Tags that make no series of their own."""


def by_step(metrics: Sequence[Metric]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, series → value) for metrics that follow each other with one step."""
    for step, same in groupby(metrics, key=lambda metric: metric.step):
        yield step, {series(metric): metric.value for metric in same}
