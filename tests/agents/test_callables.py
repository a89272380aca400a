"""as_agent: anything that can answer becomes an agent."""

import asyncio

import pytest

from superalign_env.asking import ask
from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.protocols import Agent, AsyncAgent
from superalign_env.seating import as_agent
from superalign_env.types import AgentSpec, Reply, View

VIEWS = [View(f"e{n}", n, "learner_0", "learner", 0, n, f"text {n}") for n in range(3)]


def texts(agent):
    return [reply.text for reply in agent.act(VIEWS)]


def test_a_function_of_the_text_is_an_agent():
    agent = as_agent(lambda text: text.upper())
    assert isinstance(agent, Agent)
    assert texts(agent) == ["TEXT 0", "TEXT 1", "TEXT 2"]
    assert agent.spec == AgentSpec("lambda")


def test_the_name_is_the_functions_own_or_the_one_given():
    def polite(text: str) -> str:
        return "please"

    assert as_agent(polite).spec.id == "polite"
    assert as_agent(polite, name="other").spec.id == "other"


def test_a_function_of_the_view_is_found_by_annotation_or_by_name():
    def annotated(thing: View) -> Reply:
        return Reply(str(thing.case), thought="private")

    def quoted(thing: "View") -> str:
        return str(thing.case)

    def named(view):
        return str(view.case)

    for answer in (annotated, quoted, named):
        assert texts(as_agent(answer)) == ["0", "1", "2"]
    assert as_agent(annotated).act(VIEWS)[0].thought == "private"


def test_builtins_and_partial_objects_are_taken():
    assert texts(as_agent(str.title)) == ["Text 0", "Text 1", "Text 2"]

    class Shout:
        def __call__(self, text):
            return text + "!"

    agent = as_agent(Shout())
    assert texts(agent)[0] == "text 0!"
    assert agent.spec.id == "Shout"


def test_coroutine_functions_become_async_agents():
    async def slow(text: str) -> str:
        await asyncio.sleep(0)
        return text[::-1]

    class Slow:
        async def __call__(self, view):
            return str(view.turn)

    class Replies:
        async def reply(self, view):
            return Reply(view.seat)

    for thing, expected in ((slow, "0 txet"), (Slow(), "0"), (Replies(), "learner_0")):
        agent = as_agent(thing)
        assert isinstance(agent, AsyncAgent) and not isinstance(agent, Agent)
        assert asyncio.run(agent.reply(VIEWS[0])).text == expected


def test_agents_are_returned_as_they_are():
    agent = as_agent(lambda text: text)
    assert as_agent(agent) is agent


def test_an_object_with_act_alone_gets_a_name():
    class Bare:
        def act(self, views):
            return [view.seat for view in views]

    agent = as_agent(Bare())
    assert isinstance(agent, Agent)
    assert texts(agent) == ["learner_0"] * 3
    assert agent.spec.id == "Bare"


def test_an_object_that_drops_a_view_is_told_so():
    class Lazy:
        def act(self, views):
            return ["x"]

    with pytest.raises(ProtocolError, match="1 replies to 3 views"):
        as_agent(Lazy()).act(VIEWS)


@pytest.mark.parametrize("answers", [None, 3, "xyz", b"xyz", {0: "x"}, Reply("x")])
@pytest.mark.parametrize("named", [True, False])
def test_an_object_whose_act_returns_no_list_is_told_so(answers, named):
    class Odd:
        def act(self, views):
            return answers

    class Specified(Odd):
        spec = AgentSpec("odd")

    agent = as_agent(Odd() if named else Specified())
    said = f"{type(answers).__name__} for all views; return a list with one reply per view"
    assert {said in reply.error for reply in ask(agent, VIEWS)} == {True}


@pytest.mark.parametrize("answer", [None, 3, b"bytes", ["text"]])
def test_an_answer_that_is_no_text_is_a_clear_error(answer):
    with pytest.raises(ProtocolError, match="str or a Reply"):
        as_agent(lambda text: answer).act(VIEWS)


@pytest.mark.parametrize("thing", [3, None, object()])
def test_what_cannot_answer_is_refused(thing):
    with pytest.raises(InvalidOption, match="cannot answer"):
        as_agent(thing)


def test_a_class_instead_of_an_instance_is_refused():
    class Agentish:
        def act(self, views):
            return []

    with pytest.raises(InvalidOption, match="pass an instance"):
        as_agent(Agentish)


def test_errors_of_the_function_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        as_agent(lambda text: 1 / 0).act(VIEWS)


class _Odd:
    def __call__(self, one, two):
        return "x"


@pytest.mark.parametrize(
    "wrong", [lambda: "x", lambda a, b: "x", _Odd(), lambda *, text: "x"]
)
def test_a_function_that_cannot_be_given_a_view_is_refused_at_once(wrong):
    with pytest.raises(InvalidOption, match="takes the view's text, or the view"):
        as_agent(wrong)


@pytest.mark.parametrize("right", [lambda *a: "x", lambda text, more=1: "x", str])
def test_a_function_that_takes_one_argument_is_an_agent(right):
    assert as_agent(right if right is not str else str.lower).act
