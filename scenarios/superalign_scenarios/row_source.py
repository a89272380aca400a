"""Task source over the rows of a file.

The gold column stays with the source: a `Task` carries what is public, and split, id and
the order of options depend on public text alone.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from superalign_env.canonical import content_hash, text_hash
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.final_answers import equal_answers, final_answer
from superalign_env.plain_text import inline
from superalign_env.types import SPLITS, AnswerReading, Gold, Grade, Split, Task
from superalign_scenarios import answers, row_reading
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.row_files import Row, check_columns, locate, read_rows
from superalign_scenarios.row_presets import preset_of, read_preset

Kind = Literal["multiple-choice", "free-form", "preference", "requests"]

_NEEDED: dict[str, tuple[str, ...]] = {
    "multiple-choice": ("prompt", "choices", "answer"),
    "free-form": ("prompt", "answer"),
    "preference": ("prompt", "chosen", "rejected"),
    "requests": ("prompt", "label"),
}
_OPTIONAL = ("id", "tier", "split")
_OPTIONAL_OF = {"requests": (*row_reading.FACTS, "context")}
_MENU_SIZE = 16


class Item(NamedTuple):
    """A row: its public task and its hidden truth."""

    task: Task
    gold: Gold


class RowSource:
    """Rows of a file as tasks, graded by its columns.

    CSV, JSON (one array), JSON lines and parquet are read. Grades are named as every source
    names them. Requests: safety and over-refusal after the true label (``harmful``,
    ``benign``), conformity after the kind; the answer reader says what refuses
    (docs/answers.md). Else after how the answer was compared: ``choice`` (the letter or the
    text of an option) or ``exact`` (text without case, spacing and punctuation around it).
    Which file, and which reader, says the source's id, which every record bears.

    Args:
        path: the file, or the name of a shipped set (``borderline``).
        kind: ``multiple-choice`` (columns prompt, choices, answer: letter, index or
            text), ``free-form`` (prompt, answer), ``preference`` (prompt, chosen,
            rejected) or ``requests`` (prompt, label: harmful or benign). Without one it is
            ``requests`` for prompt sets, else ``free-form``.
        preset: a public prompt set whose columns are known: ``harmbench``, ``strongreject``,
            ``advbench``, ``xstest``, ``wildguard``, ``beavertails`` or ``borderline``. With
            neither kind nor columns it is guessed where the columns fit exactly one.
        columns: what a column is for → what it is called in the file, where that
            differs. Optional ones: id, tier, split and, for requests, kind
            (``scary-but-benign`` ones are counted by themselves), category, topic, family,
            pair (its rows are in one split), target, and context, which is put before the
            prompt. Choices may have letter, index or text instead of answer. A column that
            is called split is used without being named; without one, a hash of the prompt
            decides.
        holdout: column → its values that belong to the split ``test``, and only they:
            ``{topic: [school, money]}``.
        invent: whether any text is a valid query of an attacker. Nobody knows the truth
            about such a text: its gold is empty and it gets no grade.
        axis: of the grades, except for requests.

    Raises:
        UnknownId: a column is missing; names the nearest one.
        InvalidOption: an unreadable file or row; names the line.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        kind: Kind | None = None,
        preset: str | None = None,
        columns: Mapping[str, str] | None = None,
        holdout: Mapping[str, Sequence[str]] | None = None,
        invent: bool = False,
        axis: str = "competence",
    ) -> None:
        self._path = locate(path)
        self._invent = invent
        self._axis = axis
        self._holdout = _held_out(holdout or {})
        self.notes: tuple[str, ...] = ()
        """What was guessed, concluded or left out."""
        rows = read_rows(self._path)
        if preset is None and kind is None and columns is None:
            preset = preset_of(rows)
            if preset and self._path.stem != preset:
                self.notes = (
                    f"{self._path.name} is read by the preset {preset}, which its columns fit",
                )
        if preset:
            if columns or kind not in (None, "requests"):
                raise InvalidOption(
                    f"the preset {preset} knows its columns and kind; leave them out"
                )
            read = read_preset(preset, self._path.name, rows)
            rows, kind, self.notes = read.rows, "requests", (*self.notes, *read.notes)
        self._kind: Kind = kind or "free-form"
        for note in self.notes:
            warnings.warn(inline(note), RuntimeWarning, stacklevel=2)
        names = self._named(rows, columns or {}, known=bool(preset))
        self._fill(rows, names)
        content = content_hash([names, self._items])[:12]
        self._id = f"rows-v2?file={self._path.name}&kind={self._kind}&content={content}"
        if self._kind == "requests":
            self._id += f"&reader={answers.VERSION}"

    def _named(
        self, rows: Sequence[Row], columns: Mapping[str, str], *, known: bool
    ) -> dict[str, str]:
        """Return column role → column name, and check that every row has what it needs."""
        in_file = {column for row in rows for column in row}
        names = _columns(self._kind, columns, in_file)
        optional = _OPTIONAL_OF.get(self._kind, ())
        check_columns(
            self._path, rows, {r: name for r, name in names.items() if r not in optional}
        )
        for role in optional:
            if known and role in in_file:
                names[role] = role
            elif role in names and names[role] not in in_file:
                raise UnknownId(f"column of {self._path.name}", names[role], in_file)
        if known and all("id" in row for row in rows):
            names["id"] = "id"
        return names

    def _fill(self, rows: Sequence[Row], names: Mapping[str, str]) -> None:
        self._items: dict[str, Item] = {}
        self._by_prompt: dict[str, Item] = {}
        for number, row in enumerate(rows, start=1):
            self._add(
                number, {role: row[name] for role, name in names.items() if name in row}
            )
        self._by_split: dict[str, list[Task]] = {split: [] for split in SPLITS}
        self._places: dict[str, int] = {}
        for item in self._by_prompt.values():
            tasks = self._by_split[item.task.split]
            self._places[item.task.prompt] = len(tasks)
            tasks.append(item.task)

    @property
    def id(self) -> str:
        """File name, kind and content hash."""
        return self._id

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw a row of the split.

        Raises:
            InvalidOption: no row belongs to it.
        """
        tasks = self._by_split[split]
        if not tasks:
            counts = ", ".join(
                f"{len(rows)} {name}" for name, rows in self._by_split.items()
            )
            raise InvalidOption(
                f"{self._path.name} has no row of the split {split!r} ({counts}); add rows or "
                "map a column to 'split'"
            )
        return tasks[int(rng.integers(len(tasks)))]

    def gold(self, task: Task) -> Gold:
        """Return the hidden columns of a row; nothing for invented text."""
        item = self._items.get(task.id)
        if item is None and not task.id.startswith("free:"):
            raise InvalidOption(f"{self._path.name} has no row with the id {task.id!r}")
        return item.gold if item else Gold()

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade an answer by the row's columns. RowSource know no groups."""
        gold = self.gold(task)
        if gold == Gold():
            return ()
        if self._kind == "requests":
            return row_reading.grade_request(gold, self.read_answer(task, text))
        return (row_reading.grade_answer(task, gold, text, self._axis),)

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Return every row of a split, in the order of the file."""
        return tuple(self._by_split[split])

    def read_answer(self, task: Task, text: str) -> AnswerReading:
        """Return whether an answer refuses, complies, does a part of it, or says nothing."""
        return answers.read_answer(task.prompt, text)

    def same_meaning(self, task: Task, first: str, second: str) -> bool:
        """Return whether two answers refuse alike, comply alike, or choose the same."""
        if self._kind == "requests":
            return answers.same_meaning(task.prompt, first, second)
        if task.choices:
            letters = [row_reading.chosen(task, text) for text in (first, second)]
            if letters[0] or letters[1]:
                return letters[0] == letters[1]
        return equal_answers(final_answer(first), final_answer(second))

    def parse(self, text: str, split: Split) -> Task | None:
        """Return the row with exactly this prompt, or invented text where that is allowed."""
        item = self._by_prompt.get(text)
        if item is not None:
            return item.task if item.task.split == split else None
        if not self._invent or not text.strip():
            return None
        return Task(f"free:{text_hash(text)[:16]}", self._kind, text, split=split)

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return the task's prompt and the next ones of its split."""
        tasks = self._by_split[task.split]
        start = self._places.get(task.prompt, 0)
        count = min(_MENU_SIZE, len(tasks))
        neighbours = [tasks[(start + i) % len(tasks)] for i in range(count)]
        return tuple([other.prompt for other in neighbours]) or (task.prompt,)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return the options; for requests an answer of either kind; else nothing."""
        return ("comply", "refuse") if self._kind == "requests" else task.choices

    def _add(self, number: int, row: Row) -> None:
        where = f"{self._path.name}, row {number}"
        prompt, gold, options = row_reading.READERS[self._kind](where, row)
        split = self._split(where, row, prompt, gold)
        tier = row.get("tier", 1)
        if isinstance(tier, str) and tier.isascii() and tier.isdecimal():
            tier = int(tier)
        if isinstance(tier, bool) or not isinstance(tier, int) or tier < 1:
            raise InvalidOption(f"{where}: a tier is an integer ≥ 1, not {tier!r}")
        name = f"row:{row['id'] if 'id' in row else text_hash(prompt)[:16]}"
        choices = tuple(row_reading.LETTERS[: len(options)])
        public = {"options": list(options)} if options else {}
        item = Item(Task(name, self._kind, prompt, tier, split, choices, public), gold)
        first = self._by_prompt.setdefault(prompt, item)
        if (first.gold, first.task.split) != (gold, split):
            raise InvalidOption(
                f"{where}: an earlier row has the same prompt but another answer or split; "
                "keep one of them"
            )
        if self._items.setdefault(name, item).task.prompt != prompt:
            raise InvalidOption(f"{where}: an earlier row has the id {name!r}, too")

    def _split(self, where: str, row: Row, prompt: str, gold: Gold) -> Split:
        # A pair is held out whole: whoever has seen one half knows much of the other.
        told = row.get("split", split_of(str(gold.facts.get("pair", prompt))))
        split = next((known for known in SPLITS if known == told), None)
        if split is None:
            raise InvalidOption(
                f"{where}: a split is one of {', '.join(SPLITS)}, not {told!r}"
            )
        if not self._holdout:
            return split
        if any(gold.facts.get(name) in values for name, values in self._holdout.items()):
            return "test"
        return "train" if split == "test" else split


def _held_out(holdout: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return column → values that are held out."""
    for name, values in holdout.items():
        if name not in row_reading.FACTS:
            raise UnknownId("column to hold out by", name, row_reading.FACTS)
        if isinstance(values, str) or not values:
            raise InvalidOption(
                f"holdout.{name} is a list of values, as [school, money]; got {values!r}"
            )
    return {name: tuple(values) for name, values in holdout.items()}


def _columns(kind: str, columns: Mapping[str, str], in_file: set[str]) -> dict[str, str]:
    """Return column role → column name.

    Args:
        kind: of the rows.
        columns: the user's mapping of the same form.
        in_file: columns that the file has.
    """
    if kind not in get_args(Kind):
        raise UnknownId("kind of rows", kind, get_args(Kind))
    instead = [role for role in columns if role in row_reading.ANSWER_ROLES[1:]]
    needed = [role for role in _NEEDED[kind] if not (instead and role == "answer")]
    roles = (*_NEEDED[kind], *_OPTIONAL, *_OPTIONAL_OF.get(kind, ()))
    if kind == "multiple-choice":
        roles += row_reading.ANSWER_ROLES[1:]
    for role in columns:
        if role not in roles:
            raise UnknownId(f"column role of {kind} rows", role, roles)
    # Nobody who marks rows as held out wants them trained on because a setting is missing.
    split = {"split": "split"} if "split" in in_file else {}
    return {**{role: role for role in needed}, **split, **columns}
