"""What a scenario declares hidden from a seat is looked for in all that the seat is shown."""

import msgspec
import pytest

import superalign_env
import superalign_env.plain_text
from superalign_env.errors import ProtocolError
from superalign_env.protocols import HidesText
from superalign_env.testing import check_scenario
from superalign_env.types import Brief, Ending, Message, Reward, Step, Turn

WORDS = ("tea", "a red fox", "no")


class Case(msgspec.Struct, frozen=True):
    secret: str
    said: tuple[Turn, ...] = ()
    hint: str = ""
    note: str = ""
    """What the witness wrote for itself."""


class Interrogation:
    """An attorney asks, a witness who knows a word answers: two exchanges."""

    id = "interrogation-v0"
    seats = ("attorney_0", "witness_0")
    renderer_id = "interrogation-1"
    max_utterance = 60
    weights = {"attorney": {"found": 1.0}, "witness": {"found": -1.0}}  # noqa: RUF012

    def __init__(self):
        self.source = superalign_env.make_scenario("echo").source
        self.options = {}

    def draw(self, rng):
        return self.source.draw(rng, "train")

    def reset(self, task, rng):
        return Case(WORDS[rng.integers(len(WORDS))])

    def arm(self, state):
        return ""

    def to_move(self, state):
        return () if len(state.said) == 4 else (self.seats[len(state.said) % 2],)

    def hidden(self, state, seat):
        if seat == "witness_0" or any(state.secret in turn.text for turn in state.said):
            return ()
        return tuple(text for text in (state.secret, state.note) if text)

    def view(self, state, seat):
        lines = [
            f"{t.author}: {superalign_env.plain_text.fence(t.text)}" for t in state.said
        ]
        mine = [f"the word: {state.secret}"] if seat == "witness_0" else []
        return Brief("\n".join([*mine, *lines, f"{seat}:"]), menu=("tea", "no", "pass"))

    def apply(self, state, utterances):
        (spoken,) = utterances
        found = spoken.seat == "attorney_0" and spoken.text == state.secret
        said = (*state.said, Turn(spoken.seat, spoken.text))
        pay = (Reward("attorney_0", "found", float(found)),)
        after = msgspec.structs.replace(state, said=said)
        return Step(after, pay, ending=Ending.terminated() if len(said) == 4 else None)


def test_rules_that_keep_their_secret_pass_also_where_common_words_are_secret():
    assert isinstance(Interrogation(), HidesText)
    check_scenario(Interrogation())


def shown_in(**fields):
    """A class whose attorney is shown something made from the state."""

    class Leaky(Interrogation):
        def view(self, state, seat):
            brief = super().view(state, seat)
            if seat == "attorney_0":
                made = {name: make(state) for name, make in fields.items()}
                brief = msgspec.structs.replace(brief, **made)
            return brief

    return Leaky()


LEAKS = {
    "in the text": {"text": lambda s: f"the word is {s.secret}, ask"},
    "in chat messages": {"messages": lambda s: (Message("user", s.secret),)},
    "in the turns": {"turns": lambda s: (Turn("witness_0", s.secret),)},
    "in the menu": {"menu": lambda s: (s.secret, "pass")},
    "in a schema": {"schema": lambda s: {"enum": [s.secret]}},
    "turned round": {"text": lambda s: s.secret[::-1]},
    "its first letter": {"text": lambda s: f"it begins with {s.secret[:1]}"},
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_secret_that_reaches_a_view_is_found_in_any_form(leak):
    with pytest.raises(ProtocolError, match="attorney_0"):
        check_scenario(shown_in(**LEAKS[leak]))


def test_a_secret_that_the_rules_copy_on_the_way_is_found():
    class Hinting(Interrogation):
        def apply(self, state, utterances):
            step = super().apply(state, utterances)
            hint = f"(it has to do with {state.secret})"
            return msgspec.structs.replace(
                step, state=msgspec.structs.replace(step.state, hint=hint)
            )

        def view(self, state, seat):
            brief = super().view(state, seat)
            return msgspec.structs.replace(brief, text=f"{state.hint}{brief.text}")

    with pytest.raises(ProtocolError, match="attorney_0"):
        check_scenario(Hinting())


def test_words_that_become_secret_when_they_are_said_are_looked_for():
    class Noting(Interrogation):
        leak = True

        def apply(self, state, utterances):
            step = super().apply(state, utterances)
            if utterances[0].seat != "witness_0":
                return step
            kept = msgspec.structs.replace(
                step.state, said=(*state.said, Turn("witness_0", "…"))
            )
            return msgspec.structs.replace(
                step, state=msgspec.structs.replace(kept, note=utterances[0].text)
            )

        def view(self, state, seat):
            brief = super().view(state, seat)
            note = state.note if self.leak else ""
            return msgspec.structs.replace(
                brief, text=superalign_env.plain_text.fence(note) + brief.text
            )

    with pytest.raises(ProtocolError, match="attorney_0"):
        check_scenario(Noting())
    sound = Noting()
    sound.leak = False
    check_scenario(sound)


def test_a_secret_that_the_rules_hold_outside_the_state_is_found():
    class Elsewhere(Interrogation):
        def hidden(self, state, seat):
            return () if seat == "witness_0" else ("the butler did it",)

        def view(self, state, seat):
            brief = super().view(state, seat)
            return msgspec.structs.replace(brief, text=f"the butler did it {brief.text}")

    with pytest.raises(ProtocolError, match="attorney_0"):
        check_scenario(Elsewhere())


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ("tea", "gave a str"),
        ((5,), "name texts"),
        (None, "gave a NoneType"),
        ((), "nothing"),
    ],
)
def test_a_declaration_that_says_nothing_is_a_sentence(found, why):
    class Odd(Interrogation):
        def hidden(self, state, seat):
            return found

    with pytest.raises(ProtocolError, match=why):
        check_scenario(Odd())
