"""Scripts, baselines and random menus."""

from collections import Counter

import pytest

from superalign_agents.scripted import (
    Fixed,
    RandomMenu,
    Scripted,
    always_comply,
    always_refuse,
)
from superalign_env.errors import InvalidOption
from superalign_env.types import View


def view(seat="learner_0", turn=0, *, seed=1, turns=(), menu=()):
    return View(
        "e0", 0, seat, seat.rpartition("_")[0], turn, seed, "say", turns=turns, menu=menu
    )


def said(agent, *views):
    return [reply.text for reply in agent.act(views)]


def test_a_flat_script_follows_the_turns_of_the_seat_and_begins_again():
    agent = Scripted(["q", "a", "v"])
    assert said(agent, *[view(turn=n) for n in range(5)]) == ["q", "a", "v", "q", "a"]


def test_a_role_script_counts_what_the_seat_itself_has_said():
    agent = Scripted({"learner": ["first", "second"], "critic": ["bad"]})
    assert said(agent, view(turn=0), view(turn=1)) == ["first", "second"]
    assert said(agent, view("critic_0", 0), view("critic_0", 1)) == ["bad", "bad"]


def test_a_role_without_lines_is_told_so_in_the_reply():
    reply = Scripted({"learner": ["a"]}).act([view("critic_0")])[0]
    assert "critic" in reply.error and "learner" in reply.error


def test_lines_picked_by_seed_depend_on_the_seed_alone_and_are_roughly_uniform():
    agent = Scripted(["a", "b"], pick="seed")
    first = said(agent, *[view(turn=n % 7, seed=n) for n in range(400)])
    assert first == said(agent, *[view(seed=n) for n in range(400)])
    assert 150 < Counter(first)["a"] < 250


@pytest.mark.parametrize("lines", [[], {}, {"learner": []}, "abc"])
def test_a_script_without_lines_is_refused(lines):
    with pytest.raises(InvalidOption):
        Scripted(lines)


def test_an_unknown_pick_is_refused():
    with pytest.raises(InvalidOption, match="pick"):
        Scripted(["a"], pick="turn")


def test_baselines_always_say_the_same():
    views = [view(seed=n) for n in range(3)]
    assert said(always_comply(), *views) == ["comply"] * 3
    assert said(always_refuse(), *views) == ["refuse"] * 3
    assert said(always_refuse("I'm sorry, no."), *views) == ["I'm sorry, no."] * 3
    assert said(Fixed("x"), *views) == ["x"] * 3


def test_specs_name_the_registered_id_and_all_options():
    assert always_comply().spec.id == "always-comply"
    assert always_comply().spec.options == {"text": "comply"}
    assert Scripted({"learner": ["a"]}).spec.options == {
        "lines": {"learner": ["a"]},
        "pick": "script",
    }


def test_random_menu_says_every_entry_about_equally_often():
    menu = ("a", "b", "c", "d")
    counts = Counter(said(RandomMenu(), *[view(seed=n, menu=menu) for n in range(800)]))
    assert set(counts) == set(menu)
    assert min(counts.values()) > 140


def test_random_menu_has_words_of_its_own_for_an_empty_menu():
    assert said(RandomMenu(), view()) == ["pass"]
    assert said(RandomMenu(otherwise="hello"), view()) == ["hello"]
