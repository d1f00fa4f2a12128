"""Where a comparison or leaderboard is kept: what it is of, its run in each tracking store, its finished children."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.comparisons.child import Child
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.mistakes import differences

APART = {"tracking", "serve"}  # sections that change nothing of what a child reached


@dataclass(frozen=True)
class Folder:
    """A comparison's or leaderboard's files. One a child, written at its end: what a kill cuts off is run again.

    `kind` is the config's section whose `name` they go by.
    """

    root: str
    kind: str
    name: str

    @property
    def path(self) -> Path:
        return Path(self.root) / f"{self.kind}s" / self.name

    def taken(self, process: str) -> str:
        """What to say where another process is at work in it."""
        return (
            f"{self.kind}.name: '{self.name}' is run by process {process} already; wait for it, or choose another "
            f"{self.kind}.name"
        )

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Raise ConfigError where the name is of a comparison of other settings; the message shows the differences."""
        known = self._read("identity.json")
        if known and (found := list(differences(known, identity))):
            raise ConfigError(
                f"{self.kind}.name: '{self.name}' is of other settings: {'; '.join(found[:5])}; "
                f"choose another {self.kind}.name"
            )
        self._write("identity.json", json.dumps(identity))

    def run_id(self, store: str) -> str | None:
        """The comparison's run in a tracking store."""
        return self._read("runs.json").get(store)

    def note_run(self, store: str, run_id: str) -> None:
        """Keep the run's id."""
        self._write("runs.json", json.dumps(self._read("runs.json") | {store: run_id}))

    def child(self, parent: str, config: Config) -> Child | None:
        """A finished child of a parent run, or of none, with a config; None where there is none yet."""
        file = self.path / _file(parent, config)
        return Child.from_json(file.read_text()) if file.is_file() else None

    def keep(self, parent: str, config: Config, child: Child) -> None:
        """Write a finished child."""
        self._write(_file(parent, config), child.to_json())

    def _read(self, name: str) -> dict[str, Any]:
        file = self.path / name
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all, whenever the process is killed."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(text)
        os.replace(new, file)  # noqa: PTH105


def _file(parent: str, config: Config) -> str:
    text = json.dumps(config.model_dump(mode="json", exclude=APART))
    return f"{parent or 'untracked'}/{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"
