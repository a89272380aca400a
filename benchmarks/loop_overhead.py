"""Which share of a chain of generations is no model work: record, bookkeeping, evaluation.

A whole run of the generation loop is sampled by a timer that counts CPU time: every two
milliseconds of it (or when the C call that lasts longer has returned) the newest frame of
ours says what the time since the last sample was spent on.

* model: decoding, forward passes and training, tokenizing and TRL's own loop included;
* rules: scenarios, renderers, the engine that plays episodes, sources of tasks;
* record: the store, checkpoints and their hashes;
* evaluation: exams, measures, intervals, metrics, but no forward pass;
* loop: driver, stages, rows and lessons, sources, gates, alarms; and what has no frame of ours;
* collector: Python's garbage collector, wherever it strikes; trainers leave most of it.

``overhead_share`` is record + evaluation + loop over all. Imports happen before.

Usage: python benchmarks/loop_overhead.py [--quick] [KEY=VALUE …]
"""

import argparse
import gc
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from timing import last_line, table

from superalign_training.cli.composing import composed
from superalign_training.cli.cost import cost_of
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.settings import read_settings

INTERVAL = 0.002
"""CPU seconds between samples."""

KINDS = {
    "superalign_agents": "model",
    "superalign_training.algorithms": "model",
    "superalign_training.policy.checkpoint": "record",
    "superalign_training.policy.checkpoint_files": "record",
    "superalign_training.policy": "model",
    "superalign_training.token_env": "model",
    "superalign_agents.checkpoints": "record",
    "superalign_agents.model_cache": "record",
    "superalign_agents.archive": "loop",
    "superalign_scenarios": "rules",
    "superalign_env.game": "rules",
    "superalign_env.rollout": "rules",
    "superalign_env.asking": "rules",
    "superalign_env.recording": "rules",
    "superalign_env.seeding": "rules",
    "superalign_env.rewards": "rules",
    "superalign_env.verdicts": "rules",
    "superalign_env.plain_text": "rules",
    "superalign_env.replies": "rules",
    "superalign_env.types": "rules",
    "superalign_env.envs": "rules",
    "superalign_env.store": "record",
    "superalign_env.canonical": "record",
    "superalign_env.measures": "evaluation",
    "superalign_training.evaluation": "evaluation",
    "superalign_training.evaluation.likelihood": "model",
    "superalign_env": "loop",
    "superalign_training": "loop",
}
"""Package or module → what its time is; the longest name that fits says it."""

OVERHEAD = ("record", "evaluation", "loop")


class Sampler:
    """Adds up CPU time by what it was spent on, and by module, while it is entered."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.modules: defaultdict[str, float] = defaultdict(float)
        self._known: dict[str, str] = {}
        self._last = 0.0
        self._collecting: float | None = None

    def __enter__(self) -> "Sampler":
        self._last = time.process_time()
        gc.callbacks.append(self._collected)
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        now = time.process_time()
        if phase == "start":
            self._collecting = now
        elif self._collecting is not None:
            self.seconds["collector"] += now - self._collecting
            self._last += now - self._collecting  # no part of the next sample
            self._collecting = None

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if self._collecting is not None:
            return  # in a callback of what is collected
        now = time.process_time()
        name = ""
        while frame is not None:
            name = str(frame.f_globals.get("__name__", ""))
            if name.startswith("superalign"):
                break
            frame = frame.f_back
        kind = self._known.get(name)
        if kind is None:
            kind = self._known[name] = kind_of(name)
        self.seconds[kind] += now - self._last
        self.modules[name] += now - self._last
        self._last = now


def kind_of(module: str) -> str:
    """Return what a module's time is."""
    while module:
        if module in KINDS:
            return KINDS[module]
        module = module.rpartition(".")[0]
    return "loop"


def most_first(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return what took time and how much, the most first."""
    return sorted(seconds.items(), key=lambda pair: -pair[1])


def main() -> None:
    """Measure, print the tables, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("words", nargs="*", help="settings of the run")
    options = parser.parse_args()
    generations = 1 if options.quick else 3
    words = ["preset=chain", f"generations={generations}", *options.words]
    with tempfile.TemporaryDirectory() as folder:
        plain = composed([*words, f"run_dir={Path(folder) / 'run'}"])
        settings = read_settings(plain)
        print(cost_of(settings).line)  # as `superalign train` does: all imports are made
        gc.freeze()
        play = SelfPlay.of(settings)
        begin = time.process_time()
        with Sampler() as sampler:
            play.run()
        whole = time.process_time() - begin
    rows = [
        (kind, f"{seconds:.2f}", f"{seconds / whole:.3f}")
        for kind, seconds in most_first(sampler.seconds)
    ]
    table(f"a chain of {generations}, CPU seconds", rows, ("spent on", "seconds", "share"))
    modules = [
        (name or "no frame of ours", kind_of(name), f"{seconds:.2f}")
        for name, seconds in most_first(sampler.modules)[:16]
    ]
    print()
    table("the modules that take most", modules, ("module", "kind", "seconds"))
    overhead = sum(sampler.seconds[kind] for kind in OVERHEAD)
    last_line(
        {
            "overhead_share": overhead / whole,
            "rules_share": sampler.seconds["rules"] / whole,
        }
    )


if __name__ == "__main__":
    main()
