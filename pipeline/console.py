"""What the commands say to a terminal."""

import logging
import os
import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # characters of a line in a file

logger = logging.getLogger(__name__)


def terminal() -> "Console":
    """Where progress and warnings go; nowhere for the further processes of a DDP run."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, quiet="LOCAL_RANK" in os.environ)


def out() -> "Console":
    """Where results go."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def program() -> str:
    """This command, as it can be typed again."""
    return "python -m pipeline" if sys.argv[0].endswith("__main__.py") else sys.argv[0]


def say_lines(*lines: str) -> None:
    """Print results."""
    for line in lines:
        out().print(line, soft_wrap=True, markup=False)


def say_errors(*lines: str) -> None:
    """Print errors, a line each."""
    for line in lines:
        print("error:", " ".join(line.split()), file=sys.stderr)  # noqa: T201  # a column's name may hold line ends


def log_notes(notes: Iterable[str]) -> None:
    """Log what was inferred about a table; a column that looks like an id, which spoils a network, as a warning."""
    for note in notes:
        logger.log(logging.WARNING if "looks like an id" in note else logging.INFO, note)


def listen(console: "Console") -> None:
    """Show what the package logs, a line each; keep the libraries' chatter away."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            prefix = "warning: " if record.levelno >= logging.WARNING else ""
            console.print(f"{prefix}{record.getMessage()}", soft_wrap=True, markup=False)

    own = logging.getLogger("pipeline")
    own.setLevel(logging.INFO)
    own.handlers, own.propagate = [Lines()], False
    warnings.filterwarnings("ignore")
