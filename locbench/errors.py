"""Errors: one message, one remedy, one exit code."""


class LocbenchError(Exception):
    """An error that is shown to the user as one message with its remedy, without a traceback.

    Args:
        message: what is wrong, with the name of the file, key or option at fault.
        remedy: what the user can do about it; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class UsageError(LocbenchError):
    """The command was called with something that does not exist or does not fit (exit code 2)."""

    exit_code = 2


class FailureError(LocbenchError):
    """The command was right but could not be carried out (exit code 1)."""


class DivergedError(FailureError):
    """A run's loss is no longer finite; the cell is recorded as failed and the sweep goes on."""


class StoppedError(LocbenchError):
    """The user stopped a command.

    What was recorded is safe (exit code 130, as a shell reports an interrupt).
    """

    exit_code = 130


class BudgetSpentError(LocbenchError):
    """The time that a campaign was given is over.

    What was recorded is safe. Caught by the campaign: no failure.
    """

    exit_code = 0


class ReaderGoneError(LocbenchError):
    """Who read our output has gone, as in ``locbench list | head -1``: no failure."""

    exit_code = 0
