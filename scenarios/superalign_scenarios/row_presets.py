"""Column mappings of public prompt sets: files as people have them become request rows.

Only the last of these sets is shipped. A preset knows how columns are called and what they
say.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from superalign_env.errors import InvalidOption, UnknownId
from superalign_scenarios.row_files import Row

LOOK_ALIKE = "scary-but-benign"
"""Kind of a harmless request that resembles a harmful one; over-refusal of these is counted
by itself."""

_CONTRAST = "contrast_"

_XSTEST_BASES = {
    "homonyms": "homonyms",
    "figurative_language": "figurative_language",
    "safe_targets": "safe_targets",
    "safe_contexts": "safe_contexts",
    "definitions": "definitions",
    "real_group_nons_discr": "discr",
    "nons_group_real_discr": "discr",
    "historical_events": "historical_events",
    "privacy_public": "privacy",
    "privacy_fictional": "privacy",
}
"""Type of a safe XSTest prompt → type of its unsafe contrast, without ``contrast_``."""

_LABELS = {"safe": "benign", "unsafe": "harmful", "unharmful": "benign"}
_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no", "")


class RowPreset(NamedTuple):
    """Columns by which a set is recognised, and how its rows are read."""

    columns: tuple[str, ...]
    read: Callable[[str, Iterable[Row]], "Read"]
    about: str


class Read(NamedTuple):
    """Rows of a set in the columns of `RowSource`, and what was left out or concluded."""

    rows: list[Row]
    notes: tuple[str, ...] = ()


def preset_of(rows: Iterable[Row]) -> str:
    """Return the name of the only preset whose columns every row has; empty without one."""
    columns = set.intersection(*[set(row) for row in rows])
    fitting = [name for name, preset in PRESETS.items() if set(preset.columns) <= columns]
    # Whoever has an answer or options to a prompt has tasks, not requests.
    return fitting[0] if len(fitting) == 1 and not {"answer", "choices"} & columns else ""


def read_preset(name: str, file: str, rows: list[Row]) -> Read:
    """Return the rows of a prompt set, read by its preset.

    Args:
        name: of the preset.
        file: name of the file, for messages.
        rows: as they are in the file.

    Raises:
        UnknownId: no such preset, or a column of it is missing.
        InvalidOption: a cell that the set does not have; names the row.
    """
    if name not in PRESETS:
        raise UnknownId("preset of rows", name, PRESETS)
    preset = PRESETS[name]
    in_file = {column for row in rows for column in row}
    for column in preset.columns:
        if column not in in_file:
            raise UnknownId(f"column of {file} (preset {name})", column, in_file)
    return preset.read(file, rows)


def _harmbench(file: str, rows: Iterable[Row]) -> Read:
    return Read(
        [
            _request(
                row["Behavior"],
                "harmful",
                id=row["BehaviorID"],
                kind=row["FunctionalCategory"],
                category=row["SemanticCategory"],
                context=row["ContextString"],
            )
            for row in rows
        ]
    )


def _strongreject(file: str, rows: Iterable[Row]) -> Read:
    return Read(
        [
            _request(row["forbidden_prompt"], "harmful", category=row["category"])
            for row in rows
        ]
    )


def _advbench(file: str, rows: Iterable[Row]) -> Read:
    return Read([_request(row["goal"], "harmful", target=row["target"]) for row in rows])


def _xstest(file: str, rows: Iterable[Row]) -> Read:
    read, met = [], Counter[str]()
    for number, row in enumerate(rows, start=1):
        where, kind = f"{file}, row {number}", row["type"]
        base = str(kind).removeprefix(_CONTRAST)
        base = base if kind != base else _XSTEST_BASES.get(base, "")
        if base not in _XSTEST_BASES.values():
            raise InvalidOption(
                f"{where}: {kind!r} is no type of XSTest, as {', '.join(_XSTEST_BASES)} or "
                f"{_CONTRAST}… are"
            )
        label = "harmful" if str(kind).startswith(_CONTRAST) else "benign"
        told = row.get("label", label)
        if _LABELS.get(told, told) != label:
            raise InvalidOption(f"{where}: the type {kind!r} and the label {told!r} differ")
        met[kind] += 1
        read.append(
            _request(
                row["prompt"],
                label,
                id=row["id"],
                kind=LOOK_ALIKE if label == "benign" else "harmful",
                category=kind,
                family=base,
                # The set lists the contrasts of a type in the order of its safe prompts.
                pair=f"{base}-{met[kind]}",
            )
        )
    return Read(read)


def _wildguard(file: str, rows: Iterable[Row]) -> Read:
    read, unlabelled = [], 0
    for number, row in enumerate(rows, start=1):
        told = row["prompt_harm_label"]
        if told in (None, ""):
            unlabelled += 1
            continue
        if told not in ("harmful", "unharmful"):
            raise InvalidOption(
                f"{file}, row {number}: prompt_harm_label is harmful or unharmful, not {told!r}"
            )
        adversarial = _flag(f"{file}, row {number}", "adversarial", row["adversarial"])
        label = "benign" if told == "unharmful" else "harmful"
        kind = "adversarial" if adversarial else "plain"
        if label == "benign" and adversarial:
            kind = LOOK_ALIKE
        read.append(
            _request(row["prompt"], label, kind=kind, category=row.get("subcategory"))
        )
    notes = (
        [f"{unlabelled} rows without a prompt_harm_label left out"] if unlabelled else []
    )
    return Read(*_merged(file, read, notes))


def _beavertails(file: str, rows: Iterable[Row]) -> Read:
    unsafe: dict[str, bool] = {}
    categories: dict[str, set[str]] = {}
    for number, row in enumerate(rows, start=1):
        where, prompt = f"{file}, row {number}", row["prompt"]
        if not isinstance(row["category"], dict):
            raise InvalidOption(
                f"{where}: category is a mapping from kind of harm to true or false, "
                f"not {row['category']!r}"
            )
        safe = _flag(where, "is_safe", row["is_safe"])
        unsafe[prompt] = unsafe.get(prompt, False) or not safe
        harms = [name for name, found in row["category"].items() if found]
        categories.setdefault(prompt, set()).update(harms)
    read = [
        _request(
            prompt,
            "harmful" if harmful else "benign",
            kind="harmful" if harmful else "plain",
            category=",".join(sorted(categories[prompt])),
        )
        for prompt, harmful in unsafe.items()
    ]
    return Read(
        read,
        (
            "is_safe is about the answer: a prompt is called harmful where any of its "
            "answers was unsafe",
        ),
    )


def _borderline(file: str, rows: Iterable[Row]) -> Read:
    return Read([dict(row) for row in rows])


def _merged(
    file: str, rows: Iterable[Row], notes: list[str]
) -> tuple[list[Row], tuple[str, ...]]:
    """Return one row for each prompt; prompts with two labels are left out and counted."""
    by_prompt: dict[Any, list[Row]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt"], []).append(row)
    kept = [same[0] for same in by_prompt.values() if len({r["label"] for r in same}) == 1]
    disputed = len(by_prompt) - len(kept)
    if disputed:
        notes.append(f"{disputed} prompts of {file} with two labels left out")
    return kept, tuple(notes)


def _request(prompt: Any, label: str, **columns: Any) -> Row:
    """Return a row; columns without a text are left out."""
    told = {name: value for name, value in columns.items() if value not in (None, "")}
    return {"prompt": prompt, "label": label, **told}


def _flag(where: str, column: str, value: Any) -> bool:
    told = str(value).casefold()
    if told not in (*_TRUE, *_FALSE):
        raise InvalidOption(f"{where}: {column} is true or false, not {value!r}")
    return told in _TRUE


PRESETS: dict[str, RowPreset] = {
    "harmbench": RowPreset(
        (
            "Behavior",
            "FunctionalCategory",
            "SemanticCategory",
            "ContextString",
            "BehaviorID",
        ),
        _harmbench,
        "HarmBench behaviours; the context string is part of the prompt",
    ),
    "strongreject": RowPreset(
        ("forbidden_prompt", "category"), _strongreject, "StrongREJECT prompts"
    ),
    "advbench": RowPreset(
        ("goal", "target"), _advbench, "AdvBench goals; the target is kept as a fact"
    ),
    "xstest": RowPreset(
        ("id", "type", "prompt"),
        _xstest,
        "XSTest; safe prompts are look-alikes, contrasts their pairs",
    ),
    "wildguard": RowPreset(
        ("prompt", "prompt_harm_label", "adversarial"),
        _wildguard,
        "WildGuardMix; adversarial harmless prompts are look-alikes",
    ),
    "beavertails": RowPreset(
        ("prompt", "response", "category", "is_safe"),
        _beavertails,
        "BeaverTails; harmful where an answer to the prompt was judged unsafe",
    ),
    "borderline": RowPreset(
        ("prompt", "label", "kind", "topic", "family", "pair"),
        _borderline,
        "the shipped set, and others of its columns",
    ),
}
"""Name → preset."""
