"""An ONNX graph under construction: inputs, constants and operators by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

BOOL, DOUBLE, FLOAT, INT64 = TensorProto.BOOL, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64
IR_VERSION = 8  # of opset 17; onnxruntime refuses versions newer than itself
ML = "ai.onnx.ml"
SHARED_BYTES = 64  # constants up to this size stand in the graph once


class Graph:
    """Names of values go from operator to operator; every value here is called so that no column can be called it."""

    def __init__(self, columns: Sequence[str]) -> None:
        """`columns` are the names that inputs may have."""
        self._prefix = "_"
        while any(name.startswith(self._prefix) for name in columns):
            self._prefix += "_"
        self._columns = set(columns)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._outputs: list[onnx.ValueInfoProto] = []
        self._n_values = 0

    # ------------------------------------------------------------ inputs and constants
    def number(self, name: str) -> str:
        """A column of float64 (N,)."""
        return self._input(name, DOUBLE)

    def text(self, name: str) -> str:
        """A column of text (N,)."""
        return self._input(name, TensorProto.STRING)

    def constant(self, array: np.ndarray) -> str:
        """A constant of the array's type and shape."""
        if array.nbytes > SHARED_BYTES:
            return self._constant(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self._constant(array)
        return self._shared[key]

    def double(self, value: float) -> str:
        """A float64 scalar."""
        return self.constant(np.array(value, np.float64))

    def whole(self, value: int) -> str:
        """An int64 scalar."""
        return self.constant(np.array(value, np.int64))

    def column(self, values: Sequence[float]) -> str:
        """A float64 value a row (n, 1)."""
        return self.constant(np.array(values, np.float64)[:, None])

    # ------------------------------------------------------------ operators
    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """An operator's only output."""
        output = self._name()
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain or None, **attributes))
        return output

    def cast(self, name: str, kind: int) -> str:
        """The value as another type."""
        return self.op("Cast", name, to=kind)

    def divided(self, name: str, divisor: int) -> tuple[str, str]:
        """Quotient and rest of int64 values, none negative."""
        return self.op("Div", name, self.whole(divisor)), self.op("Mod", name, self.whole(divisor))

    def matrix(self, names: Sequence[str]) -> str:
        """Columns, each (N,), as rows (n, N)."""
        return self.op("Reshape", self.stacked(names), self.constant(np.array([len(names), -1])))

    def stacked(self, names: Sequence[str]) -> str:
        """Values one below the other."""
        return names[0] if len(names) == 1 else self.op("Concat", *names, axis=0)

    def rows(self, name: str, n_rows: int, chosen: Sequence[int]) -> str:
        """The chosen ones of the rows (n_rows, N)."""
        if list(chosen) == list(range(n_rows)):
            return name
        return self.op("Gather", name, self.constant(np.array(chosen, np.int64)), axis=0)

    def looked_up(self, name: str, codes: Mapping[str, int]) -> str:
        """The code (N,) of each text of a column; 0 for another text."""
        keys, values = list(codes), list(codes.values())
        return self.op(
            "LabelEncoder", self.text(name), domain=ML, keys_strings=keys, values_int64s=values, default_int64=0
        )

    def inlined(self, model: bytes, inputs: Mapping[str, str]) -> str:
        """The only output of another graph, its inputs being values of this one."""
        other = compose.add_prefix(onnx.load_from_string(model), f"{self._prefix}net.", inplace=True).graph
        used = {name for node in other.node for name in node.input}
        for name, value in inputs.items():
            if (inner := f"{self._prefix}net.{name}") in used:
                self._nodes.append(helper.make_node("Identity", [value], [inner]))
        self._nodes.extend(other.node)
        self._constants.extend(other.initializer)
        return str(other.output[0].name)

    # ------------------------------------------------------------ the whole
    def give(self, name: str, value: str, kind: int, width: int) -> None:
        """Make a value (N, width) an output; `name` is its name unless a column has that."""
        name = f"{self._prefix}{name}" if name in self._columns else name
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, ["N", width]))

    def serialised(self, opset: int) -> bytes:
        """The graph as bytes."""
        graph = helper.make_graph(self._nodes, "model", list(self._inputs.values()), self._outputs, self._constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="table-pipeline")
        content: bytes = model.SerializeToString()
        return content

    def _constant(self, array: np.ndarray) -> str:
        name = self._name()
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _input(self, name: str, kind: int) -> str:
        self._inputs[name] = helper.make_tensor_value_info(name, kind, ["N"])
        return name

    def _name(self) -> str:
        self._n_values += 1
        return f"{self._prefix}{self._n_values}"


def past_look_ups(model: bytes) -> tuple[bytes, dict[str, dict[str, int]]]:
    """The graph with codes in place of texts, and the code of each text a column knows; of other texts it is 0."""
    changed = onnx.load_from_string(model)
    codes: dict[str, dict[str, int]] = {}
    for node in changed.graph.node:
        if node.op_type == "LabelEncoder":
            told = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            keys = [key.decode() for key in told["keys_strings"]]
            codes[node.input[0]] = dict(zip(keys, told["values_int64s"], strict=True))
            node.CopyFrom(helper.make_node("Identity", node.input, node.output))
    for given in changed.graph.input:
        if given.name in codes:
            given.type.tensor_type.elem_type = INT64
    return changed.SerializeToString(), codes
