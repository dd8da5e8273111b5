"""The command line: one command per file, thin; the work is done elsewhere and is tested without it."""

from __future__ import annotations

import io
import os
import sys

from locbench.errors import LocbenchError, ReaderGoneError
from locbench.printable import printable


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 stopped by the user."""
    _accept_any_text()
    try:
        from locbench.cli.app import app

        app()
    except ReaderGoneError as error:
        _leave(error.exit_code)
    except LocbenchError as error:
        print(printable(f"error: {error.message}", keep="\n"), file=sys.stderr)
        if error.remedy:
            print(printable(error.remedy, keep="\n"), file=sys.stderr)
        _leave(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        _leave(130)


def _accept_any_text() -> None:
    """Print a question mark for what the terminal's encoding lacks, such as ±, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave(code: int) -> None:
    """Exit; what a reader that has gone left in the buffer is dropped, since Python would complain of it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
