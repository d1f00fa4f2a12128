"""Arrays kept between runs: named arrays and what is known of them, read memory-mapped.

An entry is a folder of .npy files and a meta.json. It is written under a name of its own and renamed when it is whole:
what stands under an entry's name is never half-written, and of several processes that write it the first wins.
"""

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from pipeline.threads import cores
from pipeline.types import Stacked

CACHE_BYTES = 4 * 2**30  # of all entries together; the least recently used go first
LARGEST_SHARE = 0.25  # of CACHE_BYTES; an entry that takes more is not kept
ABANDONED_SECONDS = 3600  # without a write after which the process that made a folder must have been killed

T = TypeVar("T")
Facts = Mapping[str, Any]  # as JSON has them
Reader = Callable[[Mapping[str, np.ndarray], Facts], T]

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """What is kept: arrays by name, and what else is known."""

    arrays: Mapping[str, np.ndarray | Stacked]
    facts: Facts


def fetch(folder: Path, make: Callable[[], Entry], read: Reader[T]) -> T:
    """What `read` makes of the entry kept in `folder`; where none is that fits, `make` makes it."""
    found = _find(folder, read)
    if found is not None:
        return found
    entry = make()
    try:
        _keep(folder, entry)
    except OSError as error:
        logger.warning("prepared data cannot be kept (%s); the next run prepares it anew", error)
    found = _find(folder, read)  # pages of a file, shared with other processes, in place of memory of this one
    return read({name: _whole(array) for name, array in entry.arrays.items()}, entry.facts) if found is None else found


def _find(folder: Path, read: Reader[T]) -> T | None:
    """What `read` makes of the entry in `folder`; None where there is none, or none that fits, which is removed."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        arrays = {name: _map(folder / f"{name}.npy", expected) for name, expected in meta["arrays"].items()}
        found = read(arrays, meta["facts"])
    except Exception:  # whatever was done to the files; a mistake in `read` shows when it reads what was made
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with suppress(OSError):  # a cache that may be read only
        os.utime(folder)
    return found


def _map(file: Path, expected: Facts) -> np.ndarray:
    """A file's array; its pages are shared with other processes until they are written to."""
    array: np.ndarray = np.load(file, mmap_mode="c", allow_pickle=False)
    if _described(array, file) != expected:
        raise ValueError(f"{file}: is not as it was written")
    return array.view(np.ndarray)


def _described(array: np.ndarray | Stacked, file: Path) -> Facts:
    return {"shape": list(array.shape), "dtype": array.dtype.str, "bytes": file.stat().st_size}


def _keep(folder: Path, entry: Entry) -> None:
    """Write an entry that is not too large, and remove those that there is no room for then; raises OSError."""
    if sum(array.nbytes for array in entry.arrays.values()) > LARGEST_SHARE * CACHE_BYTES:
        return
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        unfinished.mkdir(parents=True)
        _write(unfinished, entry)
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # if it is, another process was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        _tidy(folder.parent)


def _write(folder: Path, entry: Entry) -> None:
    files = [folder / f"{name}.npy" for name in entry.arrays]
    with ThreadPoolExecutor(cores()) as threads:
        described = threads.map(_write_array, files, entry.arrays.values())
        arrays = dict(zip(entry.arrays, described, strict=True))
    (folder / "meta.json").write_text(json.dumps({"arrays": arrays, "facts": entry.facts}))


def _write_array(file: Path, array: np.ndarray | Stacked) -> Facts:
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    with file.open("wb") as stream:  # not a memory map: on a full disk that is a signal, not an error
        np.lib.format.write_array_header_1_0(stream, header)
        for block in array.blocks() if isinstance(array, Stacked) else [np.ascontiguousarray(array)]:
            stream.write(block.data)
    return _described(array, file)


def _tidy(root: Path) -> None:
    """Remove what killed processes left, and the entries used least recently until the rest fits."""
    total = 0
    for last_used, n_bytes, folder in _folders(root):
        if folder.name.startswith("."):
            is_over = time.time() - last_used > ABANDONED_SECONDS
        else:
            total += n_bytes
            is_over = total > CACHE_BYTES
        if is_over:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(root: Path) -> list[tuple[float, int, Path]]:
    """When each was used last, its size and its place, the newest first."""
    found = []
    for folder in root.iterdir():
        with suppress(OSError):  # another process may remove it meanwhile
            found.append((folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()), folder))
    return sorted(found, reverse=True)


def _whole(array: np.ndarray | Stacked) -> np.ndarray:
    return array.whole() if isinstance(array, Stacked) else array
