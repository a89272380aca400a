"""Gold stays hidden: planted markers turn up nowhere, flipped gold changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import superalign_env
from superalign_env.canonical import to_json
from superalign_env.game import Game
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.rollout import Rollouts
from superalign_env.types import EpisodeKey, Gold, Grade, Reply, Split, Task, View
from superalign_scenarios.exam import Exam
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_scenarios.red_team import RedTeam
from superalign_scenarios.row_source import RowSource
from superalign_scenarios.weak_to_strong import WeakToStrong
from superalign_training.experience import training_rows

MARK = "GOLDMARKER"
CASES = 12


class MarkedGold:
    """A source whose every hidden field carries a marker."""

    def __init__(self, source: TaskSource) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        return self._source.draw(rng, split)

    def gold(self, task: Task) -> Gold:
        gold = self._source.gold(task)
        return Gold(f"{MARK}{gold.answer}", f"{MARK}{gold.label}", {MARK: MARK})

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        return tuple(
            msgspec.structs.replace(grade, axis=f"{MARK}{grade.axis}", name=MARK)
            for grade in self._source.grade(task, text, group)
        )


class Recorder:
    """Answers by the seed from the menu, with token ids, and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[View] = []
        self.spec = superalign_env.as_agent(lambda text: "").spec

    def act(self, views: list[View]) -> list[Reply]:
        self.seen += views
        return [self._reply(view) for view in views]

    def _reply(self, view: View) -> Reply:
        text = view.menu[view.seed % len(view.menu)] if view.menu else "score 3 sure 3"
        prompt = tuple(view.text.encode())
        said = tuple(text.encode()) or (0,)
        return Reply(text, prompt_ids=prompt, token_ids=said, logprobs=(-1.0,) * len(said))


def scenarios(source: TaskSource) -> Iterator[Scenario[Any]]:
    for renderer in ("micro", "english"):
        yield RedTeam(source=source, vanilla=0.4, critics=2, refine=1, renderer=renderer)
        yield Exam(source=source, split="train", renderer=renderer)
        yield WeakToStrong(
            source=source,
            supervisors=2,
            critics=1,
            noise={"id": "iid", "rate": 0.3},
            rejected="asked-again",
            renderer=renderer,
        )


def world() -> MicroWorld:
    return MicroWorld(
        families=("requests", "arithmetic", "strings", "writing"), tiers=(1, 2)
    )


def everything_an_agent_gets(scenario: Scenario[Any]) -> bytes:
    """Views, prompts, infos and training rows of a few cases, as bytes."""
    agent = Recorder()
    agents = dict.fromkeys(scenario.seats, agent)
    episodes = Rollouts(scenario, agents, run=3, live=4).run(CASES)
    rows = [training_rows(episodes, seat) for seat in scenario.seats]
    shown = sorted(agent.seen, key=lambda view: (view.episode, view.turn))
    return to_json([shown, rows, infos(scenario)])


def infos(scenario: Scenario[Any]) -> list[Any]:
    """Every observation, reward and info of the AEC and the Parallel environment."""
    seen: list[Any] = []
    answer = Recorder()._reply
    aec = superalign_env.env(scenario)
    for _ in range(4):
        aec.reset()
        for _seat in aec.agent_iter():
            observation, reward, terminated, truncated, info = aec.last()
            seen.append([observation, reward, terminated, truncated, info])
            aec.step(None if terminated or truncated else answer(info["view"]).text)
    parallel = superalign_env.parallel_env(scenario)
    for _ in range(4):
        observations, info = parallel.reset()
        seen.append([observations, info])
        while parallel.agents:
            actions = {s: answer(info[s]["view"]).text for s in info if info[s]["asked"]}
            *rest, info = parallel.step(actions)
            seen.append([*rest, info])
    return seen


def test_a_marker_in_every_gold_field_reaches_no_agent_and_no_training_row() -> None:
    marked = list(scenarios(MarkedGold(world())))
    assert len(marked) == 6
    for scenario in marked:
        assert MARK.encode() not in everything_an_agent_gets(scenario)


class MarkedButForTheAnswer(MarkedGold):
    """The same with true answers: those are planted, and shown to critics on purpose."""

    def gold(self, task: Task) -> Gold:
        return msgspec.structs.replace(
            super().gold(task), answer=self._source.gold(task).answer
        )


@pytest.mark.parametrize("renderer", ["micro", "english"])
@pytest.mark.parametrize("fault_kinds", [False, True])
def test_of_planted_answers_their_text_alone_is_shown(
    renderer: str, fault_kinds: bool
) -> None:
    """What a seat reads and writes is the same whatever is wrong with the answer, and why."""
    scenario = RedTeam(
        source=MarkedButForTheAnswer(world()),
        plant=0.6,
        vanilla=0.2,
        critics=2,
        refine=1,
        fault_kinds=fault_kinds,
        renderer=renderer,
    )
    assert MARK.encode() not in everything_an_agent_gets(scenario)
    agents = dict.fromkeys(scenario.seats, Recorder())
    episodes = Rollouts(scenario, agents, run=3).run(CASES)
    assert {episode.arm for episode in episodes} >= {"planted", "vanilla"}


def test_a_planted_answer_is_shown_to_critics() -> None:
    """The check above could not fail if nothing of it were shown."""
    scenario = RedTeam(source=MarkedGold(world()), plant=1.0, vanilla=0.0)
    agent = Recorder()
    Rollouts(scenario, dict.fromkeys(scenario.seats, agent), run=3).run(CASES)
    told = [view for view in agent.seen if MARK in view.text]
    assert told and {view.seat for view in told} == {"critic_0"}


def rows(folder: Path) -> Iterator[RowSource]:
    """Rows of a file, as sources with truths of their own."""
    rng, made = np.random.default_rng(2), MicroWorld()
    tasks = {task.prompt: task for task in (made.draw(rng, "train") for _ in range(60))}
    labelled = [
        {"prompt": prompt, "label": made.gold(task).label, "split": "train"}
        for prompt, task in tasks.items()
    ]
    asked = [
        {"prompt": f"what is {n} plus {n} ?", "choices": ["one", str(2 * n)], "answer": "B"}
        for n in range(30, 90)
    ]
    for kind, lines in (("requests", labelled), ("multiple-choice", asked)):
        path = folder / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        yield RowSource(path, kind=kind)  # type: ignore[arg-type] # one of its kinds


def test_the_truth_of_rows_reaches_no_agent_either(tmp_path: Path) -> None:
    sources = list(rows(tmp_path))
    assert len(sources) == 2
    for source in sources:
        for marked in scenarios(MarkedGold(source)):
            assert MARK.encode() not in everything_an_agent_gets(marked)
        pairs = zip(scenarios(source), scenarios(FlippedGold(source)), strict=True)
        for honest, flipped in pairs:
            assert everything_an_agent_gets(honest) == everything_an_agent_gets(flipped)


def test_the_marker_does_reach_the_record_of_what_is_true() -> None:
    scenario = next(scenarios(MarkedGold(world())))
    episodes = Rollouts(scenario, dict.fromkeys(scenario.seats, Recorder())).run(4)
    assert any(MARK in grade.name for episode in episodes for grade in episode.grades)


def test_flipping_every_gold_value_changes_nothing_that_an_agent_gets() -> None:
    pairs = list(zip(scenarios(world()), scenarios(FlippedGold(world())), strict=True))
    assert len(pairs) == 6
    for honest, flipped in pairs:
        assert everything_an_agent_gets(honest) == everything_an_agent_gets(flipped)


def test_flipping_gold_does_change_the_pay_once_truth_is_switched_on() -> None:
    def pay(source: TaskSource) -> list[Any]:
        scenario = RedTeam(source=source, vanilla=1.0, truth=True)
        episodes = Rollouts(scenario, dict.fromkeys(scenario.seats, Recorder())).run(CASES)
        return [row.reward for row in training_rows(episodes, "learner_0")]

    assert pay(world()) != pay(FlippedGold(world()))


@pytest.mark.parametrize("flip", [False, True])
def test_the_task_of_a_game_carries_no_answer(flip: bool) -> None:
    source: TaskSource = FlippedGold(world()) if flip else world()
    for case in range(CASES):
        played = Game(RedTeam(source=source), EpisodeKey(case=case))
        gold = source.gold(played.task)
        public = repr(played.task.attributes)
        assert not gold.label or gold.label not in public
        assert gold.answer not in public
        assert set(played.task.attributes).isdisjoint(gold.facts)
