"""(9) A file scored: `predict` against MLflow's pyfunc of what is written by hand with scikit-learn and torch."""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.bundle import Bundle
from pipeline.compose import load_config
from pipeline.flavor import BUNDLE, FOLDER
from pipeline.scoring import score
from pipeline.train import train
from tests.benchmarks.harness import Case, Line, Sample, peak_mb, process, ratio, seconds
from tests.benchmarks.tables import overrides, table_file

FASTER, MEGABYTES = 5, 1000
WIDTH, LEVELS = 64, (8, 8, 8, 8, 8)


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """One case: a million rows of 15 numbers and 5 texts, Parquet to Parquet, each in a process that has done it."""
    small, large = (
        table_file(folder, n, n_float=15, n_text=5, n_levels=LEVELS) for n in (2000, 2000 if quick else 10**6)
    )
    asked = [
        *overrides(small, folder / "mlruns"),
        "tracking=mlflow",
        f"model.hidden=[{WIDTH},{WIDTH}]",
        "trainer.max_epochs=1",
    ]
    result = train(load_config(asked))
    bundle = folder / "mlruns" / "artifacts" / result.run_id / "artifacts" / FOLDER / BUNDLE
    contestants = {
        name: partial(_apart, name, str(small), str(large), str(bundle), folder=folder) for name in ("ours", "stock")
    }
    faster = ratio("ours", "stock", at_most=None if quick else 1 / FASTER)
    memory = Line("peak MB", lambda taken: taken["ours"]["peak_mb"], MEGABYTES)
    return [Case(f"parquet, {2000 if quick else 10**6} x 20", contestants, [faster, memory])]


def _apart(*asked: str, folder: Path) -> Sample:
    taken: Sample = json.loads(process("-m", __name__, *asked, folder=folder)[1])
    return taken


def _ours(bundle: str) -> Callable[[str, str], object]:
    ready = Bundle.load(bundle)
    return lambda source, target: score(ready, source, target, progress=lambda done, total: None)


def _stock(table: str) -> Callable[[str, str], object]:
    import mlflow
    import torch
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = pd.read_parquet(table).drop(columns="y")
    texts = [name for name in rows if rows[name].dtype.kind not in "iuf"]
    numbers = [name for name in rows if name not in texts]
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer([("numbers", scaled, numbers), ("texts", onehot, texts)]).fit(rows)
    layers = [torch.nn.Linear(prepare.transform(rows[:1]).shape[1], WIDTH), torch.nn.ReLU()]
    layers += [torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 1)]
    network = torch.nn.Sequential(*layers).eval()

    class Model(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            with torch.no_grad():
                x = torch.tensor(prepare.transform(model_input), dtype=torch.float32)
                return pd.DataFrame({"predicted": network(x).numpy()[:, 0]})

    signature = mlflow.models.infer_signature(rows.head(), Model().predict(None, rows.head()))
    folder = f"{tempfile.mkdtemp(dir='.')}/model"
    mlflow.pyfunc.save_model(folder, python_model=Model(), signature=signature, pip_requirements=["torch"])
    model = mlflow.pyfunc.load_model(folder)
    return lambda source, target: model.predict(pd.read_parquet(source).drop(columns="y")).to_parquet(target)


def _main(name: str, small: str, large: str, bundle: str) -> None:
    """What the process runs: score the small file, then the large one; tell seconds and peak."""
    warnings.simplefilter("ignore")
    run = _ours(bundle) if name == "ours" else _stock(small)
    run(small, f"{name}.parquet")
    taken = seconds(lambda: run(large, f"{name}.parquet"))
    sys.stdout.write(json.dumps({**taken, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
