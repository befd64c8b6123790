"""A graph in ONNX, node by node, with names that say where a value comes from.

Needs the package `onnx` (the extra of that name).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

OPSET = 17
IR_VERSION = 8
"""Of ONNX 1.12: what reads models has known both for years."""


class Graph:
    """Nodes in the order in which they are added.

    A value is a name; every node makes one value, which has the node's name.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node; the name of its value."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any, kind: Any) -> str:
        """A tensor that stands fast."""
        from onnx import numpy_helper

        array = np.array(value, dtype=kind, order="C")
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def number(self, value: int | float, kind: Any = np.int64) -> str:
        """A constant number, named after itself."""
        return self.constant(f"{np.dtype(kind).name}/{value}", value, kind)

    def cast(self, name: str, value: str, kind: Any) -> str:
        from onnx import helper

        return self.add("Cast", name, value, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def graph(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], about: str) -> Any:
        """The whole, as ONNX has it."""
        from onnx import helper

        return helper.make_graph(
            self.nodes, name, inputs, outputs, list(self.constants.values()), doc_string=about
        )


def value(name: str, kind: Any, shape: Sequence[int | str]) -> Any:
    """An input or output with its shape; a text stands for any size."""
    from onnx import helper

    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), list(shape)
    )


def model(graph: Any, facts: dict[str, str]) -> Any:
    """A checked model.

    facts : what it was made of, kept in its metadata.
    """
    import onnx
    from onnx import helper

    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rasca",
    )
    helper.set_model_props(made, facts)
    onnx.checker.check_model(made, full_check=True)
    return made
