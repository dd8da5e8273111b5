"""The command line: one command per file, thin; the work is done elsewhere and is tested without it."""

from __future__ import annotations

import os
import sys

from locbench.errors import LocbenchError


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 stopped by the user."""
    from locbench.cli.app import app

    try:
        app()
    except LocbenchError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.remedy:
            print(error.remedy, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone, as in `locbench list | head -1`; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
