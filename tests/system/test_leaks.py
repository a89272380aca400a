"""Gold stays hidden: planted markers turn up nowhere, flipped gold changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import superalign_env
from superalign_env import registry
from superalign_env.canonical import to_json
from superalign_env.capabilities import variants_of
from superalign_env.envs import make_scenario
from superalign_env.game import Game
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.rollout import Rollouts
from superalign_env.seeding import generator
from superalign_env.testing.truth_leaks import flipped_twin
from superalign_env.types import EpisodeKey, Gold, Grade, Reply, Split, Task, View
from superalign_scenarios.exam import Exam
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_scenarios.red_team import RedTeam
from superalign_scenarios.row_source import RowSource
from superalign_scenarios.weak_to_strong import WeakToStrong
from superalign_training.data import training_rows

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


def declared() -> Iterator[tuple[str, str]]:
    """Every shipped scenario as it is, and in each variant that it declares."""
    for name in registry.entries("scenario"):
        if type(make_scenario(name)).__module__.startswith("superalign_scenarios."):
            for variant in ("", *variants_of(make_scenario(name))):
                yield name, variant


PLANTED = ("red-team-v0", "planted")
"""The only variant that shows anything of the gold, and only the text of planted answers."""


def made(name: str, variant: str) -> Scenario[Any]:
    rules = make_scenario(name)
    changed = variants_of(rules)[variant] if variant else {}
    return make_scenario(name, **{**rules.options, **changed})


def flipped(name: str, variant: str) -> Scenario[Any]:
    """The same rules over a source whose every hidden value is another one."""
    rules = made(name, variant)
    twin, truth = flipped_twin(rules)
    truth.learn([rules.source.draw(generator(case), "train") for case in range(20)])
    return twin


def test_scenarios_and_variants_are_all_declared_ones() -> None:
    known = set(declared())
    assert {name for name, variant in known if not variant} >= {
        *("red-team-v0", "exam-v0", "weak-to-strong-v0", "errand-v0", "echo-v0"),
    }
    variants = {variant for name, variant in known if name == "red-team-v0"}
    assert variants == {"", "attacked", "plain", "planted", "revised"}


@pytest.mark.parametrize(
    ("name", "variant"), [case for case in declared() if case != PLANTED]
)
def test_flipping_gold_changes_nothing_in_any_declared_variant(
    name: str, variant: str
) -> None:
    honest = everything_an_agent_gets(made(name, variant))
    assert honest == everything_an_agent_gets(flipped(name, variant))


class FlippedButForTheAnswer(FlippedGold):
    """Other labels, facts and grades, and the true answers: those are planted."""

    def gold(self, task: Task) -> Gold:
        true = self._source.gold(task)
        return msgspec.structs.replace(super().gold(task), answer=true.answer)


@pytest.mark.parametrize("fault_kinds", [False, True])
def test_of_planted_cases_only_the_true_answer_makes_a_difference(
    fault_kinds: bool,
) -> None:
    """The kind of a fault is what grades say of it; nothing but its pay may tell it."""

    def everything(source: TaskSource) -> bytes:
        scenario = RedTeam(
            source=source,
            **variants_of(make_scenario("red-team"))["planted"],
            critics=2,
            fault_kinds=fault_kinds,
            weights={"critic": {"planted": 1.0, "fault": 0.0}},
        )
        return everything_an_agent_gets(scenario)

    assert everything(world()) == everything(FlippedButForTheAnswer(world()))


def test_what_planted_cases_show_of_the_truth_is_the_text_of_the_answer() -> None:
    """Critics read another answer at one place, and all else is the same: pay, too."""
    played = []
    for rules in (made(*PLANTED), flipped(*PLANTED)):
        agent = Recorder()
        agents = dict.fromkeys(rules.seats, agent)
        played.append((Rollouts(rules, agents, run=3).run(CASES), agent.seen))
    (episodes, seen), (others, instead) = played
    answers = {e.id: e.planted[0].answer for e in episodes}
    swapped = {e.id: e.planted[0].answer for e in others}
    assert sum(answers[name] != swapped[name] for name in answers) > CASES // 2
    assert [e.planted[0].good for e in episodes] == [e.planted[0].good for e in others]
    assert len(seen) == len(instead) == CASES
    for view, other in zip(seen, instead, strict=True):
        old, new = answers[view.episode], swapped[view.episode]
        assert view.seat == other.seat == "critic_0"
        assert differ_at_one_place(view.text, other.text, old, new)
        assert (view.text == other.text) == (old == new)
        parts = zip(view.messages, other.messages, strict=True)
        assert all(differ_at_one_place(m.content, n.content, old, new) for m, n in parts)
        told = [(turn.author, turn.text) for turn in view.turns]
        assert told[-1] == ("learner_0", old)
        heard = [(turn.author, turn.text) for turn in other.turns]
        assert heard == [*told[:-1], ("learner_0", new)]
        shown = ("text", "messages", "turns")
        rest = msgspec.structs.replace(other, **{key: getattr(view, key) for key in shown})
        assert rest == view
    for seat in ("attacker_0", "learner_0", "critic_0"):
        mine, theirs = (training_rows(found, seat) for found in (episodes, others))
        same = [row._replace(prompt_ids=()) for row in mine]
        assert same == [row._replace(prompt_ids=()) for row in theirs]
        assert len(same) == (CASES if seat == "critic_0" else 0)


def differ_at_one_place(one: str, other: str, old: str, new: str) -> bool:
    """Whether one text becomes the other when old is replaced by new, once at most."""
    places = [n for n in range(len(one)) if one.startswith(old, n)]
    return one == other or any(
        other == one[:place] + new + one[place + len(old) :] for place in places
    )


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
