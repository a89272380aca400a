"""Loggers: export of a run's metrics to TensorBoard, W&B and trackio.

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

from pydantic import AfterValidator, BeforeValidator

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
    """Export of metrics. The constructor takes its options and checks them."""

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
    """Return the setting as a list of references."""
    if log_to is None:
        return []
    return [log_to] if isinstance(log_to, (str, dict)) else list(log_to)


def _shaped(log_to: Any) -> Any:
    """Check the kinds of values; validator of a settings field."""
    several = isinstance(log_to, (list, tuple))
    for reference in log_to if several else [] if log_to is None else [log_to]:
        mapping = isinstance(reference, dict) and isinstance(reference.get("id"), str)
        if not mapping and not isinstance(reference, str):
            known = ", ".join(registry.entries(KIND))
            raise ValueError(
                f"write the id of a logger ({known}), a mapping with an id, or a list of these"
            )
    return log_to


def _known(log_to: Any) -> Any:
    """Check the ids; validator of a settings field."""
    for reference in references(log_to):
        name = _split(reference)[0]
        try:
            if ":" not in name:
                registry.entry(KIND, name)
            elif not name.startswith(OBJECT):
                named_object(name, kind="logger")
        except (InvalidOption, UnknownId) as error:
            raise ValueError(str(error)) from error  # pydantic names the key then
    return log_to


LogTo = Annotated[
    LoggerReference | tuple[LoggerReference, ...] | None,
    AfterValidator(_known),
    BeforeValidator(_shaped),
]
"""Which loggers, as a field of settings."""


def make_loggers(
    log_to: Any, objects: Mapping[str, Logger] | None = None
) -> list[tuple[str, Logger]]:
    """Return (id, logger) for every reference.

    Args:
        log_to: as settings have it.
        objects: loggers that were given as Python objects, by their references.

    Raises:
        UnknownId: no logger is called so; names the nearest ids.
        InvalidOption: an option that it does not know, or a library that is missing.
    """
    pairs = [_split(reference) for reference in references(log_to)]
    return [(name, _made(name, options, objects or {})) for name, options in pairs]


def referred(log_to: Any) -> tuple[Any, dict[str, Logger]]:
    """Return references to loggers, and the objects behind references to objects."""
    if log_to is None or isinstance(log_to, (str, dict)):
        return log_to, {}
    loggers = list(log_to) if isinstance(log_to, (list, tuple)) else [log_to]
    names: list[LoggerReference] = []
    objects: dict[str, Logger] = {}
    for logger in loggers:
        if isinstance(logger, (str, dict)):
            names.append(logger)
            continue
        kind = type(logger)
        missing = [name for name in _CALLED if not callable(getattr(logger, name, None))]
        if missing or isinstance(logger, type):
            raise InvalidOption(
                f"log_to={logger!r} is no logger; pass an object with start, log and finish"
            )
        name = f"{OBJECT}{kind.__module__}.{kind.__qualname__}/{len(objects)}"
        names.append(name)
        objects[name] = logger
    return tuple(names), objects


def _made(name: str, options: Mapping[str, Any], objects: Mapping[str, Logger]) -> Logger:
    if ":" not in name:
        logger: Logger = registry.make(KIND, name, **options)
        return logger
    if name.startswith(OBJECT):
        if name not in objects:
            raise InvalidOption(
                f"{name.removeprefix(OBJECT)} was given as a Python object and is not here; "
                "pass the same log_to again: SelfPlay(log_to=…).run(resume=True)"
            )
        return objects[name]
    logger_class = named_object(name, kind="logger")
    check_options(f"logger {name!r}", logger_class, options)
    instance: Logger = logger_class(**options)
    missing = [
        method for method in _CALLED if not callable(getattr(instance, method, None))
    ]
    if missing:
        raise InvalidOption(
            f"{name} is no logger: it has no {' and no '.join(missing)}; see "
            "docs/your_logger.md"
        )
    return instance


_CALLED = ("start", "log", "finish")


def _split(reference: LoggerReference) -> tuple[str, dict[str, Any]]:
    options = {"id": reference} if isinstance(reference, str) else dict(reference)
    return str(options.pop("id", "")), options


class Logging:
    """Context that passes recorded metrics to the loggers of a run.

    A logger that fails leaves an event ``logger.failed`` and a warning, and hears no more.

    Args:
        run: opened for work.
        loggers: (id, logger) each.
    """

    def __init__(self, run: Run, loggers: Sequence[tuple[str, Logger]]) -> None:
        self._run = run
        self._loggers = list(loggers)

    def log(self, metrics: Sequence[Metric]) -> None:
        """Pass recorded metrics on."""
        self._each(lambda logger: logger.log(metrics))

    def _each(self, call: Callable[[Logger], object]) -> None:
        for pair in list(self._loggers):
            name, logger = pair
            try:
                call(logger)
            except Exception as error:  # whatever a library raises must not stop a run
                self._loggers.remove(pair)
                why = f"{type(error).__name__}: {error}"
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
    """Import a library of an extra.

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
    """Return a library's id of the run from an earlier process."""
    id_file = folder / f"{library}.id"
    return id_file.read_text(encoding="utf-8") if id_file.exists() else None


def keep_id(folder: Path, library: str, id: str) -> None:
    """Store a library's id of the run, so that a resumed run continues it."""
    (folder / f"{library}.id").write_text(id, encoding="utf-8")


def series(metric: Metric) -> str:
    """Return the name of a metric's series, for libraries without tags.

    It is the name and what tells it from others: ``train/loss/learner/learn``.
    """
    telling = (value for tag, value in sorted(metric.tags.items()) if tag not in _MOMENTS)
    return "/".join((metric.name, *telling))


_MOMENTS = ("round", "algorithm")
"""Tags that make no series of their own."""


def by_step(metrics: Sequence[Metric]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, series → value) for consecutive metrics of one step."""
    for step, same in groupby(metrics, key=lambda metric: metric.step):
        yield step, {series(metric): metric.value for metric in same}
