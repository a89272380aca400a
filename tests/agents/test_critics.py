"""Critics made of other things: what an ensemble, a persona and a classifier make of them."""

import json

import pytest

from superalign_agents.wrappers import EnsembleCritic, PersonaCritic
from superalign_env.asking import ask
from superalign_env.errors import InvalidOption
from superalign_env.seating import as_agent
from superalign_env.types import Message, Reply, Turn, Usage, View
from superalign_env.verdicts import parse

ASKED = "ann will wash spoon near wall today ; help ann"


def view(*, form="free", text="judge", messages=(), seed=1):
    turns = (Turn("user", ASKED), Turn("learner_0", "comply"))
    return View("e0", 0, "critic_0", "critic", 1, seed, text, messages, turns, form=form)


def says(text):
    return {"id": "fixed", "text": text}


def together(*texts, form="free", **options):
    return EnsembleCritic([says(text) for text in texts], **options).act([view(form=form)])[
        0
    ]


def test_the_score_is_the_mean_or_the_median_of_the_members():
    texts = ("score 9 sure 9", "score 9 sure 9", "score 0 sure 9")
    assert parse(together(*texts).text).score == pytest.approx(6 / 9)
    assert parse(together(*texts, how="median").text).score == 1.0


def test_confidence_is_agreement_however_sure_the_members_are():
    agreed = parse(together("score 7 sure 0", "score 7 sure 0", form="json-schema").text)
    torn = parse(together("score 9 sure 9", "score 0 sure 9", form="json-schema").text)
    assert (agreed.confidence, torn.confidence) == (1.0, 0.0)


def test_faults_are_those_that_most_members_claim():
    found = parse(
        together(
            "score 1 sure 9 fault harm 9 fault wrong 3",
            "score 1 sure 9 fault harm 8",
            "score 1 sure 9 fault format 9",
        ).text
    )
    assert [fault.kind for fault in found.faults] == ["harm"]


def test_a_member_without_a_verdict_is_left_out_until_too_few_are_left():
    assert parse(together("score 9 sure 9", "mumble").text).score == 1.0
    assert "1 of 3" in together("score 9 sure 9", "mumble", "mumble").error
    assert (
        parse(together("score 9 sure 9", "mumble", "mumble", quorum=0.0).text).score == 1.0
    )
    assert "0 of 2" in together("mumble", "mumble", quorum=0.0).error


def test_members_draw_their_luck_apart_and_waiting_ones_are_heard_too():
    seeds = []

    async def member(view: View) -> str:
        seeds.append(view.seed)
        return f"score {len(seeds) % 10} sure 9"

    critic = EnsembleCritic([as_agent(member), as_agent(member)])
    reply = critic.act([view()])[0]
    assert len(set(seeds)) == 2 and parse(reply.text).score == pytest.approx(
        2 / 9, abs=0.06
    )


def test_what_members_cost_is_added_up():
    def member(view: View) -> Reply:
        return Reply("score 9 sure 9", finish="stop", usage=Usage(10, 2, 0.5))

    reply = EnsembleCritic([as_agent(member)] * 2).act([view()])[0]
    assert reply.usage == Usage(20, 4, 1.0)


@pytest.mark.parametrize(
    "options",
    [{"members": ["keyword"]}, {"members": "keyword"}, {"how": "mode"}, {"quorum": 2}],
)
def test_senseless_ensembles_are_refused(options):
    with pytest.raises(InvalidOption):
        EnsembleCritic(**{"members": ["keyword", "random-menu"], **options})


class Listener:
    def __init__(self):
        self.heard = []
        self.spec = as_agent(lambda text: "").spec

    def act(self, views):
        self.heard += views
        return [Reply("score 5 sure 5", finish="stop") for _ in views]


def test_a_persona_is_read_before_everything_else_and_nothing_is_lost():
    listener = Listener()
    critic = PersonaCritic(listener, persona=" You are a nurse. ", name="nurse")
    plain = view(text="judge this")
    chat = view(messages=(Message("user", "judge"), Message("assistant", "so")))
    system = view(messages=(Message("system", "Answer in words."), Message("user", "x")))
    assert [r.text for r in critic.act([plain, chat, system])] == ["score 5 sure 5"] * 3
    first, second, third = listener.heard
    assert first.text == "You are a nurse.\n\njudge this" and first.messages == ()
    assert second.messages == (Message("system", "You are a nurse."), *chat.messages)
    assert third.messages == (
        Message("system", "You are a nurse.\n\nAnswer in words."),
        Message("user", "x"),
    )
    assert first.turns == plain.turns and first.seed == plain.seed


def test_the_same_model_with_other_personas_is_another_agent():
    one = PersonaCritic("keyword", persona="You are bold.")
    other = PersonaCritic("keyword", persona="You are shy.")
    assert one.spec != other.spec
    assert json.loads(json.dumps(one.spec.options))["agent"]["id"] == "keyword"
    with pytest.raises(InvalidOption):
        PersonaCritic("keyword", persona="  ")


def test_a_persona_can_wait_for_its_model():
    async def model(view: View) -> str:
        return view.text.split("\n")[0]

    assert ask(PersonaCritic(as_agent(model), persona="Bob"), [view()])[0].text == "Bob"
