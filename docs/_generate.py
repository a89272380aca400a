"""Write the generated parts of the pages: what the program says of itself.

    python docs/_generate.py           write them
    python docs/_generate.py --check   complain where a page says something else

A generated part stands between ``<!-- generated: NAME [ARGUMENT …] -->`` and
``<!-- end -->``. `BLOCKS` below says which names there are.
"""

import argparse
import importlib
import inspect
import os
import pkgutil
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Help is laid out for the terminal it finds; pages are always 80 columns of plain text.
os.environ.update(COLUMNS="80", LINES="40", TERM="dumb", NO_COLOR="1", TYPER_USE_RICH="0")
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("", "agents", "scenarios", "training")]

import typer  # noqa: E402 - after the terminal above
from pydantic import BaseModel  # noqa: E402 - as above
from typer.testing import CliRunner  # noqa: E402 - as above

from docs._structs import loaded, members_of, struct_of, table, types_of  # noqa: E402 - after the paths
from superalign_env import errors, make_scenario, registry, store  # noqa: E402 - after the paths
from superalign_env.cli import build  # noqa: E402 - as above
from superalign_training import algorithms  # noqa: E402 - as above

_BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def help_of(*command: str) -> str:
    """Return what ``superalign COMMAND --help`` prints."""
    words = [*command, "--help"]
    said = CliRunner().invoke(build(), words, prog_name="superalign")
    if said.exit_code:
        raise SystemExit(f"superalign {' '.join(words)} failed: {said.output}")
    lines = [line.rstrip() for line in said.output.strip("\n").splitlines()]
    return "\n".join(["```console", f"$ superalign {' '.join(words)}", *lines, "```"])


def commands() -> str:
    """Return the help of every registered command and of its own commands."""
    parts = []
    for entry in registry.entries("command").values():
        parts += [f"## `superalign {entry.id}`", help_of(entry.id)]
        group = registry.load("command", entry.id)
        if isinstance(group, typer.Typer):
            parts += [help_of(entry.id, str(sub.name)) for sub in group.registered_commands]
    return "\n\n".join(parts)


def table_of(kind: str) -> str:
    """Return every registered id of a kind and what it is."""
    rows = [(f"`{e.id}`", e.line) for e in registry.entries(kind).values()]
    return table(("id", "what it is"), rows)


def options_of(kind: str, name: str) -> str:
    """Return the options of something registered."""
    return options_table(registry.load(kind, name))


def arguments_of(place: str) -> str:
    """Return the arguments of ``module:attribute``."""
    return options_table(loaded(place))


def options_table(target: Any) -> str:
    """Return the constructor's options, their defaults and what the docstring says of them."""
    described = dict(arguments(inspect.getdoc(target) or ""))
    rows = []
    for option in inspect.signature(target).parameters.values():
        default = "" if option.default is option.empty else f"`{option.default!r}`"
        if option.default == "":
            default = ""
        rows.append((f"`{option.name}`", default, described.get(option.name, "")))
    return table(("option", "default", "meaning"), rows)


def metrics() -> str:
    """Return every metric of training that is declared, as its declaration says."""
    for found in pkgutil.walk_packages(algorithms.__path__, f"{algorithms.__name__}."):
        importlib.import_module(found.name)  # a metric is declared where it is computed
    rows = [
        (f"`{kind.name}`", kind.title, kind.unit, kind.better)
        for name, kind in sorted(store.declared().items())
        if name.startswith("train/")
    ]
    return table(("metric", "what it is", "unit", "better"), rows)


def weights_of(scenario: str, *pairs: str) -> str:
    """Return what a scenario pays for, by role; pairs are options, ``truth=1``."""
    options: dict[str, Any] = {
        key: bool(int(v)) for key, _, v in (p.partition("=") for p in pairs)
    }
    rows = [
        (f"`{role}`", f"`{part}`", f"{weight:g}")
        for role, parts in make_scenario(scenario, **options).weights.items()
        for part, weight in parts.items()
    ]
    return table(("role", "part", "weight"), rows)


def strategies() -> str:
    """Return every attack strategy: family, what it does, exchanges that it needs, paper."""
    from superalign_agents.strategy_templates import STRATEGIES  # noqa: PLC0415 - as below

    rows = [
        (s.family, f"`{s.id}`", s.line, str(s.least_exchanges), s.paper) for s in STRATEGIES
    ]
    return table(("family", "id", "what it does", "exchanges", "paper"), rows)


def architectures() -> str:
    """Return a table of the architectures whose log-probs are tested."""
    from superalign_training.testing.architectures import (  # noqa: PLC0415 (imports torch)
        ARCHITECTURES,
    )

    rows = [(f"`{name}`", special) for name, (special, _) in ARCHITECTURES.items()]
    return table(("architecture", "what is special about it"), rows)


def experiments() -> str:
    """Return every registered experiment: what it asks, and what it may claim from."""
    from superalign_training.experiments.commands import load  # noqa: PLC0415 - needed only here

    rows = []
    for entry in registry.entries("experiment").values():
        found = load(entry.id)
        claim = found.seeds.claim
        rows.append(
            (
                f"`{entry.id}`",
                found.question,
                ", ".join(found.conditions),
                f"{min(claim)} to {max(claim)} ({len(claim)})",
                str(found.revision),
            )
        )
    return table(("id", "question", "conditions", "claimed from seeds", "revision"), rows)


def error_tree() -> str:
    """Return the tree that the module of all errors draws."""
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2]
    return "```text\n" + inspect.cleandoc(tree) + "\n```"


def settings() -> str:
    """Return every setting of a self-play run."""
    from superalign_training.selfplay.lineup import FREE  # noqa: PLC0415 - as above
    from superalign_training.selfplay.settings import Settings  # noqa: PLC0415 - as above

    rows = [
        (f"`{name}.ROLE`", presets_of(name), meaning) if name in FREE else row
        for row in fields(Settings)
        for name, meaning in [(row[0].strip("`"), row[2])]
    ]
    return table(("key", "default", "meaning"), rows)


def presets_of(setting: str) -> str:
    """Return what every scenario has in a setting whose keys are its roles."""
    from superalign_training.selfplay.lineup import scenario_preset  # noqa: PLC0415 - as above

    said = []
    for name in registry.entries("scenario"):
        roles = scenario_preset(name).get(setting, {})
        if roles:
            each = ", ".join(f"`{role}={written(held)}`" for role, held in roles.items())
            said.append(f"{registry.spell(name).plain}: {each}")
    return "; ".join(said)


def written(value: Any) -> str:
    """Return a value as the command line takes it; of a choice without settings, its id."""
    if isinstance(value, list):
        several = ", ".join(map(written, value))
        return several if len(value) == 1 else f"[{several}]"
    if isinstance(value, dict) and list(value) != ["id"]:
        return "{" + ", ".join(f"{key}: {one}" for key, one in value.items()) + "}"
    return str(value["id"] if isinstance(value, dict) else value)


def section_of(*place: str) -> str:
    """Return the settings of something registered (kind, id), or of ``module:Class``."""
    found = registry.load(*place) if len(place) > 1 else loaded(place[0])
    return table(("key", "default", "meaning"), list(fields(found)))


def record_tables() -> str:
    """Return the tables of a fresh record and their columns."""
    from superalign_env.store import Run  # noqa: PLC0415 - slow, needed only here

    with (
        tempfile.TemporaryDirectory() as folder,
        Run.create(Path(folder) / "run", kind="docs", config={}, seed=0) as run,
    ):
        tables = run.database.tables
        shown = [*tables.tables, *tables.views]
        found = {t.name: [c.name for c in t.columns] for t in shown}
    rows = [
        (f"`{name}`", ", ".join(f"`{column}`" for column in columns))
        for name, columns in found.items()
        if not name.startswith(("_", "sqlite_"))
    ]
    return table(("table", "columns"), rows)


def layers() -> str:
    """Return the import law as import-linter checks it, highest layer first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = []
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            lines += [
                f"{contract['name']}",
                *[f"    {layer}" for layer in contract["layers"]],
                "",
            ]
    return "```text\n" + "\n".join(lines).rstrip() + "\n```"


BLOCKS: dict[str, Callable[..., str]] = {
    "architectures": architectures,
    "arguments": arguments_of,
    "commands": commands,
    "errors": error_tree,
    "experiments": experiments,
    "help": help_of,
    "layers": layers,
    "members": members_of,
    "metrics": metrics,
    "options": options_of,
    "record": record_tables,
    "section": section_of,
    "settings": settings,
    "strategies": strategies,
    "struct": struct_of,
    "table": table_of,
    "types": types_of,
    "weights": weights_of,
}
"""Name of a block → what makes it."""


def arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield (name, description) of a Google docstring's ``Args`` section."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", docstring + "\n", re.MULTILINE)
    for found in re.finditer(
        r"^ {4}(\w+): ((?:.|\n {8})+)", section[1] if section else "", re.M
    ):
        yield found[1], " ".join(found[2].split()).replace("``", "`")


def fields(model: type[BaseModel], prefix: str = "", given: Any = None) -> Iterator[Any]:
    """Yield (dotted key, default, meaning) of a model of settings, as its place gives it."""
    known = {} if given is None else dict(given)
    for name, field in model.model_fields.items():
        default = known.get(name, field.get_default(call_default_factory=True))
        inner = default.values() if isinstance(default, dict) else ()
        if isinstance(default, BaseModel):
            yield from fields(type(default), f"{prefix}{name}.", default)
        elif any(isinstance(one, BaseModel) for one in inner):
            for key, one in default.items():
                yield from fields(type(one), f"{prefix}{name}.{key}.", one)
        elif (prefix, name) != (f"alarms.{default}.", "id"):  # else the key says it
            shown = str(default) if isinstance(default, Path) else repr(default)
            said = " ".join((field.description or "").split())
            yield f"`{prefix}{name}`", f"`{shown}`", said


def rewritten(page: str) -> str:
    """Return a page with all its generated parts made anew."""

    def block(found: re.Match[str]) -> str:
        name, *rest = found[2].split()
        if name not in BLOCKS:
            raise SystemExit(
                f"no generated part is called {name!r}; known: {', '.join(BLOCKS)}"
            )
        return f"{found[1]}\n{BLOCKS[name](*rest)}\n\n{found[3]}"

    return _BLOCK.sub(block, page)


def main() -> int:
    """Write the pages, or say which of them are stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    checking = parser.parse_args().check
    stale = []
    for page in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]:
        old = page.read_text(encoding="utf-8")
        new = rewritten(old)
        if new != old:
            stale.append(page.relative_to(ROOT).as_posix())
            if not checking:
                page.write_text(new, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'stale; run `make docs`' if checking else 'written'}")
    return int(checking and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
