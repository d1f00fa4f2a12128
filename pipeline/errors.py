"""The errors a user can cause or meet; each is shown as its message alone, never as a traceback."""

from collections.abc import Sequence


class PipelineError(Exception):
    """Something the user can act upon; `exit_code` is what the command ends with."""

    exit_code = 2


class ConfigError(PipelineError):
    """One or more mistakes in the settings, one line each."""

    def __init__(self, *lines: str) -> None:
        self.lines: Sequence[str] = lines
        super().__init__("\n".join(lines))


class DataError(PipelineError):
    """A table that cannot be used as it is; the message names column and row."""


class TrackingError(PipelineError):
    """The tracking store cannot be used: no such run, or a server that does not answer."""


class TrainingError(PipelineError):
    """Training went wrong although the settings are valid: the loss is no longer a finite number."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """An error's first line, for a message of one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
