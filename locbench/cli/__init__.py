"""The command line: one command per file, thin.

The work is done elsewhere and is tested without it.
"""

from __future__ import annotations

import io
import os
import sys
import traceback

from locbench.cli.signals import ended_as_stopped
from locbench.errors import LocbenchError, ReaderGoneError
from locbench.plugins import blamed
from locbench.printable import printable

DEBUG = "LOCBENCH_DEBUG"
"""Environment variable that shows where an error came from."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 and 143 stopped."""
    _open_what_is_closed()
    _accept_any_text()
    _forget_senseless_sizes()
    with ended_as_stopped() as stop:
        code = _run()
    _leave(stop.code if code == 130 and stop.code else code)


def _run() -> int:
    """Run the command and return its exit code; whatever goes wrong is one message."""
    try:
        from locbench.cli.app import app

        app()
    except SystemExit as leaving:  # what typer ends every command with
        # Met by typer or rich, and no failure.
        gone = isinstance(leaving.__context__, BrokenPipeError)
        return leaving.code if isinstance(leaving.code, int) and not gone else 0
    except BaseException as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        message, remedy, code = _told(error)
        _complain(message, remedy)
        return code
    return 0


def _told(error: BaseException) -> tuple[str, str, int]:
    """Return what is said of an error, what its user can do, and the exit code."""
    if isinstance(error, LocbenchError):
        silent = isinstance(error, ReaderGoneError)
        return ("" if silent else f"error: {error.message}"), error.remedy, error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "stopped", "", 130
    if isinstance(error, BrokenPipeError):
        return "", "", ReaderGoneError.exit_code
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if place := blamed(error):
        return (
            f"error: the plugin failed at {place}: {what}",
            f"Correct it; locbench check tries what a plugin has. {DEBUG}=1 shows all of the way.",
            1,
        )
    if isinstance(error, OSError):
        return _told_of_a_file(error)
    if isinstance(error, MemoryError):
        return (
            "error: memory ran out",
            "Ask for less: a smaller batch, fewer images or fewer jobs.",
            1,
        )
    if isinstance(error, RecursionError):
        return "error: a file or an argument is nested too deeply", f"{DEBUG}=1 shows where.", 1
    if isinstance(error, ModuleNotFoundError):
        return f"error: {error.msg}", "Install locbench again, with the packages that it needs.", 1
    return (
        f"error: unexpected {what}",
        f"Please report it, with what the same command shows under {DEBUG}=1 and what "
        "`locbench env` prints.",
        1,
    )


def _told_of_a_file(error: OSError) -> tuple[str, str, int]:
    if isinstance(error.filename, str | bytes):
        name, remedy = (
            os.fsdecode(error.filename),
            "Look whether it is there, can be read or written, and has space.",
        )
        shown = name if len(name) <= 200 else f"{name[:100]}...{name[-97:]}"
        return f"error: {shown}: {error.strerror}", remedy, 1
    remedy = (
        f"Free some space, or write the output to another file or terminal. {DEBUG}=1 shows where."
    )
    return f"error: cannot write or read: {error.strerror or error}", remedy, 1


def _complain(message: str, remedy: str) -> None:
    try:
        for text in (message, remedy):
            if message and text:
                print(printable(text, keep="\n"), file=sys.stderr)
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody can be told
        _drop(sys.stderr)


def _open_what_is_closed() -> None:
    """Give closed standard streams a descriptor, which the next opened file would get.

    Output is then refused as by a closed descriptor; errors, which nobody can be told, vanish.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _accept_any_text() -> None:
    """Print a question mark for what the terminal's encoding lacks, such as ±."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _forget_senseless_sizes() -> None:
    """Ignore a terminal's size that nothing can be printed in, such as 0 columns."""
    for name, least in (("COLUMNS", 10), ("LINES", 1)):
        text = os.environ.get(name, "")
        if text and not (
            text.isascii() and text.isdigit() and len(text) < 5 and int(text) >= least
        ):
            del os.environ[name]


def _leave(code: int) -> None:
    """Exit, and say if the output could not be written.

    What is left of it is dropped, or Python would complain.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if not code:
            message, remedy, code = _told(error)
            _complain(message, remedy)
        _drop(sys.stdout)
    sys.exit(code)


def _drop(stream: object) -> None:
    """Let what a stream still holds go nowhere."""
    if isinstance(stream, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
