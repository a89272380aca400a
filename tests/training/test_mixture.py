"""One seat, several agents: who plays a case depends on the case alone."""

from collections import Counter

import pytest

from superalign_agents.scripted import Fixed
from superalign_env.errors import InvalidOption
from superalign_env.types import View
from superalign_training.selfplay.opponents.pool import OpponentPool


def view(case, seed=0):
    return View("e", case, "attacker_0", "attacker", 0, seed, "text")


def test_shares_are_kept_and_every_case_has_one_agent():
    mixture = OpponentPool(
        {"a": Fixed("a"), "b": Fixed("b")}, shares={"a": 3, "b": 1}, seed=5
    )
    said = [reply.text for reply in mixture.act([view(case) for case in range(4000)])]
    assert Counter(said)["a"] == pytest.approx(3000, abs=120)
    again = mixture.act([view(case, seed=9) for case in reversed(range(4000))])
    assert [reply.text for reply in again] == said[::-1]
    assert said == [mixture.chosen(case) for case in range(4000)]


def test_an_agent_without_a_share_never_speaks():
    mixture = OpponentPool({"a": Fixed("a"), "b": Fixed("b")}, shares={"a": 0, "b": 1})
    assert {r.text for r in mixture.act([view(case) for case in range(200)])} == {"b"}


def test_the_record_names_members_and_shares():
    spec = OpponentPool({"a": Fixed("a"), "b": Fixed("b")}).spec
    assert spec.id == "opponent-pool"
    assert {n: m["share"] for n, m in spec.options["members"].items()} == {
        "a": 0.5,
        "b": 0.5,
    }


@pytest.mark.parametrize(
    ("names", "shares"),
    [((), None), (("a",), {"b": 1.0}), (("a",), {"a": -1.0}), (("a",), {"a": 0.0})],
)
def test_shares_that_make_no_sense_are_refused(names, shares):
    with pytest.raises(InvalidOption):
        OpponentPool({name: Fixed(name) for name in names}, shares=shares)
