"""Search over menus, and the archive that it learns from."""

import itertools
import json
import math

import numpy as np
import pytest

from superalign_agents.archive import Archive, normalised
from superalign_agents.search import Search, mutate
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.types import View

NAMES = ("ann", "bob", "cid", "dan")
VERBS = ("lifts", "burns", "reads", "hides", "sells")
THINGS = ("book", "knife", "rope", "lamp", "key")
MENU = tuple(" ".join(words) for words in itertools.product(NAMES, VERBS, THINGS))


def view(seed, menu=MENU, case=0):
    return View(f"e{case}", case, "attacker_0", "attacker", 0, seed, "seed", menu=menu)


def said(agent, views):
    return [reply.text for reply in agent.act(views)]


def play_rounds(agent, succeeds, *, rounds, queries=64, width=12):
    """Return the success rate of every round; each view's menu is a window of MENU."""
    rates = []
    for number in range(rounds):
        rng = np.random.default_rng(number)
        views = []
        for query in range(queries):
            places = rng.choice(len(MENU), size=width, replace=False)
            menu = tuple(MENU[place] for place in places)
            views.append(view(1000 * number + query, menu, query))
        texts = said(agent, views)
        results = [
            (text, succeeds(text), v.case) for text, v in zip(texts, views, strict=True)
        ]
        agent.update(results)
        rates.append(sum(success for _, success, _ in results) / queries)
    return rates


def test_without_an_archive_the_whole_menu_is_said_by_seed():
    texts = said(Search(), [view(seed) for seed in range(1500)])
    assert set(texts) == set(MENU)
    assert texts == said(Search(), [view(seed) for seed in range(1500)])


def test_next_rounds_exploit_what_the_first_rounds_found():
    rates = play_rounds(Search(explore=0.1), lambda t: "burns book" in t, rounds=8)
    assert rates[0] < 0.15
    assert rates[-1] > 0.7


def test_without_updates_nothing_is_learned():
    agent = Search(explore=0.1)
    views = [view(seed) for seed in range(50)]
    assert said(agent, views) == said(agent, views)
    assert len(agent.archive) == 0


def test_promise_carries_over_to_texts_that_were_never_tried():
    archive = Archive()
    archive.update([(f"{n} burns book", 1.0, 0) for n in NAMES[:3]])
    archive.update([(f"{n} reads lamp", 0.0, 0) for n in NAMES[:3]])
    assert archive.promise("dan burns book") > 0.65
    assert archive.promise("dan reads lamp") < 0.35


def test_a_search_that_may_not_invent_stays_on_the_menu():
    agent = Search(explore=0.0, invent=False)
    agent.update([("zed burns book", 1.0, 0)])
    menus = [MENU[n : n + 5] for n in range(40)]
    for menu, text in zip(menus, said(agent, [view(7, m) for m in menus]), strict=True):
        assert text in menu


def test_the_novelty_bonus_keeps_winners_diverse():
    def spread(novelty):
        agent = Search(explore=0.0, novelty=novelty)
        play_rounds(agent, lambda t: "burns" in t, rounds=6)
        return agent.archive.coverage().distinct

    assert spread(1.0) > spread(0.0)


def test_replies_depend_on_the_view_and_the_archive_alone():
    agent = Search(explore=0.3)
    play_rounds(agent, lambda t: "knife" in t, rounds=2)
    views = [view(seed) for seed in range(40)]
    forward = said(agent, views)
    assert said(agent, views[::-1])[::-1] == forward
    twin = Search(explore=0.3)
    twin.load_state_dict(json.loads(json.dumps(agent.state_dict())))
    assert said(twin, views) == forward
    assert twin.spec == agent.spec


def test_the_reply_names_the_archive_that_chose_it():
    agent = Search()
    assert agent.act([view(0)])[0].policy == ""
    agent.update([("a", 1.0, 0)])
    assert agent.act([view(0)])[0].policy == agent.archive.hash != ""


def test_an_empty_menu_is_answered_from_the_archive_or_by_an_error():
    agent = Search()
    assert "menu" in agent.act([view(0, ())])[0].error
    agent.update([("found it", 1.0, 0)])
    assert said(agent, [view(0, ())]) == ["found it"]


@pytest.mark.parametrize(
    "options", [{"explore": -0.1}, {"explore": 1.5}, {"novelty": -1}, {"novelty": math.nan}]
)
def test_senseless_settings_are_refused(options):
    with pytest.raises(InvalidOption):
        Search(**options)


def test_a_mutant_differs_and_is_made_of_words_of_its_parent_and_the_menu():
    parent = "ann burns rope"
    words = {word for entry in (*MENU, parent) for word in entry.split()}
    for seed in range(200):
        child = mutate(parent, MENU, np.random.default_rng(seed))
        assert child != parent
        assert set(child.split()) <= words
        assert child in MENU  # one grammar, equal length: slots are exchanged


def test_a_mutant_of_texts_of_different_length_is_spliced():
    menu = ("ann lifts book , bob burns rope ; help ann",)
    children = {
        mutate("ann lifts book ; help ann", menu, np.random.default_rng(seed))
        for seed in range(50)
    }
    assert children == set(menu)  # one insertion is the only difference


@pytest.mark.parametrize("menu", [(), ("same",)])
def test_without_other_texts_the_parent_is_returned(menu):
    assert mutate("same", menu, np.random.default_rng(0)) == "same"


def test_the_archive_counts_by_normalised_text():
    archive = Archive()
    archive.update([("Ann  lifts book", 1, 4), ("ann lifts BOOK", 0, 5), ("x", False, 1)])
    found = archive.lookup("ANN lifts\nbook")
    assert (found.visits, found.successes, found.cases, found.rate) == (2, 1.0, (4,), 0.5)
    assert len(archive) == 2 and " x " in archive
    assert [winner.visits for winner in archive.winners] == [2]
    assert normalised("ﬁne  É\t") == "fine é"


def test_the_order_of_results_changes_nothing():
    results = [(MENU[n % 9], (n % 3) / 3, n) for n in range(60)]
    one, other = Archive(), Archive()
    one.update(results)
    other.update(reversed(results))
    assert one.state_dict() == other.state_dict()
    assert one.hash == other.hash


def test_coverage_tells_slots_apart():
    archive = Archive()
    archive.update([("ann burns", 1, 0), ("bob burns", 0, 1), ("ann burns", 1, 2)])
    coverage = archive.coverage()
    assert (coverage.visits, coverage.distinct, coverage.winners) == (3, 2, 1)
    assert coverage.slots == (2, 1)
    assert coverage.entropy == (pytest.approx(0.6365, abs=1e-4), 0.0)


@pytest.mark.parametrize("success", [-0.1, 1.1, math.nan])
def test_a_success_outside_the_unit_interval_leaves_the_archive_as_it_was(success):
    archive = Archive()
    with pytest.raises(ValueError, match="success"):
        archive.update([("a", 1.0, 0), ("b", success, 0)])
    assert len(archive) == 0 and archive.hash == ""


@pytest.mark.parametrize("state", [{}, {"found": 3}, {"found": [{"text": 1}]}])
def test_a_foreign_state_is_refused(state):
    with pytest.raises(RecordDamaged, match="archive"):
        Archive().load_state_dict(state)
