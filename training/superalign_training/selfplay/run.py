"""A run in Python: rounds of self-play, or a chain of generations.

::

    from superalign_training.selfplay import SelfPlay
    summary = SelfPlay(scenario="red-team", rounds=3, run_dir="runs/mine").run()
    summary = SelfPlay(generations=3, rounds=1, gap="adaptive", run_dir="runs/chain").run()
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from superalign_agents.devices import require_device
from superalign_env.asking import Anyone
from superalign_env.errors import RecordError
from superalign_env.plain_text import markdown
from superalign_env.protocols import Learner
from superalign_env.report.names import flat
from superalign_env.seating import as_agent
from superalign_env.store import TRAINING, Run
from superalign_env.store.database import reporting_full_disk
from superalign_env.types import Role, Seat
from superalign_training.evaluation.chain_summary import (
    ChainSummary,
    GateOutcome,
    summarise_chain,
)
from superalign_training.evaluation.outcome_summary import (
    OutcomeSummary,
    summarise_outcomes,
)
from superalign_training.evaluation.refusals import ASKED
from superalign_training.evaluation.summary import Summary, summarise
from superalign_training.loggers import Logging, make_loggers, referred
from superalign_training.selfplay.agents import first_policies
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.driver import Interrupted, Watcher, drive
from superalign_training.selfplay.lineup import (
    LEARNER,
    OBJECT,
    AgentReference,
    merged,
    preset_settings,
)
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import Settings, read_settings
from superalign_training.selfplay.state import RunState, first_state
from superalign_training.selfplay.truth_use import truth_use
from superalign_training.selfplay.watching import Silent

KIND = "train"

RunSummary = Summary | ChainSummary | OutcomeSummary
"""What a run of red-teaming, of generations, or of any other rounds comes to."""

_SCENARIOS: Mapping[str, Any] = MappingProxyType({})
"""People as the scenario's preset has them."""

_AGAIN = "SelfPlay(…).run(resume=True), with the same arguments as before"
_MAY_DIFFER = ("run_dir", "threads", "rounds", "failures")
"""Settings that a resumed run may have other values of."""


class SelfPlay:
    """A self-play run.

    Args:
        scenario: id of a scenario.
        preset: what settings start from: ``hardened``, ``quick`` …
        lineup: role or seat → who holds it: an agent reference (``micro/3``, a folder,
            ``keyword``), a mapping with an ``id`` and options of the agent, among them
            ``adapter`` (LoRA), or an agent itself. A `Learner` is copied: the one given
            stays as it was. ``same:learner`` seats one policy in several roles. Roles that
            are not named have the scenario's preset.
        train: role → the algorithm by which it learns (``"ppo"``, ``{"id": "ppo",
            "learning_rate": 1e-3}``), a list of them, or None for a role that does not learn.
        people: who is asked and how answers pay (`PeopleSettings`); None asks nobody.
        budget: questions to people for each episode that is learned from by pay.
        watcher: is told how it goes; nobody when absent.
        **settings: further fields of `Settings`; sections may be mappings.

    Raises:
        InvalidOption: settings that make no sense.
    """

    def __init__(
        self,
        scenario: str = "red-team",
        *,
        preset: str = "default",
        lineup: Mapping[Role | Seat, AgentReference | Anyone] | None = None,
        train: Mapping[Role, Any] | None = None,
        people: Mapping[str, Any] | None = _SCENARIOS,
        budget: float | None = None,
        watcher: Watcher | None = None,
        **settings: Any,
    ) -> None:
        references, self._objects = _referred(lineup or {})
        log_to, self._loggers = referred(settings.pop("log_to", None))
        values = merged(preset_settings(preset, scenario), settings)
        for group, changes in (("lineup", references), ("train", train or {})):
            values[group] = {**values.get(group, {}), **changes}
        values |= {"scenario": scenario, "log_to": log_to}
        if budget is not None:
            values["budget"] = budget
        if people is None:
            values["budget"] = 0.0
        else:
            values["people"] = dict(people)
        self.settings = read_settings(values)
        self._watcher: Watcher = watcher or Silent()

    @classmethod
    def of(cls, settings: Settings, watcher: Watcher | None = None) -> "SelfPlay":
        """Return a run with checked settings."""
        run = cls(watcher=watcher)
        run.settings = settings
        return run

    def run(self, *, resume: bool = False) -> RunSummary:
        """Run every remaining stage and return the summary.

        Args:
            resume: continue the run in `run_dir` instead of making one.

        Raises:
            RecordError: a run lies there already (or, to resume, none does).
            Interrupted: by Ctrl-C or SIGTERM; resume continues.
        """
        settings = self.settings
        require_device(settings.device)
        loggers = make_loggers(settings.log_to, self._loggers)
        # Loading weights takes milliseconds and would draw a bar each time.
        disable_progress_bar()  # type: ignore[no-untyped-call] # theirs
        if settings.device == "cpu":
            torch.set_num_threads(settings.threads)
        models = ModelCache(self._objects)
        require_lineup(settings, models)  # before any folder
        stages = plan(settings)
        policies = first_policies(settings, models)
        generation_role = settings.generation_role if settings.generations else ""
        shared = {r: settings.holder(r) for r in policies if settings.holder(r) != r}
        with _opened(settings, resume) as run, Logging(run, loggers) as logging:
            try:
                drive(
                    run,
                    stages,
                    first_state=lambda: first_state(
                        run, policies, holders=shared, generation_role=generation_role
                    ),
                    watcher=self._watcher,
                    failures=settings.failures,
                    models=models,
                    sink=logging,
                )
            except Interrupted as stop:
                if self._objects or self._loggers:  # no command line can name them
                    stop.args = (f"stopped; go on with: {_AGAIN}",)
                raise
            return write_summary(run)


def _referred(
    lineup: Mapping[Role | Seat, AgentReference | Anyone],
) -> tuple[dict[str, AgentReference], dict[str, Anyone]]:
    """Return a lineup of references, and the agents behind those that name an object."""
    references: dict[str, AgentReference] = {}
    objects: dict[str, Anyone] = {}
    for role, holder in lineup.items():
        if isinstance(holder, str):
            references[role] = holder
        elif isinstance(holder, Mapping):
            references[role] = dict(holder)
        else:
            agent = as_agent(holder)
            kind: Any = holder if inspect.isroutine(holder) else type(holder)
            prefix = LEARNER if isinstance(agent, Learner) else OBJECT
            reference = f"{prefix}{kind.__module__}.{kind.__qualname__}/{role}"
            references[role], objects[reference] = reference, agent
    return references, objects


def write_summary(run: Run) -> RunSummary:
    """Write ``summary.json`` and ``summary.md`` into a run's folder.

    Both end with what the run was told of the truth while it learned.
    """
    metrics = [row.metric for row in run.metrics.read(without=TRAINING)]
    summary: RunSummary
    if run.info.config.get("generations"):
        summary = summarise_chain(metrics, gate_outcomes(run))
    elif {metric.name for metric in metrics} & {"lead", ASKED}:
        summary = summarise(metrics)
    else:
        summary = summarise_outcomes(metrics)
    truth = truth_use(run)
    plain = json.dumps({**summary.plain(), "told": truth.plain()}, indent=1)
    page = f"{summary.markdown()}\n{markdown(truth.sentence)}\n"
    for name, text in (("summary.json", f"{plain}\n"), ("summary.md", page)):
        with reporting_full_disk(run.path / name):
            (run.path / name).write_text(text, encoding="utf-8")
        run.files.keep(name)
    return summary


def gate_outcomes(run: Run) -> list[GateOutcome]:
    """Return the gate's decisions on the generations of a run."""
    results = []
    for stage in run.stages.all(status="done"):
        if stage.name == "gate":
            decision = stage.outputs["notes"]
            level = RunState.from_plain(stage.inputs["state"]).level
            results.append(
                GateOutcome(
                    stage.generation, level, decision["accepted"], decision["reason"]
                )
            )
    return results


def _opened(settings: Settings, resume: bool) -> Run:
    if resume:
        run = Run.open(settings.run_dir)
        try:
            _require_same(run, settings)
        except BaseException:
            run.close()
            raise
        return run
    config: Mapping[str, Any] = settings.model_dump(mode="json")
    return Run.create(Path(settings.run_dir), kind=KIND, config=config, seed=settings.seed)


def _require_same(run: Run, settings: Settings) -> None:
    """Raise where a run was made with other settings, and name them.

    Raises:
        RecordError: it was.
    """
    recorded = flat(read_settings(run.info.config).model_dump(mode="json"))
    requested = flat(settings.model_dump(mode="json"))
    differ = [
        f"{key}={recorded.get(key, 'nothing')}, not {requested.get(key, 'nothing')}"
        for key in dict.fromkeys([*recorded, *requested])
        if recorded.get(key) != requested.get(key) and key not in _MAY_DIFFER
    ]
    if differ:
        suffix = f" (and {len(differ) - 3} more)" if len(differ) > 3 else ""
        raise RecordError(
            f"{run.path} was made with {'; '.join(differ[:3])}{suffix}; resume it with the "
            "settings in its config.yaml, or go on with others in a fork: superalign fork"
        )
