"""Executors: play blocks of cases here or in several processes."""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, runtime_checkable

from superalign_env.errors import InvalidOption, WorkerLost, hint, nearest
from superalign_env.rollout.blocks import Block, Plays
from superalign_env.rollout.worker_process import WorkerProcess, end, hired, opened

_NAMES = ("local", "process")

_PlayedT = TypeVar("_PlayedT")


@runtime_checkable
class Executor(Protocol):
    """Executor of blocks of cases: the extension point for a cluster."""

    def play(
        self, player: Plays[_PlayedT], blocks: Iterable[Block]
    ) -> Generator[list[_PlayedT], None, None]:
        """Yield ``player(block)`` for every block, as they come back, in any order.

        When it is closed early, nothing of it goes on.
        """
        ...


ExecutorName = Literal["local", "process"]


class Processes:
    """Pool of processes of this machine, kept from rollout to rollout.

    ::

        with Processes(4) as executor:
            for round in range(10):
                Rollouts(…, round=round, executor=executor).run(1000)

    Each process gets a copy of agents and scenario, by pickle, for every rollout anew, and
    two blocks at a time. Several rollouts may share one object; those that run at once
    have processes of their own.

    Args:
        workers: processes of one rollout; one for every core that this process may use
            when absent.

    Raises:
        InvalidOption: fewer than one.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is None:
            workers = _cores()
        if workers < 1:
            raise InvalidOption(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self._idle: list[WorkerProcess] = []

    def play(
        self, player: Plays[_PlayedT], blocks: Iterable[Block]
    ) -> Generator[list[_PlayedT], None, None]:
        """Yield the results of every block as it comes back.

        Raises:
            InvalidOption: an agent or the scenario cannot be pickled, or not be found there.
            WorkerLost: a process died.
            ProtocolError: an agent would lose its memory there.
        """
        packed = player.packed()
        todo = iter(blocks)
        first = list(islice(todo, self.workers))
        busy: dict[Any, WorkerProcess] = {}
        returned = 0
        try:
            for _ in first:
                worker = self._rested() or hired()
                busy[worker.pipe] = worker
            _begin(list(busy.values()), packed, first, todo)
            del packed  # a large model's weights
            while busy:
                for pipe in wait(list(busy)):
                    worker = busy[pipe]
                    done = worker.blocks[0]
                    answer = worker.take()
                    block = next(todo, None)
                    if block is not None:
                        worker.give(block)
                    elif not worker.blocks:
                        self._rest(busy.pop(pipe))
                    played = opened(answer)
                    returned += done.episodes
                    yield played
        except WorkerLost as error:
            raise WorkerLost(
                f"{error}; {returned} episodes had come back, and sinks have them"
            ) from None
        finally:
            # Only those that have finished play again: the others are in the middle of it.
            end(busy.values(), at_once=True)

    def close(self) -> None:
        """End the processes that wait; twice does no harm."""
        idle, self._idle = self._idle, []
        end(idle, at_once=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rest(self, worker: WorkerProcess) -> None:
        if len(self._idle) < self.workers:
            self._idle.append(worker)
        else:
            end([worker], at_once=False)

    def _rested(self) -> WorkerProcess | None:
        with suppress(IndexError):  # another thread may be quicker
            while True:
                worker = self._idle.pop()
                if worker.process.is_alive():
                    return worker
        return None


def _begin(
    crew: list[WorkerProcess], packed: bytes, first: list[Block], todo: Iterator[Block]
) -> None:
    """Give every process two blocks, so that none waits for the next."""
    for worker, block in zip(crew, first, strict=True):
        worker.begin(packed)
        worker.give(block)
    for worker, block in zip(crew, todo, strict=False):
        worker.give(block)


def check_executor(executor: ExecutorName | Executor) -> None:
    """Raise where an executor is none.

    Raises:
        InvalidOption: with the nearest name.
    """
    if isinstance(executor, str):
        if executor in _NAMES:
            return
        raise InvalidOption(
            f"no executor is called {executor!r}; {hint(nearest(executor, _NAMES), _NAMES)}"
        )
    if not isinstance(executor, Executor):
        raise InvalidOption(
            f"executor={executor!r} cannot play; choose 'local', 'process' or Processes(4)"
        )


@contextmanager
def opened_executor(executor: ExecutorName | Executor) -> Iterator[Executor]:
    """Yield an executor; one that was named, not passed, ends with the block."""
    if isinstance(executor, str):
        with Processes() as processes:
            yield processes
    else:
        yield executor


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
