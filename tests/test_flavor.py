"""A run's model as MLflow loads it: from code, without pickle, with the same answers."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.bundle import Bundle
from pipeline.data.raw import raw_values
from tests.models import TARGETS, bundle_folder_of, frame, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint")  # MLflow's, of its own code

LOAD = """
import json, os, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.read_parquet(sys.argv[2])
answers = model.predict(rows)
loaded = [name in sys.modules for name in ("torch", "pipeline")]
print(json.dumps([list(answers), answers.iloc[:, 0].astype(str).tolist(), *loaded]))
"""


def model_folder(target: str) -> Path:
    return bundle_folder_of(*trained(target)).parent.parent


def rows(n_rows: int = 40) -> pd.DataFrame:
    return frame().drop(columns=list(TARGETS)).head(n_rows)


@pytest.mark.parametrize("target", ["bought", "grade", "amount"])
def test_mlflow_gives_the_bundles_answers(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    folder = model_folder(target)
    model = mlflow.pyfunc.load_model(str(folder))
    bundle = Bundle.load(bundle_folder_of(*trained(target)))
    expected = bundle.table(bundle.predict({str(name): raw_values(column) for name, column in rows().items()}))
    found = model.predict(rows())
    assert list(found) == list(expected) == model.metadata.signature.outputs.input_names()
    for name, values in expected.items():
        assert np.array_equal(found[name].tolist(), np.asarray(values, object).tolist()) or name == "set"
    assert found.index.equals(rows().index)


def test_labels_are_of_the_datas_own_type_and_the_example_fits() -> None:
    model = mlflow.pyfunc.load_model(str(model_folder("grade")))
    assert all(isinstance(label, (int, np.integer)) for label in model.predict(rows())["predicted"])
    example = json.loads((model_folder("grade") / "input_example.json").read_text())
    given = pd.DataFrame(example["data"], columns=example["columns"])
    given["joined"] = pd.to_datetime(given["joined"])
    assert len(model.predict(given)) == 1


def test_what_is_no_value_of_a_column_is_refused() -> None:
    model = mlflow.pyfunc.load_model(str(model_folder("bought")))
    with pytest.raises(Exception, match="missing inputs"):
        model.predict(rows().drop(columns="x"))
    with pytest.raises(Exception, match="expected a number"):
        model.predict(rows().assign(x=np.inf))


def test_it_loads_without_torch_and_without_this_package_and_warns_of_nothing(tmp_path: Path) -> None:
    rows().to_parquet(tmp_path / "rows.parquet")
    command = [sys.executable, "-c", LOAD, str(model_folder("bought")), str(tmp_path / "rows.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == ""
    names, labels, has_torch, has_pipeline = json.loads(done.stdout)
    assert (has_torch, has_pipeline) == (False, False)
    assert set(labels) <= {"yes", "no"}
    assert names[0] == "predicted"


def test_no_file_of_a_model_is_a_pickle() -> None:
    files = [file for file in model_folder("bought").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {"", ".py", ".txt", ".yaml", ".json", ".onnx"}
    assert not [file for file in files if file.read_bytes().startswith(b"\x80")]
