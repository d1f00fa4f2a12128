"""A model for tests that need one: trained once a process on every kind of column, with a null here and there."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

from pipeline.compose import load_config
from pipeline.flavor import BUNDLE, FOLDER
from pipeline.train import train
from tests.conftest import mixed_frame

TARGETS = ("amount", "second", "bought", "grade")


def frame() -> pd.DataFrame:
    """The table: x and count have no gaps, gappy has."""
    table = mixed_frame(300)
    table.loc[::13, "city"] = None
    return table


@cache
def trained(target: str = "bought", seed: int = 0) -> tuple[Path, str]:
    """A tracking root with a run on a target, and the run's id."""
    root = Path(mkdtemp(prefix="model_"))
    drop = [name for name in TARGETS if name != target]
    frame().drop(columns=drop).to_csv(root / "shop.csv", index=False)
    asked = [f"data.path={root / 'shop.csv'}", f"data.target={target}", f"tracking.root={root}", f"seed={seed}"]
    result = train(load_config(["data=csv", *asked, "trainer.max_epochs=5", "model.hidden=[16]"]))
    assert result.fault == ""
    return root, result.run_id


def bundle_folder_of(root: Path, run_id: str) -> Path:
    """Where the run's bundle is."""
    return root / "artifacts" / run_id / "artifacts" / FOLDER / BUNDLE


def row(**changed: object) -> dict[str, object]:
    """A row that fits."""
    first = frame().drop(columns=list(TARGETS)).iloc[0].to_dict()
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in first.items()}
    plain = {name: None if value != value else value for name, value in plain.items()}
    plain["joined"] = plain["joined"].isoformat()
    return {str(name): value for name, value in (plain | changed).items()}
