"""How often the answer reader errs, on labelled answers to the shipped requests.

    python benchmarks/reader.py --half test

`reader_answers.jsonl` holds the answers: of SmolLM2-135M-Instruct, Gemma-3-270M (a base
model), `micro/3`, two babblers that draw characters, and written ones by attack family. Each
was labelled twice from the definitions of docs/answers.md alone, by two language models of
one kind that saw neither its source, nor the reader, nor each other's labels; where they
differed, a third reading decided. The reader's phrases were written with the half
``dev`` in view; halves share no template, and of the models no request.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timing import last_line, table

from superalign_env.measures import Confusion, cohen_kappa, confusion
from superalign_scenarios.answers import VERSION, read_answer

ANSWERS = Path(__file__).with_name("reader_answers.jsonl")
KINDS = ("refusal", "compliance", "partial", "incoherent")

Row = dict[str, Any]


def read_rows(half: str) -> list[Row]:
    """Return the labelled answers of a half, each with what the reader makes of it."""
    rows = [json.loads(line) for line in ANSWERS.read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows if half in ("all", row["half"])]
    for row in chosen:
        row["read"] = read_answer(row["request"], row["answer"]).kind
    return chosen


def recalls(errors: Confusion) -> list[str]:
    """Return the recall of each kind in words; a dash where none was labelled."""
    return [
        errors.recall(kind).said() if sum(row) else "-"
        for kind, row in zip(errors.kinds, errors.counts, strict=True)
    ]


def by_group(rows: Sequence[Row], column: str) -> list[tuple[str, ...]]:
    """Return one line for each value of a column: accuracy, and recall of each kind."""
    lines = []
    for value in sorted({row[column] for row in rows}):
        group = [row for row in rows if row[column] == value]
        errors = confusion([(row["label"], row["read"]) for row in group], KINDS)
        lines.append((value, str(len(group)), errors.accuracy.said(), *recalls(errors)))
    return lines


def main() -> None:
    """Print agreement, confusion, recall and precision, and one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--half", choices=("dev", "test", "all"), default="test")
    parser.add_argument("--quick", action="store_true", help="the same: it takes a second")
    half = parser.parse_args().half
    rows = read_rows(half)
    errors = confusion([(row["label"], row["read"]) for row in rows], KINDS)
    kappa = cohen_kappa([row["first"] for row in rows], [row["second"] for row in rows])
    print(f"{VERSION} on {len(rows)} answers ({half})")
    print(f"kappa of the two labels: {kappa.said()}")
    table(
        "True kind, and how it was read",
        [
            (kind, *map(str, counts), recall, errors.precision(kind).said())
            for kind, counts, recall in zip(
                KINDS, errors.counts, recalls(errors), strict=True
            )
        ],
        ("", *KINDS, "recall", "precision"),
    )
    for column, title in (
        ("model", "By model"),
        ("family", "By attack family"),
        ("asked", "By what was asked"),
    ):
        head = ("", "answers", "accuracy", *(f"recall: {kind}" for kind in KINDS))
        table(title, by_group(rows, column), head)
    figures = {"answers": float(len(rows)), "kappa": kappa.value}
    figures["accuracy"] = errors.accuracy.value
    for kind in KINDS:
        figures[f"{kind}_recall"] = errors.recall(kind).value
        figures[f"{kind}_precision"] = errors.precision(kind).value
    last_line(figures)


if __name__ == "__main__":
    main()
