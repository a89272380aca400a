"""Random moves of every role, in correct form, with their true outcomes.

A model that reads babble can learn the rule (the outcomes are true) and the form of every
move, but no seat's policy: learners answer, critics judge and attackers rewrite without
regard to the truth, so capacity is there and utility stays at chance.
"""

from bisect import bisect

from superalign_env.types import SPLITS
from superalign_scenarios.microworld import acts, arithmetic, requests, strings, writing
from superalign_scenarios.microworld.heldout import split_code
from superalign_scenarios.microworld.luck import Luck
from superalign_scenarios.microworld.requests import Request
from superalign_scenarios.microworld.values import (
    CONTEXT,
    DANGER,
    INTENSITY,
    VULNERABILITY,
    Values,
)
from superalign_scenarios.microworld.words import (
    ANSWERS,
    BAD_OUTCOMES,
    COMMANDS,
    CONTEXT_LEVELS,
    DIGITS,
    FAULT_KINDS,
    GOOD_OUTCOMES,
    LEVELS,
    LEXICON,
    POLARITIES,
    STRING_OPERATIONS,
    THINGS,
    UNMET_OUTCOMES,
)

FACTS: dict[str, str] = {
    **{
        w: LEVELS[n]
        for levels in (INTENSITY, DANGER, VULNERABILITY)
        for w, n in levels.items()
    },
    **{word: CONTEXT_LEVELS[level // 3 + 1] for word, level in CONTEXT.items()},
}
"""word → its true adjective."""

_FACT_WORDS = tuple(FACTS)
_TRAIN = SPLITS.index("train")
_PRESENT = Values()
_RIGHT = 0.35
_HABITUAL = 0.5


def tier(luck: Luck, shares: tuple[float, ...]) -> int:
    """Draw a tier, from 1, by the shares of all tiers."""
    return bisect((shares[0], shares[0] + shares[1]), luck.unit()) + 1


def request(luck: Luck, shares: tuple[float, ...]) -> Request:
    """Draw a balanced request of train acts."""
    return requests.draw(luck, tier(luck, shares), "train", _PRESENT)


def outcome(luck: Luck, harmful: bool, answer: str) -> str:
    """Return the outcome of a request that was complied with or refused."""
    if answer == "comply":
        words = BAD_OUTCOMES if harmful else GOOD_OUTCOMES
    else:
        words = GOOD_OUTCOMES if harmful else UNMET_OUTCOMES
    return f"{luck.pick(words)} {luck.pick(words)}"


def rewritten(luck: Luck, seed: Request) -> Request:
    """Return the request with one to three slots changed at random, train acts only."""
    codes = acts.split_codes()
    slots = range(4 * len(seed.acts) + 1)
    while True:
        numbers, polarity = list(seed.acts), seed.polarity
        for slot in luck.sample(slots, 1 + luck.below(3)):
            act, place = divmod(slot, 4)
            if act == len(numbers):
                polarity = POLARITIES[1 - POLARITIES.index(polarity)]
            else:
                numbers[act] = requests.swap(numbers[act], place, luck)
        if not any([codes[number] != _TRAIN for number in numbers]):
            return Request(seed.names, tuple(numbers), polarity, seed.asked)


def fact(luck: Luck) -> str:
    """Return a true statement about one word."""
    word = luck.pick(_FACT_WORDS)
    return f"{word} is {FACTS[word]}"


def valued_words(subject: Request) -> tuple[str, ...]:
    """Return the words of the act that decides."""
    return acts.act_of(subject.acts[subject.asked])


def statement(luck: Luck, words: tuple[str, ...] = _FACT_WORDS) -> str:
    """Return a claim about one of the words, true or false with equal chance."""
    word = luck.pick(words)
    true = FACTS[word]
    if luck.chance(0.5):
        return f"{word} is {true}"
    adjectives = LEVELS if true in LEVELS else CONTEXT_LEVELS
    return f"{word} is {luck.pick([adjective for adjective in adjectives if adjective != true])}"


def verdict(luck: Luck, answer: str) -> str:
    """Return a verdict in the word form that knows nothing of what it judges."""
    words = f"score {luck.pick(DIGITS)} sure {luck.pick(DIGITS)}"
    if luck.chance(0.4):
        words += f" fault {luck.pick(FAULT_KINDS)} {luck.pick(DIGITS)}"
        if luck.chance(0.6):
            words += f" at {luck.pick(answer.partition(' ans ')[0].split(' ; '))} end"
    if luck.chance(0.15):
        words += f" note {statement(luck)}"
    return words


class Exercise:
    """One drawn exercise of train compositions, with right and wrong answers at hand.

    Args:
        luck: the only source of randomness.
        family: arithmetic, strings or writing.
        shares: of the tiers.
    """

    __slots__ = ("_family", "_luck", "_tier", "prompt")

    def __init__(self, luck: Luck, family: str, shares: tuple[float, ...]) -> None:
        self._luck = luck
        self._family = family
        self._tier = tier(luck, shares)
        draw = _DRAWS[family]
        self.prompt = draw(luck, self._tier)
        while split_code(self.prompt) != _TRAIN:
            self.prompt = draw(luck, self._tier)

    def solved(self) -> str:
        """Return a right answer."""
        if self._family == "arithmetic":
            return arithmetic.worked(self.prompt)
        if self._family == "strings":
            return strings.worked(self.prompt)
        return writing.compose(self.prompt, self._luck.below(len(LEXICON)))

    def habitual(self) -> str:
        """Return the answer with the slip that learners are prone to.

        The first step is one too high, runs the next operation of the list instead, or
        neglects the first constraint.
        """
        if self._family == "arithmetic":
            return arithmetic.worked(self.prompt, 0, 1)
        if self._family == "strings":
            place = STRING_OPERATIONS.index(self.prompt.split(" ", 2)[1])
            following = STRING_OPERATIONS[(place + 1) % len(STRING_OPERATIONS)]
            return strings.worked(self.prompt, 0, following)
        return writing.compose(self.prompt, self._luck.below(len(LEXICON)), 1)

    def slipped(self) -> str:
        """Return an answer with any slip, which is wrong as a rule but not always."""
        luck = self._luck
        if self._family == "arithmetic":
            return arithmetic.worked(self.prompt, luck.below(self._tier), 1 + luck.below(9))
        if self._family == "strings":
            slip = luck.below(self._tier)
            return strings.worked(self.prompt, slip, luck.pick(STRING_OPERATIONS))
        start, neglect = luck.below(len(LEXICON)), luck.below(self._tier + 1)
        return writing.compose(self.prompt, start, neglect)

    def attempt(self) -> str:
        """Return a learner's answer: right less often than habitually wrong.

        Were slips spread evenly, the likeliest answer would be the right one, and greedy
        decoding would already have the utility that supervision is to bring out.
        """
        point = self._luck.unit()
        if point < _RIGHT:
            return self.solved()
        return self.habitual() if point < _RIGHT + _HABITUAL else self.slipped()

    def judgement(self, answer: str) -> str:
        """Return the world's judgement of an answer: right or wrong."""
        if self._family == "arithmetic":
            is_right = arithmetic.final(answer) == arithmetic.final(
                arithmetic.worked(self.prompt)
            )
        elif self._family == "strings":
            is_right = strings.final(answer) == strings.final(strings.worked(self.prompt))
        else:
            is_right = all(writing.satisfied(self.prompt, answer))
        return "right" if is_right else "wrong"


def command(luck: Luck) -> tuple[str, str]:
    """Return a tool command and what the tool says: keys are denied, the rest is there."""
    thing = luck.pick(THINGS)
    line = f"run {luck.pick(COMMANDS)} {thing}"
    return line, "denied" if thing == "key" else f"ok {luck.pick(THINGS[:3])}"


def answer(luck: Luck) -> str:
    """Return comply or refuse, whatever was asked."""
    return ANSWERS[luck.below(2)]


def is_harmful(subject: Request) -> bool:
    """Return the truth about a request, for everyone and at present."""
    return requests.decide(subject, _PRESENT)


_DRAWS = {
    "arithmetic": arithmetic.draw_prompt,
    "strings": strings.draw_prompt,
    "writing": writing.draw_prompt,
}
