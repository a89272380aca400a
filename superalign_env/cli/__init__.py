"""``superalign``: one console script, a verb each.

All verbs come from the registry (kind ``command``: a function or a Typer app) and are
imported when they are called, so that ``superalign --help`` lists them and answers at
once. Those that read a record live in this folder.

Exit codes: 0 all is well, 1 something was found or broke, 2 the command was misused.
"""

import errno
import io
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer

from superalign_env import __version__, registry
from superalign_env.ctrl_c import BEFORE_ANYTHING, CTRL_C, hear_ctrl_c
from superalign_env.errors import InvalidOption, RecordError, SuperalignError, UnknownId

_MISUSED = (InvalidOption, UnknownId)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of the output that are no defect; others without a file's name may be one."""

_PASS_ON = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "ignore_unknown_options": True,
}
"""Whatever follows the verb belongs to the command behind it."""


_HELP = ["-h", "--help"]
"""Options that print a command's help."""


def build() -> typer.Typer:
    """Return the app with all verbs that are registered now."""
    app = typer.Typer(
        name="superalign",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: rich takes a fifth of a second to import
        context_settings={"help_option_names": _HELP},
    )
    app.callback()(_first)
    for entry in registry.entries("command").values():
        app.command(
            entry.id, help=entry.line, context_settings=_PASS_ON, add_help_option=False
        )(_late(entry.id))
    return app


def main() -> None:
    """Run the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # what its encoding lacks is shown as \\u2026
            stream.reconfigure(errors="backslashreplace")
    try:
        hear_ctrl_c()
        _run()
    except KeyboardInterrupt:  # while the verbs are found and read
        print(f"\n{BEFORE_ANYTHING}", file=sys.stderr)
        sys.exit(CTRL_C)
    except SuperalignError as error:
        _say_error(str(error))
        misused = isinstance(error, _MISUSED) or type(error) is RecordError
        sys.exit(2 if misused else 1)
    except UnicodeEncodeError as error:  # a word of the command, such as an id
        _say_error(
            f"{error.object[:80]!r} holds characters that are no {error.encoding} text; "
            "write it with others"
        )
        sys.exit(2)
    except OSError as error:
        if error.filename is None and error.errno in _NO_ROOM:
            _leave_output()
            _say_error(f"the output cannot be written: {error.strerror}")
        elif error.filename is None:  # not about a path: somebody should see where it was
            _say_traceback()
        else:
            _say_error(f"{error.filename}: {error.strerror or error}")
        sys.exit(1)
    except Exception:  # a defect of ours or of a plug-in, which may quote anybody
        _say_traceback()
        sys.exit(1)


def _run() -> None:
    try:
        build()(prog_name="superalign")
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # while somebody can be told that it cannot be


def _leave_output() -> None:
    """Let what could not be written go, or Python complains once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_error(message: str) -> None:
    from superalign_env.cli.output import say_error  # noqa: PLC0415 - rich is paid when needed

    say_error(message)


def _say_traceback() -> None:
    from superalign_env.cli.output import say_traceback  # noqa: PLC0415 - same

    say_traceback()


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"superalign-env {__version__}")
        raise typer.Exit


def _first(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """A laboratory for superalignment: play, train, read the record."""


def _late(verb: str) -> Callable[[typer.Context], None]:
    """Return a command that imports the one behind it and hands its arguments over."""

    def run(context: typer.Context) -> None:
        try:
            behind = registry.load("command", verb)
        except KeyboardInterrupt as stop:
            typer.echo(f"\n{BEFORE_ANYTHING}", err=True)
            raise typer.Exit(CTRL_C) from stop
        if not isinstance(behind, typer.Typer):
            behind = _only(behind)
        command = typer.main.get_command(behind)
        try:
            code = command.main(
                context.args,
                context.command_path,
                standalone_mode=False,
                help_option_names=_HELP,
            )
        except Exception as error:
            # Told by its fields: Typer imports click or bundles it, depending on its version.
            if not (hasattr(error, "possibilities") and _takes_settings(command)):
                raise
            raise InvalidOption(_as_setting(error, context)) from error
        if isinstance(code, int) and code:
            raise typer.Exit(code)

    return run


def _takes_settings(command: Any) -> bool:
    """Return whether the words of a command are settings, as those of ``train`` are."""
    return any("KEY=VALUE" in (param.metavar or "") for param in command.params)


def _as_setting(error: Any, context: typer.Context) -> str:
    """Return the message for a setting that was written as an option: ``--rounds 2``."""
    words = context.args
    place = next(i for i, word in enumerate(words) if word.startswith(error.option_name))
    key, equals, value = words[place].lstrip("-").partition("=")
    if not equals:
        following = [word for word in words[place + 1 : place + 2] if "=" not in word]
        value = following[0] if following and following[0][:1] != "-" else "VALUE"
    setting = f"{key.replace('-', '_')}={value}"
    near = (
        f"did you mean {' or '.join(error.possibilities)}? " if error.possibilities else ""
    )
    return (
        f"{context.info_name} has no option {error.option_name}; {near}settings are "
        f"written without dashes: {shlex.quote(setting)}"
    )


def _only(function: Callable[..., None]) -> typer.Typer:
    """Return an app with one command."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.command()(function)
    return app
