"""The simulated person of the microworld: whose values it holds, and how it errs."""

import ast
from pathlib import Path

import pytest

import superalign_env
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.rollout import Rollouts
from superalign_env.seeding import generator, mix
from superalign_env.types import Turn, View
from superalign_env.verdicts import parse
from superalign_scenarios.microworld.persona import SimulatedPersona
from superalign_scenarios.microworld.source import MicroWorld

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("requests", "arithmetic", "strings", "writing")

MAY_KNOW_VALUES = {
    "training/superalign_training/experiments/gap/human_queries.py",  # an experiment's own truth
    "scenarios/superalign_scenarios/microworld/acts.py",
    "scenarios/superalign_scenarios/microworld/babble.py",
    "scenarios/superalign_scenarios/microworld/request_space.py",
    "scenarios/superalign_scenarios/microworld/requests.py",
    "scenarios/superalign_scenarios/microworld/source.py",
}
"""Modules that import the hidden value system."""

SIMULATED_PEOPLE = {
    "superalign_env/humans/authoring.py",
    "scenarios/superalign_scenarios/microworld/persona.py",
}
"""The only agents and annotators that answer by what is true."""


def view(prompt, answer=None, *, role="critic", seed=1, form="free"):
    turns = (Turn("user", prompt),)
    if answer is not None:
        turns += (Turn("learner_0", answer),)
    return View("e0", 0, f"{role}_0", role, 1, seed, prompt, (), turns, form=form)


def tasks(count=120, families=FAMILIES):
    rng, world = generator(3), MicroWorld(families=families, tiers=(1, 2))
    return world, [world.draw(rng, "train") for _ in range(count)]


def answers(persona, some):
    views = [view(t.prompt, role="learner", seed=mix(9, n)) for n, t in enumerate(some)]
    return [reply.text for reply in persona.act(views)]


def goodness(world, some, said, group=""):
    return [
        min(grade.value for grade in world.grade(task, text, group))
        for task, text in zip(some, said, strict=True)
    ]


def test_without_noise_it_says_what_is_right_in_every_family():
    world, some = tasks()
    assert set(goodness(world, some, answers(SimulatedPersona(noise=0.0), some))) == {1.0}


def test_it_holds_the_values_of_its_group():
    world, some = tasks(300, families=("requests",))
    for group in ("guardians", "libertines"):
        said = answers(SimulatedPersona(group=group, noise=0.0), some)
        assert set(goodness(world, some, said, group)) == {1.0}
        assert 0.0 in goodness(world, some, said, "everyone")


def test_noise_misreads_as_often_as_it_says_and_by_the_views_seed_alone():
    _, some = tasks(400, families=("arithmetic",))
    exact = answers(SimulatedPersona(noise=0.0), some)
    noisy = answers(SimulatedPersona(noise=0.3), some)
    wrong = sum(a != b for a, b in zip(exact, noisy, strict=True))
    assert 0.22 < wrong / 400 < 0.38  # other operators and digits seldom give the same
    assert answers(SimulatedPersona(noise=0.3), some) == noisy
    prompt = some[0].prompt
    persona = SimulatedPersona(noise=0.5)
    said = {
        persona.act([view(prompt, role="supervisor", seed=mix(1, n))])[0].text
        for n in range(40)
    }
    assert len(said) > 3


def test_blindness_errs_the_same_way_every_time():
    _, some = tasks(200, families=("arithmetic",))
    persona = SimulatedPersona(noise=0.0, blind=("+", "-", "*"))
    first = answers(persona, some)
    again = [
        persona.act([view(t.prompt, role="supervisor", seed=mix(77, n))])[0].text
        for n, t in enumerate(some)
    ]
    exact = answers(SimulatedPersona(noise=0.0), some)
    assert first == again
    assert 0.3 < sum(a != b for a, b in zip(first, exact, strict=True)) / 200 < 0.95


def test_as_a_critic_it_calls_good_what_its_group_calls_good():
    scenario = superalign_env.make_scenario("red-team", vanilla=1.0)
    cast = {
        "attacker_0": lambda text: "",
        "learner_0": lambda text: "comply",
        "critic_0": SimulatedPersona(noise=0.0),
    }
    episodes = Rollouts(scenario, cast).run(40)
    assert len({scenario.gold(episode, 0) for episode in episodes}) == 2
    for episode in episodes:
        verdict = parse(episode.utterances[-1].text)
        assert verdict.score == scenario.gold(episode, 0)
        assert [f.kind for f in verdict.faults] == ([] if verdict.score else ["harm"])


def test_a_verdict_takes_the_form_that_is_asked_for_and_a_shrug_where_nothing_is_known():
    _, (task, *_) = tasks(1, families=("writing",))
    persona = SimulatedPersona(noise=0.25)
    judged = parse(persona.act([view(task.prompt, "no", form="json-schema")])[0].text)
    assert judged.confidence == 0.75 and judged.score < 1.0
    for strange in (view("hello", "comply"), view(task.prompt)):
        shrug = parse(persona.act([strange])[0].text)
        assert shrug.confidence == 0.0
    assert "no task" in persona.act([view("hello", role="learner")])[0].error


@pytest.mark.parametrize("options", [{"noise": 1.5}, {"noise": -0.1}])
def test_senseless_noise_is_refused(options):
    with pytest.raises(InvalidOption):
        SimulatedPersona(**options)


def test_unknown_groups_are_refused():
    with pytest.raises(UnknownId):
        SimulatedPersona(group="martians")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_only_listed_modules_know_the_hidden_values():
    roots = ("superalign_env", "agents", "scenarios", "training")
    found = {
        path.relative_to(ROOT).as_posix()
        for root in roots
        for path in (ROOT / root).rglob("*.py")
        if "superalign_scenarios.microworld.values" in imported(path)
    }
    assert found <= MAY_KNOW_VALUES


def test_who_answers_by_the_truth_is_a_simulated_person_and_says_so():
    """No agent asks a source for gold, but the one that is named simulated."""
    asking = set()
    for root in ("agents", "scenarios/superalign_scenarios/microworld", "superalign_env"):
        for path in (ROOT / root).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
            for kind in classes:
                methods = {n.name for n in kind.body if isinstance(n, ast.FunctionDef)}
                asks = any(
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("gold", "grade")
                    for node in ast.walk(kind)
                )
                if "act" in methods and asks:
                    asking.add(path.relative_to(ROOT).as_posix())
                    assert kind.name.startswith("Simulated")
    assert asking <= SIMULATED_PEOPLE
    assert "scenarios/superalign_scenarios/microworld/persona.py" in asking
