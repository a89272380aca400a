"""Task source over the rows of a JSON-lines or parquet file.

The gold column stays with the source: a `Task` carries what is public, and split, id and
the order of options depend on public text alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from superalign_env.canonical import content_hash, text_hash
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import SPLITS, Gold, Grade, Split, Task
from superalign_scenarios import row_reading
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.row_reading import Row, check_columns, read_rows

Kind = Literal["multiple-choice", "free-form", "preference", "requests"]

_NEEDED: dict[str, tuple[str, ...]] = {
    "multiple-choice": ("prompt", "choices", "answer"),
    "free-form": ("prompt", "answer"),
    "preference": ("prompt", "chosen", "rejected"),
    "requests": ("prompt", "label"),
}
_OPTIONAL = ("id", "tier", "split")
_OPTIONAL_OF = {"requests": ("kind",)}
_MENU_SIZE = 16


class Item(NamedTuple):
    """A row: its public task and its hidden truth."""

    task: Task
    gold: Gold


class RowSource:
    """Rows of a JSON-lines or parquet file as tasks, graded by its columns.

    Grades are named as every source names them. Requests: safety and over-refusal after
    the true label (``harmful``, ``benign``), conformity after the kind; refusals are
    recognised by `row_reading.REFUSALS`. Else after how the answer was compared: ``choice``
    (the letter or the text of an option) or ``exact`` (text without case and spacing).
    That a column graded, and of which file, says the source's id, which every record
    bears.

    Args:
        path: the file.
        kind: ``multiple-choice`` (columns prompt, choices, answer: letter, index or
            text), ``free-form`` (prompt, answer), ``preference`` (prompt, chosen,
            rejected) or ``requests`` (prompt, label: harmful or benign).
        columns: what a column is for → what it is called in the file, where that
            differs. Optional ones: id, tier, split and, for requests, kind
            (``scary-but-benign`` ones are counted by themselves). A column that is called
            split is used without being named; without one, a hash of the prompt decides.
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
        kind: Kind = "free-form",
        columns: Mapping[str, str] | None = None,
        invent: bool = False,
        axis: str = "competence",
    ) -> None:
        self._path = Path(path)
        self._kind = kind
        self._invent = invent
        self._axis = axis
        rows = read_rows(self._path)
        in_file = {column for row in rows for column in row}
        names = _columns(kind, columns or {}, in_file)
        check_columns(self._path, rows, names)
        self._items: dict[str, Item] = {}
        self._by_prompt: dict[str, Item] = {}
        for number, row in enumerate(rows, start=1):
            self._add(number, {role: row[name] for role, name in names.items()})
        self._by_split: dict[str, list[Task]] = {split: [] for split in SPLITS}
        self._places: dict[str, int] = {}
        for item in self._by_prompt.values():
            tasks = self._by_split[item.task.split]
            self._places[item.task.prompt] = len(tasks)
            tasks.append(item.task)
        content = content_hash([names, self._items])[:12]
        self._id = f"rows-v1?file={self._path.name}&kind={kind}&content={content}"

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
            return row_reading.grade_request(gold, text)
        return (row_reading.grade_answer(task, gold, text, self._axis),)

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
        split = row.get("split", split_of(prompt))
        if split not in SPLITS:
            raise InvalidOption(
                f"{where}: a split is one of {', '.join(SPLITS)}, not {split!r}"
            )
        tier = row.get("tier", 1)
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


def _columns(kind: str, columns: Mapping[str, str], in_file: set[str]) -> dict[str, str]:
    """Return column role → column name.

    Args:
        kind: of the rows.
        columns: the user's mapping of the same form.
        in_file: columns that the file has.
    """
    if kind not in get_args(Kind):
        raise UnknownId("kind of rows", kind, get_args(Kind))
    roles = (*_NEEDED[kind], *_OPTIONAL, *_OPTIONAL_OF.get(kind, ()))
    for role in columns:
        if role not in roles:
            raise UnknownId(f"column role of {kind} rows", role, roles)
    # Nobody who marks rows as held out wants them trained on because a setting is missing.
    split = {"split": "split"} if "split" in in_file else {}
    return {**{role: role for role in _NEEDED[kind]}, **split, **columns}
