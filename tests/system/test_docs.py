"""Pages that cannot lie: their code runs, their links lead somewhere, nothing is missing."""

import ast
import os
import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

import superalign_env
from superalign_env import registry, types
from superalign_training.cli.composing import combinations, composed
from superalign_training.selfplay.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DEVELOPMENT = ROOT / "docs" / "development.md"
SOURCE_ROOTS = (".", "agents", "scenarios", "training")
KINDS = (
    "agent",
    "alarm",
    "algorithm",
    "command",
    "evaluation",
    "experiment",
    "gap",
    "logger",
    "reader",
    "renderer",
    "scenario",
    "source",
    "world",
)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(page, language):
    return [
        code for found, code in FENCE.findall(page.read_text("utf-8")) if found == language
    ]


def commands():
    """Every ``superalign …`` line of the pages' shell blocks, as (page, words)."""
    for page in PAGES:
        for code in blocks(page, "bash"):
            for line in code.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] == "superalign":
                    yield page.name, words


def anchor(heading):
    """The anchor that a Markdown host makes of a heading."""
    plain = re.sub(r"[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def recipes():
    """What the page on changing the code adds: heading → (diff, check)."""
    found = {}
    for section in re.split(r"^## ", DEVELOPMENT.read_text("utf-8"), flags=re.MULTILINE)[
        1:
    ]:
        codes = FENCE.findall(section)
        diffs = [code for language, code in codes if language == "diff"]
        if diffs:
            (diff,), (check,) = diffs, [code for lang, code in codes if lang == "python"]
            found[section.partition("\n")[0]] = (diff, check)
    return found


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the packages to which all recipes were applied, and what git said of each."""
    tree = tmp_path_factory.mktemp("changed")
    for folder in ("superalign_env", "agents", "scenarios", "training"):
        shutil.copytree(ROOT / folder, tree / folder)
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    applied = {
        heading: subprocess.run(
            ["git", "apply", "-"],
            check=False,
            input=diff,
            cwd=tree,
            env=outside,
            text=True,
            capture_output=True,
        )
        for heading, (diff, _) in recipes().items()
    }
    return tree, applied


@pytest.mark.parametrize("heading", recipes())
def test_a_diff_on_the_page_on_development_applies(changed, heading):
    tree, applied = changed
    assert not applied[heading].returncode, (
        f"docs/development.md, diff of {heading!r}: {applied[heading].stderr}"
        "Did a file move, or a line beside the change? Write the diff anew."
    )
    diff, check = recipes()[heading]
    files = re.findall(r"^\+\+\+ b/(.+)$", diff, re.MULTILINE)
    assert files
    for code in (check, *[(tree / file).read_text("utf-8") for file in files]):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and not _is_new(tree, node.module):
                names = [alias.name for alias in node.names]
                module = import_module(node.module)
                missing = [name for name in names if not hasattr(module, name)]
                assert not missing, (
                    f"docs/development.md, {heading!r}: {missing} have moved"
                )


def _is_new(tree, module):
    """Whether a diff makes the module."""
    path = f"{module.replace('.', '/')}.py"
    made = [root for root in SOURCE_ROOTS if (tree / root / path).exists()]
    return any(not (ROOT / root / path).exists() for root in made)


@pytest.mark.slow
def test_what_the_page_on_development_adds_passes_its_checks(changed, run, tmp_path):
    tree, _ = changed
    assert len(recipes()) == 6
    script = tmp_path / "checks.py"
    lines = [
        f"exec(compile({check!r}, {f'docs/development.md, {heading}'!r}, 'exec'), {{}})"
        for heading, (_, check) in recipes().items()
    ]
    script.write_text("\n".join(lines))
    done = run(script, path=[tree / root for root in SOURCE_ROOTS], cwd=tmp_path)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if blocks(p, "python") and p != DEVELOPMENT],
    ids=lambda page: page.name,
)
def test_code_on_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)
    assert len(names) > 2, "the blocks define something"


def test_the_readme_shows_the_whole_loop_in_about_a_dozen_lines():
    loops = [code for code in blocks(ROOT / "README.md", "python") if "env.last()" in code]
    assert len(loops) == 1
    lines = [line for line in loops[0].splitlines() if line.strip()]
    assert len(lines) <= 16


def test_a_capability_is_declared_in_under_40_lines():
    page = (ROOT / "docs" / "your_scenario.md").read_text("utf-8")
    declared = page.partition("\n## Declare a capability\n")[2]
    codes = [code for language, code in FENCE.findall(declared) if language == "python"]
    written = [
        [line for line in code.splitlines() if re.match(r"(?!import|from)\s*\S", line)]
        for code in codes
    ]
    assert len(codes) == 3
    assert all(5 < len(lines) < 40 for lines in written)


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if not there.exists():
                broken.append(f"{page.name}: {target}")
            elif fragment and fragment not in map(
                anchor, HEADING.findall(there.read_text())
            ):
                broken.append(f"{page.name}: {target} (no such heading)")
    assert broken == []


def test_no_two_headings_of_a_page_have_one_anchor():
    """A link would lead to the first of them only."""
    for page in PAGES:
        plain = FENCE.sub("", page.read_text("utf-8"))
        anchors = [anchor(heading) for heading in HEADING.findall(plain)]
        assert len(anchors) == len(set(anchors)), page.name


def test_every_page_is_in_the_index_and_the_index_in_the_readme():
    readme, index = [(ROOT / p).read_text("utf-8") for p in ("README.md", "docs/README.md")]
    assert "(docs/README.md)" in readme and "(CHANGELOG.md)" in readme
    pages = {p.name for p in PAGES} - {"README.md", "CHANGELOG.md"}
    assert len(pages) > 20
    assert [name for name in sorted(pages) if f"({name}" not in index] == []


def test_every_promise_on_security_names_a_test():
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 5
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py", row)] == []
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    for file, test in named:
        text = (ROOT / file).read_text("utf-8")
        assert not test or f"def {test}(" in text, f"{file} has no {test}"


def test_words_to_grep_for_are_in_the_code():
    rows = re.findall(r"^\| .+ \| `(.+)` \|$", DEVELOPMENT.read_text("utf-8"), re.MULTILINE)
    folders = [
        ROOT / name for name in ("superalign_env", "agents", "scenarios", "training")
    ]
    code = "\n".join(p.read_text("utf-8") for f in folders for p in f.rglob("*.py"))
    assert len(rows) > 8
    missing = [row for row in rows if row not in code and not (ROOT / row).is_dir()]
    assert missing == [], "docs/development.md says to grep for these"


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_id_is_on_a_page(kind):
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    mark = "superalign {}" if kind == "command" else "`{}`"
    assert registry.entries(kind)
    assert [i for i in registry.entries(kind) if mark.format(i) not in text] == []


def test_every_kind_that_is_registered_is_known_here():
    tables = ("superalign_env.plugins", "superalign_agents", "superalign_scenarios")
    packages = [*map(import_module, tables), import_module("superalign_training")]
    assert {kind for package in packages for kind in package.PLUGINS} == set(KINDS)


def test_every_public_name_is_on_a_page():
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    names = superalign_env.__all__
    assert len(names) > 10
    assert [n for n in names if not re.search(rf"\b{n}\b", text)] == []


def test_commands_on_pages_exist():
    known = set(registry.entries("command"))
    assert len(list(commands())) > 40
    assert [f"{page}: {' '.join(w)}" for page, w in commands() if w[1] not in known] == []
    named = {
        (page.name, verb)
        for page in PAGES
        for verb in re.findall(r"`superalign ([a-z]+)", page.read_text("utf-8"))
    }
    assert named
    assert {pair for pair in named if pair[1] not in known} == set()


def test_settings_on_pages_make_sense():
    """Composed and checked as ``superalign train`` would, but not run."""
    trained = [(page, words) for page, words in commands() if words[1] == "train"]
    assert len(trained) > 20
    for page, words in trained:
        sweep = "-m" in words or "--multirun" in words
        given = [word for word in words[2:] if "=" in word]
        for chosen in combinations(given) if sweep else [given]:
            assert isinstance(read_settings(composed(chosen)), Settings), f"{page}: {words}"


def test_make_targets_on_pages_exist():
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)\b(?= |`|\n)", text)) - rules <= set()


def test_pages_hold_no_placeholders():
    empty = re.compile(r"\b(TODO|TBD|FIXME|lorem ipsum|coming soon|placeholder)\b", re.I)
    assert [p.name for p in PAGES if empty.search(p.read_text("utf-8"))] == []


def test_the_page_of_types_has_every_struct_and_explains_every_field():
    text = (ROOT / "docs" / "types.md").read_text("utf-8")
    sections = dict(
        re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    )
    structs = {
        name: found
        for name in types.__all__
        if hasattr(found := getattr(types, name), "__struct_fields__")
    }
    assert sections.keys() == structs.keys() and len(structs) > 20
    for name, struct in structs.items():
        rows = re.findall(
            r"^\| `(\w+)` \| (.+?)(?<!\\) \| (.*?) \| (.*) \|$", sections[name], re.M
        )
        assert [row[0] for row in rows] == list(struct.__struct_fields__)
    asked = "Episode Task Gold Grade Step Event Brief View Reply Utterance Reward Signal Question"
    for name in asked.split():
        assert not re.search(r"\|  \|$", sections[name], re.M), (
            f"{name}: a field says nothing"
        )
