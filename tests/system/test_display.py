"""Everything that is shown passes the escapes: by reading the code, and by a hostile run."""

import ast
import re

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from superalign_env import cli
from superalign_env.cli import build
from superalign_env.cli.output import Screen, console, say, shown, table
from superalign_env.envs import make_scenario
from superalign_env.errors import SuperalignError
from superalign_env.faces import rendered
from superalign_env.game import Game
from superalign_env.plain_text import MARK, columns
from superalign_env.report import write_report
from superalign_env.store import EpisodeWriter, Run
from superalign_env.types import (
    AgentSpec,
    EpisodeKey,
    Event,
    Metric,
    Question,
    Reply,
    Signal,
)
from superalign_training.evaluation.summary import as_markdown
from superalign_training.selfplay.watching.standings import fitting
from tests.env.test_plain_text import Parsed, hidden
from tests.hostile import HOSTILE

PRINTERS = {
    "superalign_env.cli": "the version, and a line for Ctrl-C before anything is imported",
    "superalign_env.cli.output": "verbs print through it",
    "superalign_env.faces": "an environment renders, every line marked",
    "superalign_env.humans.terminal": "an annotator's screen, every line marked",
    "superalign_agents.human": "a player's screen, every line marked",
    "superalign_env.deadlines": "the end of a worker that hangs: a number of seconds",
    "superalign_agents.template_worker": "answers of a process, read by another",
    "superalign_env.testing.other_process": "answers of a process, read by another",
}
"""Module → what it may print; all others print through `superalign_env.cli.output`."""

ESCAPES = {"inline", "one_line", "shown", "table"}
"""Functions whose result may be printed as it is."""

MADE = {"summary_tables", "cost_table", "results_table", "tables"} | ESCAPES


def called(node):
    """Return the last part of the name of what a call calls."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def owner(node):
    return ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""


def plain(node):
    """Whether an argument was written by us, or comes out of an escape."""
    if isinstance(node, ast.Starred):
        node = node.value
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.Call) and called(node) in MADE
    )


def ours(node):
    """Whether a sentence was written here, in whichever of two ways."""
    if isinstance(node, ast.IfExp):
        return ours(node.body) and ours(node.orelse)
    return isinstance(node, ast.Constant)


def prints(node, name, of, first):
    return (name == "print" and not of) or name in ("echo", "secho")


def writes(node, name, of, first):
    return name in ("write", "writelines") and re.search(r"std(out|err)", of)


CHECKS = {
    "prints by itself": (lambda *call: prints(*call) or writes(*call), PRINTERS),
    "a sentence that is not written here": (
        lambda node, name, of, first: name == "say" and not of and not ours(first),
        (),
    ),
    "prints what was not escaped": (
        lambda node, name, of, first: (
            name == "print" and of and not all(map(plain, node.args))
        ),
        ("superalign_env.cli.output",),
    ),
    "a screen that is no Screen": (
        lambda node, name, of, first: name in ("Console", "from_markup"),
        (),
    ),
    "reads markup": (
        lambda node, name, of, first: (
            name == "TextColumn"
            and "{" in ast.unparse(first)
            and not any(word.arg == "markup" for word in node.keywords)
        ),
        (),
    ),
    "warns of what was not escaped": (
        lambda node, name, of, first: of == "warnings" and not plain(first),
        (),
    ),
    "draws by itself, not by figures.save": (
        lambda node, name, of, first: name == "savefig",
        ("superalign_env.figures.drawing",),
    ),
    "escapes by itself": (
        lambda node, name, of, first: name == "escape" and of == "html",
        # connection: every form of a key is sought, to be removed
        ("superalign_env.plain_text", "superalign_agents.connection"),
    ),
    "makes HTML by itself": (
        lambda node, name, of, first: name == "Markup",
        ("superalign_env.report.html", "superalign_env.report.plots"),  # plots: drawings
    ),
    "makes Markdown by itself": (
        lambda node, name, of, first: name == "join" and re.search(r"(^|[^|])\| ", of),
        # constrained: alternatives of a grammar
        ("superalign_env.plain_text", "superalign_agents.constrained"),
    ),
}
"""Fault → (what it is in a call, modules that may)."""


def faults(module, tree):
    """Yield what prints, draws or writes text without an escape."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first = node.args[0] if node.args else ast.Constant("")
            for fault, (holds, may) in CHECKS.items():
                if module not in may and holds(node, called(node), owner(node), first):
                    yield f"{fault}: {module}:{node.lineno} {ast.unparse(node)[:90]}"


def test_what_is_shown_passes_an_escape(sources):
    found = [fault for s in sources for fault in faults(s.module, s.tree)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "print(f'{run.id}')",
        "typer.echo(name)",
        "sys.stderr.write(text)",
        "say(f'played {name}')",
        "console.print(f'{name}')",
        "console.print(episode.id)",
        "Console().print('x')",
        "TextColumn('{task.description}')",
        "warnings.warn(f'{error}')",
        "figure.savefig(path)",
        "html.escape(text)",
        "Markup(f'<b>{name}</b>')",
        "' | '.join(cells)",
    ],
)
def test_the_check_finds_what_passes_none(line):
    assert list(faults("superalign_env.somewhere", ast.parse(line)))


def test_every_printer_prints(sources):
    """A module that prints no more has no place in the list."""
    by_name = {s.module: s for s in sources}
    idle = [m for m in PRINTERS if not re.search(r"print\(|stdout", by_name[m].text)]
    assert idle == []


NAME = "ev\x1b[31mil [red]x[/]\u202e\u200b\U000e0041"
TEXT = "\n".join(HOSTILE.values()).replace("\x00", "").encode(errors="ignore").decode()


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    """A run in which everything that others name or say is hostile."""
    folder = tmp_path_factory.mktemp("runs") / NAME
    game = Game(make_scenario("echo"), EpisodeKey(0, 0, 1, 0))
    while not game.over:
        game.step([Reply(TEXT, thought=TEXT) for _ in game.views()])
    episode = game.episode()
    config = {NAME: TEXT, "scenario": "echo"}
    with Run.create(folder, kind=NAME, config=config, seed=3) as run:
        stage = run.stages.begin(NAME, round=1)
        with EpisodeWriter(run, stage=stage.id) as writer:
            writer.write([episode])
        tags = {"role": NAME, "who": NAME, "split": "test"}
        run.metrics.write([Metric(NAME, 0.5, 0.2, 0.7, 8, tags=tags)], stage=stage.id)
        run.events.add(Event(f"alarm.{NAME}", evidence={NAME: TEXT}), stage=stage.id)
        run.questions.ask([Question(f"q{n}", "label", episode.id, 0) for n in range(20)])
        run.signals.append([Signal("verdict", episode.id, 0, NAME, 0.5)])
        run.agents.add(AgentSpec(NAME, {NAME: TEXT}), role="learner")
        run.stages.finish(stage.id)
        run.set_status("done")
    return folder, episode.id


COMMANDS = {
    "ls": ["ls", "{}"],
    "ls above": ["ls", "{above}"],
    "ls seat": ["ls", "{}", "--seat", "speaker_0"],
    "show": ["show", "{}"],
    "show all": ["show", "{}", "--metrics"],
    "show episode": ["show", "{}", "{episode}"],
    "replay": ["replay", "{}", "{episode}"],
    "label": ["label", "{}", "--as", "ann"],
    "validate": ["validate", "{}", "--digest"],
    "doctor": ["doctor", "{}"],
    "report": ["report", "{}"],
    "unknown": ["show", "{}", NAME],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("width", ["", "60"])
def test_a_hostile_run_is_shown_harmlessly(hostile_run, words, width, monkeypatch):
    folder, episode = hostile_run
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr(console, "width", int(width or 1000))
    places = {"{}": str(folder), "{above}": str(folder.parent), "{episode}": episode}
    done = CliRunner().invoke(
        build(), [places.get(word, word) for word in words], input="7\n\x1b[D\nq\n"
    )
    text = done.output + str(done.exception or "").replace(NAME, "")
    assert hidden(text) == []
    if "label" in words:
        assert "not taken" in text and "1 answered" in text
    if words[0] in ("ls", "show", "doctor", "report") and not width:
        assert "⟨U+001B⟩" in done.output or done.exception


def test_a_report_of_a_hostile_run_has_the_elements_of_a_harmless_one(
    hostile_run, tmp_path
):
    folder, _ = hostile_run
    page = write_report(folder, out=tmp_path / "page.html").read_text(encoding="utf-8")
    tags = {tag for tag, _ in Parsed(page).found}
    assert tags & {"script", "img", "iframe", "object", "form", "base", "link"} == set()
    assert hidden(page) == [] and "⟨U+202E⟩" in page and "[red]" in page


@pytest.mark.parametrize(
    "words", [["show", "{}", "{episode}"], ["label", "{}", "--as", "bea"]]
)
@pytest.mark.parametrize("width", ["", "50", "120"])
def test_no_line_of_a_text_looks_like_a_line_of_the_program(
    hostile_run, words, width, monkeypatch
):
    folder, episode = hostile_run
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr(console, "width", int(width or 1000))
    places = {"{}": str(folder), "{episode}": episode}
    said = (
        CliRunner().invoke(build(), [places.get(w, w) for w in words], input="q\n").output
    )
    lines = said.splitlines()
    forged = re.compile(r"\s*(\d+ critic_0|critic_0|▶ (2 )?learner_0|nothing is open)")
    assert [line for line in lines if forged.match(line)] == []
    assert any(line.startswith(f"{MARK}   1 critic_0 score 9") for line in lines)
    if width:
        body = [line for line in lines if line.startswith(MARK)]
        assert body and max(map(len, body)) <= int(width)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_screen_obeys_nobody(text, capsys):
    """Whatever is printed on it, and by whichever way."""
    screen = Screen(width=80, force_terminal=True, color_system=None)
    for what in (text, shown(text, head=f"{text}: ")):
        screen.print(what)
    say("{} said {}", text, text, to=screen)
    out = capsys.readouterr().out
    assert hidden(out) == [] and ("[bold red]" in out) == ("[bold red]" in text)


@pytest.mark.parametrize("width", [13, 20, 30, 40, 60])
@pytest.mark.parametrize("fill", ["x", "日", "x "])
def test_a_name_cannot_look_like_another_row_of_a_table(capsys, width, fill):
    name = f"start{fill * 15} other-run train done"
    row = ("play", "a longer cell", "done", 3)
    Screen(width=width).print(table(["run", "kind", "what", "status", "n"], [(name, *row)]))
    lines = capsys.readouterr().out.splitlines()
    begun = [line[0] for line in lines if line.strip() and line[0] != " "]
    assert begun[-1] == "s"  # of the row; the heading is above it
    assert not any(line.startswith(("other-run", "x", "日")) for line in lines)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_row_of_a_table_is_one_line_whatever_its_name(capsys, text):
    names = [text, f"name\n{text}\nother-run  train  done"]
    Screen(width=100_000).print(table(["run", "what"], [(n, n) for n in names]))
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(names)


@pytest.mark.parametrize("size", ["²", "٣", "9" * 5000, "-5", "x"])
def test_a_screen_has_a_size_whatever_the_environment_says(size, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", size)
    monkeypatch.setenv("LINES", size)
    Screen().print("here")
    assert capsys.readouterr().out == "here\n"


@pytest.mark.parametrize("error", [SuperalignError, ValueError, OSError])
def test_a_message_of_an_error_obeys_nobody(error, monkeypatch, capsys):
    """Whether it was raised on purpose or a plug-in broke."""

    def broken(**options):
        raise error(TEXT)

    monkeypatch.setattr(cli, "build", lambda: broken)
    monkeypatch.setattr(cli, "hear_ctrl_c", lambda: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 1 and hidden(said) == [] and "⟨U+001B⟩[2J" in said
    if error is SuperalignError:
        first, *others = said.splitlines()
        assert first.startswith("superalign: ")
        assert all(line.startswith(MARK) for line in others)


def test_a_summary_keeps_every_name_in_its_cell():
    rows = [["split test", NAME], *[[text, "0.5"] for text in HOSTILE.values()]]
    page = as_markdown("What was learned", TEXT, [(rows, TEXT)])
    table_rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(table_rows) == len(rows) + 1  # and the line below the heading
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in table_rows)
    assert hidden(page) == [] and "](" not in page.replace("\\](", "") and "<" not in page


@pytest.mark.parametrize("width", [40, 80])
def test_tables_that_fit_a_terminal_are_no_wider(capsys, width):
    long = "a heading " * 9 + "x" * 90
    rows = [[long, long, "0.5"], ["日本" * 40, "1", long]]
    Screen(width=width).print(
        *fitting([long, long, "日本" * 40], rows, width=width, caption=long), sep="\n"
    )
    assert max(map(columns, capsys.readouterr().out.splitlines())) <= width


def test_tables_that_fit_a_terminal_forge_no_row(capsys):
    rows = [[text, "0.5"] for text in HOSTILE.values()]
    Screen(width=60).print(
        *fitting(["split", NAME], rows, width=60, caption=TEXT), sep="\n"
    )
    out = capsys.readouterr().out
    assert hidden(out) == []
    assert not re.search(r"^\s*(critic_0: yes|▶|nothing is open)", out, re.MULTILINE)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_notebook_shows_every_turn_marked_and_every_name_in_its_line(text, hostile_run):
    folder, name = hostile_run
    with Run.open(folder, readonly=True) as run:
        episode = replace(run.episode(name), id=text, scenario=text)
        shown_line = f"{episode!r}{run!r}"
    assert hidden(shown_line) == [] and len(shown_line.splitlines()) == 1
    turns = [replace(said, text=text) for said in episode.utterances[:2]]
    lines = rendered(turns, "ansi").split("\n")
    assert hidden("".join(lines)) == []
    owned = [line for line in lines if not line.startswith(MARK)]
    assert [line.partition(":")[0] for line in owned] == ["speaker_0", "speaker_1"]
