"""Competence is learned without the truth: flipping all of it changes no label and no lesson."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

import superalign_env
from superalign_env.canonical import to_json
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.rollout import Rollouts
from superalign_env.store import Run
from superalign_env.types import Episode, Reply, View
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_scenarios.weak_to_strong import WeakToStrong, labels_of, majority
from superalign_training.experience import training_rows
from superalign_training.loop.cast import first_policy
from superalign_training.loop.chain import Chain
from superalign_training.loop.driver import Planned, drive
from superalign_training.loop.residents import Residents
from superalign_training.loop.stages.competence import competence
from superalign_training.settings import Settings, read_settings
from superalign_training.watching import Silent

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
    pairs = zip(scenarios(world()), scenarios(FlippedGold(world())), strict=True)
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


def settings_for(*, people: int) -> Settings:
    given = {"temperature": 1.0}
    return read_settings(
        {
            "learner": "micro/1",
            "signals": {
                "models": ["random-menu", *[{"id": f"micro/{n}", **given} for n in (1, 2)]],
                "labels": people,
                "dropout": 0.2,
                "combine": "dawid-skene",
            },
            "competence": {
                "families": ["arithmetic"],
                "cases": 24,
                "control_cases": 12,
                "algorithm": {"id": "weak-to-strong", "method": "confidence", "steps": 4},
            },
        }
    )


def generation(folder: Path, settings: Settings) -> tuple[bytes, list[float]]:
    """Teach a generation competence; return what it was taught and became, and its grades."""

    def first() -> Chain:
        policy = first_policy("learner", settings, Residents())
        agent = run.agents.add(policy.agent.spec, role="learner")
        origin = msgspec.structs.replace(policy.origin, agent=agent)
        return Chain().with_policy("learner", origin)

    do = partial(competence, settings=settings)
    with Run.create(folder, kind="train", config={}, seed=5) as run:
        plan = [Planned("competence", do, 0, 1)]
        chain = drive(run, plan, first=first, watcher=Silent())
        episodes = list(run.episodes())
        labels = [row.event.evidence for row in run.events.read(kind="labels.combined")]
    said = [[(u.seat, u.text, u.view) for u in episode.utterances] for episode in episodes]
    grades = [grade.value for episode in episodes for grade in episode.grades]
    assert labels and said
    learner = chain.policies["learner"]
    return to_json([labels, said, chain.sight, learner.weights]), grades


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


def test_a_generation_without_people_learns_the_same_from_the_opposite_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, grades = generation(tmp_path / "honest", settings_for(people=0))
    flip(monkeypatch)
    flipped, opposite = generation(tmp_path / "flipped", settings_for(people=0))
    assert flipped == alone
    assert opposite == [1.0 - grade for grade in grades]


def test_people_are_the_one_door_by_which_truth_reaches_a_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above could not fail if the stage never met the flipped world."""
    asked, _ = generation(tmp_path / "honest", settings_for(people=12))
    flip(monkeypatch)
    flipped, _ = generation(tmp_path / "flipped", settings_for(people=12))
    assert flipped != asked
