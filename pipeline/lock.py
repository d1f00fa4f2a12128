"""A folder that one process works in at a time."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError


@contextmanager
def held(folder: Path, taken: Callable[[str], str]) -> Iterator[None]:
    """Hold a folder, made where it is not there. The lock goes with the process, however that ends.

    Args:
        folder: what is held.
        taken: what to say, given the id of the process that holds it.

    Raises:
        ConfigError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise ConfigError(taken(stream.read().strip() or "?")) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
