"""A model as MLflow keeps one, a pyfunc from code; its files are written here, without MLflow's second of inference."""

import json
import platform
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from pipeline.bundle import Column, Label, Schema

FOLDER = "model"  # of a run's artifacts
BUNDLE = "artifacts/bundle"  # in it
PACKAGE = "table_bundle"  # the modules that a model brings along, under a name of their own
MODULES = ("bundle", "errors", "rows")
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas")
TRUTHS = {"True", "False"}
LABELS: dict[type[Label], str] = {bool: "boolean", int: "long", float: "double", str: "string"}

CODE = f'''"""An MLflow model of the bundle beside it: frame in, frame out. Written by `pipeline`."""

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class BundleModel(PythonModel):
    def load_context(self, context):
        from pathlib import Path

        from {PACKAGE}.bundle import Bundle

        self.bundle = Bundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context, model_input: pd.DataFrame, params=None):
        from {PACKAGE}.rows import read_rows

        schema = self.bundle.schema
        raw = {{str(name): self._values(column) for name, column in model_input.items()}}
        rows = read_rows(schema, raw, len(model_input), unknown="impute")
        if rows.faults:
            raise ValueError("; ".join(map(str, rows.faults[:10])))
        if not len(model_input):
            raise ValueError("the table has no rows")
        return pd.DataFrame(self.bundle.table(self.bundle.predict(rows.columns)), index=model_input.index)

    @staticmethod
    def _values(column):
        if getattr(column.dtype, "tz", None) is not None:
            column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return column.to_numpy() if column.dtype.kind in "iufM" else column.astype(object).to_numpy()


set_model(BundleModel())
'''


def model_files(schema: Schema, bundle: Mapping[str, bytes]) -> dict[str, bytes]:
    """Everything that `mlflow.pyfunc.load_model` needs, by path in the run's artifacts, around a bundle's files."""
    example = _example(schema)
    texts = {
        "MLmodel": yaml.safe_dump(_description(schema, sum(map(len, bundle.values()))), allow_unicode=True),
        "model.py": CODE,
        "requirements.txt": "".join(f"{name}=={version(name)}\n" for name in REQUIREMENTS),
        "python_env.yaml": yaml.safe_dump(
            {
                "python": platform.python_version(),
                "build_dependencies": ["pip"],
                "dependencies": ["-r requirements.txt"],
            }
        ),
        "input_example.json": json.dumps(example),
        "serving_input_example.json": json.dumps({"dataframe_split": example}),
        f"code/{PACKAGE}/__init__.py": "",
    }
    for name in MODULES:
        code = (Path(__file__).parent / f"{name}.py").read_text("utf-8")
        texts[f"code/{PACKAGE}/{name}.py"] = code.replace("from pipeline.", f"from {PACKAGE}.")
    files = {name: text.encode() for name, text in texts.items()}
    files |= {f"{BUNDLE}/{name}": content for name, content in bundle.items()}
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def _description(schema: Schema, size: int) -> dict[str, Any]:
    """What MLflow's own `MLmodel` says."""
    return {
        "flavors": {
            "python_function": {
                "artifacts": {"bundle": {"path": BUNDLE, "uri": BUNDLE}},
                "code": "code",
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.pyfunc.loaders.code_model",
                "model_code_path": "model.py",
                "python_version": platform.python_version(),
                "streamable": False,
            }
        },
        "mlflow_version": version("mlflow"),
        "model_size_bytes": size,
        "model_uuid": uuid.uuid4().hex,
        "run_id": schema.run_id,
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
        },
        "signature": {
            "inputs": json.dumps([_input(column) for column in schema.columns]),
            "outputs": json.dumps(_outputs(schema)),
            "params": None,
        },
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }


def _input(column: Column) -> dict[str, Any]:
    return {"type": _type(column), "name": column.name, "required": True}


def _type(column: Column) -> str:
    """MLflow's type: categories that are no text come as what they are."""
    if column.kind == "datetime":
        return "datetime"
    if column.kind == "number":  # MLflow takes no whole numbers for doubles, and pandas makes doubles of gappy ones
        return "double" if not column.integer else "any" if column.missing else "long"
    if column.levels and {*column.levels} <= TRUTHS:
        return "any" if column.missing else "boolean"
    return "any" if all(map(_is_number, column.levels)) else "string"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _outputs(schema: Schema) -> list[dict[str, Any]]:
    """The columns that `Bundle.table` gives."""
    if not schema.classes:
        ends = [f" {target}" for target in schema.targets] if len(schema.targets) > 1 else [""]
        return [_output(f"{part}{end}", "double") for end in ends for part in ("predicted", "low", "high")]
    label = LABELS[type(schema.classes[0])]
    chances = [_output(f"probability of {name}", "double") for name in schema.labels]
    members = {"type": "array", "items": {"type": label}, "name": "set", "required": True}
    return [_output("predicted", label), *chances, members]


def _output(name: str, kind: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": True}


def _example(schema: Schema) -> dict[str, Any]:
    """A test row, as a frame in MLflow's JSON."""
    return {"columns": [column.name for column in schema.columns], "data": [example_row(schema.columns)]}


def example_row(columns: Sequence[Column]) -> list[Any]:
    """A test row's values: dates as ISO 8601 text, truths as such."""
    return [_cell(column) for column in columns]


def _cell(column: Column) -> Any:
    value = column.example
    if column.kind == "datetime" and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat()
    if column.integer and isinstance(value, float):
        return int(value)
    return value == "True" if _type(column) == "boolean" else value
