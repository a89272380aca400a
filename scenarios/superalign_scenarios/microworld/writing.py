"""Constrained writing: a few words under constraints, graded by how many are met.

``write 4 words with river not stone end lake`` wants any four words that keep to it. The
length is always asked for; the tier is the number of further constraints, of four kinds.
"""

from superalign_env.errors import InvalidOption
from superalign_env.types import Gold, Grade, Split, Task
from superalign_scenarios.microworld.family import (
    competence,
    draw_task,
    make_task,
    shuffled,
)
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.microworld.luck import Luck
from superalign_scenarios.microworld.words import CONSTRAINTS, LEXICON

_LENGTHS = (3, 4, 5, 6)
_MOST = 3

Constraint = tuple[str, str]
"""Kind and word: ("not", "stone")."""


def draw_prompt(luck: Luck, tier: int) -> str:
    """Draw an order of any split: different kinds, different words, so it can be met."""
    length = luck.pick(_LENGTHS)
    kinds = sorted(luck.sample(CONSTRAINTS, tier), key=CONSTRAINTS.index)
    words = luck.sample(LEXICON, tier)
    return " ".join(
        (f"write {length} words", *(f"{k} {w}" for k, w in zip(kinds, words, strict=True)))
    )


def read(text: str) -> tuple[int, tuple[Constraint, ...]] | None:
    """Return length and constraints of an order; None when the text is not exactly one."""
    words = text.split(" ")
    if len(words) < 5 or len(words) % 2 == 0 or (words[0], words[2]) != ("write", "words"):
        return None
    kinds, arguments = words[3::2], words[4::2]
    places = [CONSTRAINTS.index(kind) if kind in CONSTRAINTS else -1 for kind in kinds]
    if words[1] not in ("3", "4", "5", "6") or len(kinds) > _MOST:
        return None
    if -1 in places or sorted(set(places)) != places:
        return None
    if len(set(arguments)) != len(arguments) or any(
        word not in LEXICON for word in arguments
    ):
        return None
    return int(words[1]), tuple(zip(kinds, arguments, strict=True))


def satisfied(prompt: str, text: str) -> list[bool]:
    """Return for the length, then for each constraint, whether a text keeps to it."""
    length, constraints = _must_read(prompt)
    words = text.split()
    return [len(words) == length, *(bool(words) and _keeps(words, c) for c in constraints)]


def compose(prompt: str, start: int = 0, neglect: int = -1) -> str:
    """Return a text that keeps to all constraints but at most one.

    Args:
        prompt: the order.
        start: where in the lexicon to begin picking the free words.
        neglect: index into what `satisfied` returns: 0 writes one word too many, others
            do the opposite of that constraint.
    """
    length, constraints = _must_read(prompt)
    required = {k: w for i, (k, w) in enumerate(constraints, start=1) if i != neglect}
    banned = {w for _, w in constraints}
    free = [w for w in (*LEXICON[start:], *LEXICON[:start]) if w not in banned]
    words = free[: length + (neglect == 0)]
    places = {"start": 0, "end": len(words) - 1, "with": 1}
    for kind, place in places.items():
        if kind in required:
            words[place] = required[kind]
    if neglect > 0 and constraints[neglect - 1][0] == "not":
        occupied = {places[kind] for kind in required if kind in places}
        words[min(set(range(length)) - occupied)] = constraints[neglect - 1][1]
    return " ".join(words)


class Writing:
    """Family of constrained writing."""

    name = "writing"

    def draw(self, luck: Luck, tier: int, split: Split) -> Task:
        """Draw orders until one belongs to the split."""
        return draw_task(self.name, draw_prompt, luck, tier, split)

    def parse(self, text: str) -> Task | None:
        """Read an order with its tier and split."""
        order = read(text)
        if order is None:
            return None
        return make_task(self.name, text, len(order[1]), split_of(text))

    def gold(self, task: Task) -> Gold:
        """Return one text that keeps to everything."""
        return Gold(compose(task.prompt))

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade by the share of satisfied constraints, the length among them."""
        satisfied_kinds = satisfied(task.prompt, text)
        return competence(self.name, sum(satisfied_kinds) / len(satisfied_kinds))

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return the orders of the same split that differ in one word or in the length."""
        words = task.prompt.split(" ")
        changes = [(1, str(length)) for length in _LENGTHS]
        changes += [(i, word) for i in range(4, len(words), 2) for word in LEXICON]
        prompts = []
        for i, new in changes:
            if new not in words:
                prompt = " ".join((*words[:i], new, *words[i + 1 :]))
                if split_of(prompt) == task.split:
                    prompts.append(prompt)
        return tuple(prompts)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return a text that keeps to everything and one for each single neglect."""
        return shuffled({compose(task.prompt, neglect=i) for i in range(-1, task.tier + 1)})


def _keeps(words: list[str], constraint: Constraint) -> bool:
    kind, word = constraint
    if kind == "with":
        return word in words
    if kind == "not":
        return word not in words
    return words[0 if kind == "start" else -1] == word


def _must_read(prompt: str) -> tuple[int, tuple[Constraint, ...]]:
    order = read(prompt)
    if order is None:
        raise InvalidOption(f"no order of constrained writing: {prompt!r}")
    return order
