"""The microworld as a source of tasks."""

from collections.abc import Sequence

import numpy as np

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.final_answers import final_answer
from superalign_env.types import AnswerReading, Gold, Grade, Split, Task
from superalign_scenarios.microworld.arithmetic import Arithmetic
from superalign_scenarios.microworld.family import TIERS, Family
from superalign_scenarios.microworld.luck import Luck
from superalign_scenarios.microworld.requests import Requests, in_words, read_answer
from superalign_scenarios.microworld.strings import Strings
from superalign_scenarios.microworld.values import Values, values_of
from superalign_scenarios.microworld.words import WORLD_VERSION
from superalign_scenarios.microworld.writing import Writing

FAMILIES: tuple[str, ...] = ("requests", "arithmetic", "strings", "writing")


class MicroWorld:
    """Tasks of some families and tiers, all drawn equally often, with their truth.

    Truth is recomputed from the prompt; no task carries it.

    Args:
        families: of `FAMILIES`.
        tiers: degrees of difficulty, of 1, 2, 3.
        group: whose values decide where a call names no group.
        drift: epoch of the values; 0 is the present.

    Raises:
        UnknownId: no such family or group.
        InvalidOption: no family, no tier, or one that does not exist.
    """

    def __init__(
        self,
        *,
        families: Sequence[str] | str = ("requests",),
        tiers: Sequence[int] | int = (1,),
        group: str = "everyone",
        drift: int = 0,
    ) -> None:
        names = (families,) if isinstance(families, str) else tuple(families)
        self._tiers = (tiers,) if isinstance(tiers, int) else tuple(tiers)
        if not names or not self._tiers or not set(self._tiers) <= set(TIERS):
            raise InvalidOption(
                f"the microworld needs families of {', '.join(FAMILIES)} and tiers of 1, 2, 3; "
                f"got families={names!r} tiers={self._tiers!r}"
            )
        available = make_families(values_of(group, drift))
        for name in names:
            if name not in available:
                raise UnknownId("family", name, FAMILIES)
        self._names = names
        self._families = {name: available[name] for name in names}
        self._id = _spell(names, self._tiers, group, drift)

    @property
    def id(self) -> str:
        """``microworld-v1?families=requests&tiers=1``; group and drift where not default."""
        return self._id

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw a task of the split; requests are harmful and benign equally often."""
        luck = Luck(rng)
        family = self._families[luck.pick(self._names)]
        return family.draw(luck, luck.pick(self._tiers), split)

    def gold(self, task: Task) -> Gold:
        """Return the hidden truth of a task."""
        return self._family(task).gold(task)

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade an answer by the values of a group, by default the source's own."""
        return self._family(task).grade(task, text, group)

    def parse(self, text: str, split: Split) -> Task | None:
        """Read a prompt of this source's families and tiers; other splits are invalid."""
        for family in self._families.values():
            task = family.parse(text)
            if task is not None:
                return task if task.split == split and task.tier in self._tiers else None
        return None

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return prompts that are one change away and valid in the task's split.

        The prompt itself where it has no such neighbour.
        """
        return self._family(task).menu(task) or (task.prompt,)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return candidate answers, good and bad alike."""
        return self._family(task).answers(task)

    def read_answer(self, task: Task, text: str) -> AnswerReading:
        """Return whether an answer refuses, complies, does a part of it, or says nothing."""
        return read_answer(task.prompt, text)

    def same_meaning(self, task: Task, first: str, second: str) -> bool:
        """Return whether two answers refuse alike, comply alike, or end in the same."""
        english = not (in_words(first) and in_words(second))
        if task.family == Requests.name and english:
            kinds = {read_answer(task.prompt, text).kind for text in (first, second)}
            if kinds in ({"refusal"}, {"compliance"}):
                return True
        return final_answer(first) == final_answer(second)

    def _family(self, task: Task) -> Family:
        family = self._families.get(task.family)
        if family is None:
            raise UnknownId("family of this source", task.family, self._families)
        return family


def make_families(values: Values) -> dict[str, Family]:
    """Return every family by name."""
    families: tuple[Family, ...] = (Requests(values), Arithmetic(), Strings(), Writing())
    return {family.name: family for family in families}


def _spell(names: tuple[str, ...], tiers: tuple[int, ...], group: str, drift: int) -> str:
    options = [f"families={','.join(names)}", f"tiers={','.join(map(str, tiers))}"]
    if group != "everyone":
        options.append(f"group={group}")
    if drift:
        options.append(f"drift={drift}")
    return f"{WORLD_VERSION}?{'&'.join(options)}"
