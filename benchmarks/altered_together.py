"""Edits of several tables and files that fit together, by somebody without the hash."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from altered_rows import Alteration, edit, loosened

ONE = "(SELECT id FROM episodes ORDER BY id LIMIT 1)"
LAST = "(SELECT id FROM stages ORDER BY number DESC LIMIT 1)"


def _of_last_stage(folder: Path) -> None:
    """Cut the last stage off with everything that it wrote, its hashes and later seals too."""
    with loosened(folder) as db:
        (stage,) = db.execute(f"SELECT {LAST}").fetchone()
        (number,) = db.execute("SELECT id FROM seals WHERE stage = ?", (stage,)).fetchone()
        db.execute("DELETE FROM seals WHERE id >= ?", (number,))
        for table in ("episodes", "metrics", "notices", "undo", "row_hashes"):
            db.execute(f"DELETE FROM {table} WHERE stage = ?", (stage,))
        db.execute("DELETE FROM stages WHERE id = ?", (stage,))
        db.execute(
            "DELETE FROM row_hashes WHERE \"table\" = 'stages' AND key NOT IN "
            "(SELECT CAST(number AS TEXT) FROM stages)"
        )
        db.execute(
            "DELETE FROM row_hashes WHERE \"table\" = 'seals' AND key NOT IN "
            "(SELECT CAST(id AS TEXT) FROM seals)"
        )


def _count_lowered(folder: Path) -> None:
    """Delete an episode, its hash, and one from every count of its stage's seal."""
    with loosened(folder) as db:
        name, stage = db.execute(
            "SELECT id, stage FROM episodes ORDER BY id LIMIT 1"
        ).fetchone()
        db.execute("DELETE FROM episodes WHERE id = ?", (name,))
        db.execute("DELETE FROM row_hashes WHERE key = ?", (name,))
        (text,) = db.execute(
            "SELECT contents FROM seals WHERE stage = ?", (stage,)
        ).fetchone()
        lowered = re.sub(
            r'"episodes":\[(\d+)', lambda m: f'"episodes":[{int(m[1]) - 1}', text
        )
        db.execute("UPDATE seals SET contents = ? WHERE stage = ?", (lowered, stage))


_HASHES = "DELETE FROM row_hashes"


def _of(run: str, name: str, alter: Callable[[Path], None], *says: str) -> Alteration:
    return Alteration(f"combined: {name}", run, says, alter)


def combined_edits(run: str) -> Iterator[Alteration]:
    """Yield edits of several tables that fit together, by somebody without the hash."""
    yield from _of_hashes(run)
    yield from _of_seals(run)
    yield from _of_signals(run)
    yield from _of_runs(run)


def _of_hashes(run: str) -> Iterator[Alteration]:
    """Yield rows that were altered with their hashes."""
    yield _of(
        run,
        "an episode and its hash deleted",
        edit(f"{_HASHES} WHERE key = {ONE}", f"DELETE FROM episodes WHERE id = {ONE}"),
        "episode",
    )
    yield _of(run, "an episode, its hash and its count", _count_lowered, "episode", "seal")
    yield _of(
        run,
        "metric altered, its hash deleted",
        edit(
            f"{_HASHES} WHERE \"table\" = 'metrics' AND key = '5'",
            "UPDATE metrics SET value = 0.99 WHERE id = 5",
        ),
        "metrics",
    )
    yield _of(
        run,
        "metric altered, with the hash of another",
        edit(
            "UPDATE row_hashes SET hash = (SELECT hash FROM row_hashes WHERE \"table\" = 'metrics' AND key = '6') WHERE \"table\" = 'metrics' AND key = '5'",
            "UPDATE metrics SET value = 0.99 WHERE id = 5",
        ),
        "metrics",
    )
    yield _of(
        run,
        "two metrics and their hashes swapped",
        edit(
            "UPDATE metrics SET id = -5 WHERE id = 5",
            "UPDATE metrics SET id = 5 WHERE id = 6",
            "UPDATE metrics SET id = 6 WHERE id = -5",
            "UPDATE row_hashes SET key = '-5' WHERE \"table\" = 'metrics' AND key = '5'",
            "UPDATE row_hashes SET key = '5' WHERE \"table\" = 'metrics' AND key = '6'",
            "UPDATE row_hashes SET key = '6' WHERE \"table\" = 'metrics' AND key = '-5'",
        ),
        "metrics",
    )
    yield _of(
        run,
        "all hashes of metrics deleted, one altered",
        edit(
            f"{_HASHES} WHERE \"table\" = 'metrics'",
            "UPDATE metrics SET value = 0.99 WHERE id = 5",
        ),
        "metrics",
    )
    yield _of(
        run,
        "hashes deleted, metric altered",
        edit(_HASHES, "UPDATE metrics SET value = 0.99 WHERE id = 5"),
        "metrics",
        "row_hashes",
    )


def _of_seals(run: str) -> Iterator[Alteration]:
    """Yield seals and places of episodes that were altered with their hashes."""
    yield _of(
        run,
        "hashes and seals deleted, metric altered",
        edit(_HASHES, "DELETE FROM seals", "UPDATE metrics SET value = 0.99 WHERE id = 5"),
        "metrics",
        "row_hashes",
    )
    yield _of(
        run,
        "seals deleted",
        edit("DELETE FROM seals", f"{_HASHES} WHERE \"table\" = 'seals'"),
        "seal",
    )
    yield _of(
        run,
        "seal in the middle and its hash deleted",
        edit(
            "DELETE FROM seals WHERE id = 5",
            f"{_HASHES} WHERE \"table\" = 'seals' AND key = '5'",
        ),
        "seal",
    )
    yield _of(
        run,
        "two seals' contents swapped",
        edit(
            "UPDATE seals SET contents = (SELECT contents FROM seals s WHERE s.id = 11 - seals.id) WHERE id IN (5, 6)"
        ),
        "seal",
    )
    yield _of(
        run,
        "episode moved to another stage",
        edit(
            f"UPDATE row_hashes SET stage = {LAST} WHERE key = {ONE}",
            f"UPDATE episodes SET stage = {LAST} WHERE id = {ONE}",
        ),
        "episode",
    )
    yield _of(
        run,
        "episode moved out of stages",
        edit(
            f"UPDATE row_hashes SET stage = '' WHERE key = {ONE}",
            f"UPDATE episodes SET stage = NULL WHERE id = {ONE}",
        ),
        "episode",
    )


def _of_signals(run: str) -> Iterator[Alteration]:
    """Yield signals and names that were altered with their hashes."""
    yield _of(
        run,
        "episode under a new name, hash too",
        edit(
            f"UPDATE row_hashes SET key = 'new' WHERE key = {ONE}",
            f"UPDATE episodes SET id = 'new' WHERE id = {ONE}",
        ),
        "episode",
    )
    yield _of(
        run,
        "last signal, its hash and its question deleted",
        edit(
            f"{_HASHES} WHERE \"table\" = 'questions' AND key = (SELECT CAST(number AS TEXT) FROM questions WHERE id = (SELECT question FROM signals ORDER BY id DESC LIMIT 1))",
            "DELETE FROM questions WHERE id = (SELECT question FROM signals ORDER BY id DESC LIMIT 1)",
            f"{_HASHES} WHERE \"table\" = 'signals' AND key = (SELECT CAST(max(id) AS TEXT) FROM signals)",
            "DELETE FROM signals WHERE id = (SELECT max(id) FROM signals)",
        ),
        "signals",
        "questions",
    )
    yield _of(
        run,
        "all signals and hashes deleted, signals_to 0",
        edit(
            f"{_HASHES} WHERE \"table\" = 'signals'",
            "DELETE FROM signals",
            "UPDATE stages SET signals_to = 0",
        ),
        "signals",
        "stages",
    )
    yield _of(
        run,
        "agent accepted, hash deleted",
        edit(
            f"{_HASHES} WHERE \"table\" = 'agents' AND key = '1'",
            "UPDATE agents SET accepted = 1 WHERE number = 1",
        ),
        "agents",
    )
    yield _of(
        run,
        "config in the record and its hash",
        edit(f"{_HASHES} WHERE \"table\" = 'runs'", "UPDATE runs SET seed = seed + 1"),
        "runs",
    )


def _of_runs(run: str) -> Iterator[Alteration]:
    """Yield runs and stages that were altered with their hashes."""
    yield _of(
        run,
        "run said to be running",
        edit(f"{_HASHES} WHERE \"table\" = 'runs'", "UPDATE runs SET status = 'running'"),
        "runs",
    )
    yield _of(
        run,
        "stage said to be running, its hash and seal deleted",
        edit(
            f"DELETE FROM seals WHERE stage = {LAST}",
            f"{_HASHES} WHERE \"table\" = 'stages' AND key = (SELECT CAST(max(number) AS TEXT) FROM stages)",
            f"UPDATE stages SET status = 'running' WHERE id = {LAST}",
            f"UPDATE metrics SET value = 0.99 WHERE stage = {LAST}",
            f"{_HASHES} WHERE stage = {LAST}",
        ),
        "metrics",
        "stages",
        "seal",
    )
    yield _of(
        run,
        "stage and all that it wrote deleted, but for later ones",
        edit(
            *(
                f"DELETE FROM {t} WHERE stage = '0005-attack'"
                for t in ("episodes", "metrics", "notices", "undo", "row_hashes", "seals")
            )
        ),
        "0005",
    )
    yield _of(
        run,
        "last stage cut off, with hashes and seals",
        _of_last_stage,
        "stage",
        "seal",
        "runs",
    )
    yield _of(run, "settings in file and record", _settings_everywhere, "config", "runs")
    yield _of(
        run,
        "metric of a title of its own",
        edit(
            "UPDATE metric_kinds SET better = CASE better WHEN 'higher' THEN 'lower' ELSE 'higher' END",
            f"{_HASHES} WHERE \"table\" = 'metric_kinds'",
        ),
        "metric_kinds",
    )


def _settings_everywhere(folder: Path) -> None:
    """Change a setting wherever it is written."""
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1", 1))
    edit("UPDATE runs SET seed = 1, config = replace(config, '\"seed\":0', '\"seed\":1')")(
        folder
    )
