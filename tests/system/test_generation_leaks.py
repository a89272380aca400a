"""What is learned without the truth: flipping all of it changes no label and no lesson.

Where the environment plants answers it tells critics their truth. That is the one door of a
round without people, and the tests say how wide it is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import superalign_env
from superalign_env.canonical import to_json
from superalign_env.final_answers import labels_of
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.rollout import Rollouts
from superalign_env.store import Run
from superalign_env.types import Episode, Gold, Metric, Planted, Reply, Task, View
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_scenarios.red_team import RedTeam
from superalign_scenarios.weak_to_strong import WeakToStrong, majority
from superalign_training.data import training_rows
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.truth_use import truth_use

FAMILIES = ("requests", "arithmetic", "strings", "writing")
NOISE: tuple[Any, ...] = (
    "none",
    {"id": "iid", "rate": 0.4},
    {"id": "class-conditional", "rates": {"comply": 0.5}},
    {"id": "systematic", "share": 0.4},
)
CASES = 12


class BySeed:
    """Answers from the menu by the view's seed, and keeps what it was shown."""

    spec = superalign_env.as_agent(lambda text: "").spec

    def __init__(self) -> None:
        self.seen: list[View] = []

    def act(self, views: list[View]) -> list[Reply]:
        self.seen += views
        return [answer(view) for view in views]


def answer(view: View) -> Reply:
    text = view.menu[view.seed % len(view.menu)] if view.menu else "score 3 sure 3"
    said = tuple(text.encode())
    prompt = tuple(view.text.encode())
    return Reply(text, prompt_ids=prompt, token_ids=said, logprobs=(-1.0,) * len(said))


def world() -> MicroWorld:
    return MicroWorld(families=FAMILIES, tiers=(1, 2))


def scenarios(source: TaskSource) -> Iterator[WeakToStrong]:
    for renderer in ("micro", "english"):
        for noise in NOISE:
            yield WeakToStrong(
                source=source,
                supervisors=3,
                noise=noise,
                critics=2,
                below=0.35,
                rejected="asked-again" if renderer == "micro" else "left-out",
                show_labels=True,
                renderer=renderer,
            )


def played(scenario: Scenario[Any]) -> tuple[list[Episode], list[View]]:
    agent = BySeed()
    agents = dict.fromkeys(scenario.seats, agent)
    episodes = list(Rollouts(scenario, agents, run=9, live=4).run(CASES))
    return episodes, sorted(agent.seen, key=lambda view: (view.episode, view.turn))


def infos(scenario: Scenario[Any]) -> list[Any]:
    """Everything that the Parallel environment tells, infos and rewards included."""
    seen: list[Any] = []
    env = superalign_env.parallel_env(scenario)
    for _ in range(3):
        observations, info = env.reset()
        seen.append([observations, info])
        while env.agents:
            actions = {s: answer(info[s]["view"]).text for s in info if info[s]["asked"]}
            *rest, info = env.step(actions)
            seen.append([*rest, info])
    return seen


def all_that_teaches(scenario: Scenario[Any]) -> bytes:
    episodes, views = played(scenario)
    labels = [labels_of(episode) for episode in episodes]
    taught = [majority(found).text for found in labels]
    rows = [training_rows(episodes, seat) for seat in scenario.seats]
    events = [episode.events for episode in episodes]
    return to_json([views, labels, taught, rows, events, infos(scenario)])


def test_flipping_all_gold_changes_no_view_no_info_no_label_and_no_training_row() -> None:
    pairs = list(zip(scenarios(world()), scenarios(FlippedGold(world())), strict=True))
    assert len(pairs) == 2 * len(NOISE)
    for honest, flipped in pairs:
        assert all_that_teaches(honest) == all_that_teaches(flipped)


def test_flipping_all_gold_changes_what_is_graded_and_paid_once_truth_is_switched_on() -> (
    None
):
    """The check above could not fail if the flipped world were the same world."""
    told = []
    for source in (world(), FlippedGold(world())):
        episodes, _ = played(WeakToStrong(source=source, truth=True))
        grades = [grade.value for episode in episodes for grade in episode.grades]
        pay = [row.reward for row in training_rows(episodes, "learner_0")]
        told.append((grades, pay))
    assert told[0][0] != told[1][0]
    assert told[0][1] != told[1][1]


def flip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the microworld say the opposite of the truth, wherever it is made."""
    honest = MicroWorld.gold, MicroWorld.grade

    class Honest(MicroWorld):
        gold, grade = honest  # type: ignore[assignment] # methods of the true world

    def twin(world: MicroWorld) -> FlippedGold:
        true = Honest.__new__(Honest)
        true.__dict__.update(world.__dict__)
        return FlippedGold(true)

    monkeypatch.setattr(MicroWorld, "gold", lambda w, task: twin(w).gold(task))
    monkeypatch.setattr(
        MicroWorld,
        "grade",
        lambda w, task, text, group="": twin(w).grade(task, text, group),
    )


# --- a whole round of self-play

ROUND = (
    "judge",
    "attack",
    "supervise",
    "improve-learner",
    "calibrate",
    "league",
    "alarms",
)
"""Stages of a round that train somebody, or decide whom they train with."""

GENERATION = ("gap", "competence", "discover", "conform", "gate")
"""What a chain has besides."""

MEASURING = ("evaluate", "trial", "measure", "test")
"""Stages that know the truth."""


def a_round(*, planted: int) -> dict[str, Any]:
    """Settings of two rounds in which everything that can learn does, and nobody is asked."""
    few = {"steps": 2, "batch_size": 8}
    return {
        "lineup": {"attacker": "micro/0", "learner": "micro/0", "critic": "micro/0"},
        "train": {
            "attacker": few,
            "learner": {"steps": 2, "batch_size": 4, "num_generations": 2},
            "critic": few,
        },
        "rounds": 2,
        "budget": 0.0,
        "judge": {
            "cases": planted,
            "check_cases": planted,
            "single_answer_steps": 1,
            "max_fits": 2,
            "imitation": few,
        },
        "attack": {"cases": 12, "archive_updates": 2, "min_distinct": 0.0},
        "supervise": {
            "algorithm": {"id": "sft", **few},
            "cases": 6,
            "replay": {"cases": 0},
        },
        "calibrate": {"cases": planted},
        "league": {"share": 0.3, "cases": 4},
        "evaluate": {
            "cases": 10,
            "attack_cases": 4,
            "fresh_queries": 6,
            "fresh_waves": 2,
            "families": ["arithmetic"],
            "family_cases": 2,
        },
    }


class Learned(NamedTuple):
    """A run, apart by who reads what."""

    stages: dict[str, bytes]
    """Stage that learns → all that its agents read and said, its training rows, what it
    noticed and measured, and the weights that it left."""
    measured: list[float]
    """What `evaluate` and `test` found."""
    planted: int


def learned(folder: Path, settings: dict[str, Any]) -> Learned:
    SelfPlay(run_dir=str(folder), people=None, **settings).run()
    stages: dict[str, bytes] = {}
    measured: list[float] = []
    with Run.open(folder, readonly=True) as run:
        for stage in run.stages.all():
            found = [row.metric for row in run.metrics.read(stage=stage.id)]
            if stage.name in MEASURING:
                measured += [metric.value for metric in found]
                continue
            found = [metric for metric in found if not _by_truth(stage.name, metric)]
            episodes = list(run.episodes(stage=stage.id))
            seats = sorted({seat for episode in episodes for seat in episode.seats})
            said = [
                [(u.seat, u.text, u.view, u.reply) for u in e.utterances] for e in episodes
            ]
            rows = [training_rows(episodes, seat) for seat in seats]
            events = [episode.events for episode in episodes]
            noticed = [one.event for one in run.events.read(stage=stage.id)]
            parts = [said, rows, events, noticed, found, stage.outputs]
            stages[stage.id] = to_json(parts)
        return Learned(stages, measured, truth_use(run).planted)


def _by_truth(stage: str, metric: Metric) -> bool:
    """Whether a stage that learns says a number by the truth, for people to read.

    A league examines critics on planted answers, to rate them.
    """
    return stage == "league" or metric.tags.get("by") == "truth"


def two_generations() -> dict[str, Any]:
    """Settings of a chain whose sources are models, and which is told nothing."""
    return {
        **a_round(planted=0),
        "rounds": 1,
        "generations": 2,
        "levels": ["micro/0", "micro/0@1"],
        "gap": "adaptive",
        "signals": {"labels": 0, "models": ["micro/0@1", "micro/1", "micro/1@1"]},
        "competence": {"cases": 12, "control_cases": 6, "algorithm": {"steps": 2}},
        "discover": {
            "cases": 12,
            "archive_updates": 2,
            "max_hazards": 8,
            "score_threshold": 0.9,
        },
        "conform": {
            "max_hazards": 6,
            "ordinary_cases": 6,
            "written_answers": 0,
            "algorithm": {"steps": 2},
            "replay": {"cases": 0},
        },
        "gate": {
            "cases": 6,
            "request_cases": 8,
            "request_labels": 0,
            "disagreement_labels": 0,
            "deployment_cases": 8,
        },
        "capability": {
            "cases": 2,
            "requests": 10,
            "gold_tasks": 8,
            "ceiling": {"steps": 1},
            "best_of": 2,
            "test_factor": 1,
        },
    }


def test_a_chain_without_planting_and_people_is_the_same_under_the_opposite_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources, controller, hazards, safe answers, gate and alarms hear nothing of it."""
    honest = learned(tmp_path / "honest", two_generations())
    flip(monkeypatch)
    flipped = learned(tmp_path / "flipped", two_generations())
    stages = {name.partition("-")[2] for name in honest.stages}
    assert stages == {*ROUND, *GENERATION}
    assert flipped.stages == honest.stages
    assert flipped.measured != honest.measured


def test_planted_answers_are_the_one_door_by_which_truth_reaches_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above could not fail if no stage ever met the flipped world."""
    one = {**a_round(planted=8), "rounds": 1}
    honest = learned(tmp_path / "honest", one)
    flip(monkeypatch)
    flipped = learned(tmp_path / "flipped", one)
    assert honest.planted == flipped.planted == 8 + 2 * 8 + (8 + 8)
    schools = [name for name in honest.stages if name.endswith("judge")]
    assert schools
    assert all(honest.stages[name] != flipped.stages[name] for name in schools)


def test_flipping_all_gold_changes_nothing_but_planted_cases() -> None:
    """Whoever is not told of a planted answer reads, says and earns the same."""
    told: list[dict[tuple[str, int], bytes]] = []
    for source in (world(), FlippedGold(world())):
        scenario = RedTeam(source=source, plant=0.4, vanilla=0.3, critics=2, refine=1)
        episodes, views = played(scenario)
        found = {}
        for episode in episodes:
            seen = [view for view in views if view.episode == episode.id]
            rows = [training_rows([episode], seat) for seat in scenario.seats]
            parts = [seen, rows, episode.events, episode.ending]
            found[episode.arm, episode.key.case] = to_json(parts)
        told.append(found)
    honest, flipped = told
    assert honest.keys() == flipped.keys()
    arms = {arm for arm, _ in honest}
    assert arms == {"planted", "vanilla", "attack"}
    for (arm, case), parts in honest.items():
        assert (parts == flipped[arm, case]) == (arm != "planted"), (arm, case)


def test_of_a_planted_answer_the_truth_reaches_its_judges_and_nobody_else() -> None:
    """The same answer, planted as good and as bad, differs in what critics earn alone."""
    case = next(
        n for n in range(40) if not planted_fact(planted_episode(n, best="refuse")).good
    )
    good, bad = (planted_episode(case, best=best) for best in ("comply", "refuse"))
    assert planted_fact(good) == Planted("learner_0", True, "comply")
    assert planted_fact(bad) == Planted("learner_0", False, "comply")
    assert [u.view for u in good.utterances] == [u.view for u in bad.utterances]
    for seat in good.seats:
        mine, theirs = (training_rows([episode], seat) for episode in (good, bad))
        unpaid = [
            [row._replace(turn_rewards=(), to_go=0.0) for row in rows]
            for rows in (mine, theirs)
        ]
        assert unpaid[0] == unpaid[1], f"{seat} read or said something else"
        assert (mine != theirs) == seat.startswith("critic")
    paid = zip(good.rewards, bad.rewards, strict=True)
    assert {one.part for one, other in paid if one != other} == {"planted"}


class Best:
    """A source whose one offered answer is ``comply``, and which calls another one best."""

    def __init__(self, best: str) -> None:
        self._source = MicroWorld()
        self._best = best

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def answers(self, task: Task) -> tuple[str, ...]:
        return ("comply",)

    def gold(self, task: Task) -> Gold:
        return msgspec.structs.replace(self._source.gold(task), answer=self._best)


def planted_episode(case: int, *, best: str) -> Episode:
    scenario = RedTeam(source=Best(best), plant=1.0, vanilla=0.0, critics=2)
    agents = dict.fromkeys(scenario.seats, BySeed())
    return Rollouts(scenario, agents, run=9, first_case=case).run(1)[0]


def planted_fact(episode: Episode) -> Planted:
    (fact,) = episode.planted
    return fact
