"""Networks as ONNX graphs, built straight from their weights: what runs without Keras, and what can be given away."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from morpheus_lite.models.arithmetic import folded_operation
from morpheus_lite.models.network_config import KERNEL, Stage

OPSET = 17
"""Version of the operator set that the graphs use."""

_IR_VERSION = 8

Weights = Mapping[str, np.ndarray]

# Column k holds how often weight k of a row of three meets each of four neighbouring outputs of an upsampled map.
_UPSAMPLED = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float64)


class Graph:
    """An ONNX graph that is written down operation by operation; maps are float32 ``(n, channel, y, x)``."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A fixed array; its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(values, dtype)), name))
        return name

    def add(self, operation: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """An operation of ONNX with one output; the name of that."""
        output = name or f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def integers(self, *values: int) -> str:
        """Fixed int64 numbers; their name."""
        return self.constant(values, np.int64)

    def convolution(self, x: str, kernel: np.ndarray, bias: np.ndarray, *, padding: int = KERNEL // 2) -> str:
        """Convolution with a kernel ``(y, x, from, to)``."""
        weights = self.constant(kernel.transpose(3, 2, 0, 1)), self.constant(bias)
        return self.add("Conv", x, *weights, kernel_shape=kernel.shape[:2], pads=[padding] * 4)

    def block(self, x: str, weights: Weights, name: str, operations: range, *, padding: int = KERNEL // 2) -> str:
        """Operations of a block, each with its normalisation in its convolution."""
        for i in operations:
            x = self.add("Relu", self.convolution(x, *folded(weights, f"{name}_{i}"), padding=padding))
        return x

    def grown_block(self, x: str, skip: str, weights: Weights, name: str, stage: Stage, below: int) -> str:
        """A block on a map of ``below`` channels, twice its size by repeating, beside a ``skip`` of that size.

        To repeat every value in a square of two and convolve 3 x 3 is one transposed convolution of stride two, 4 x 4:
        fewer multiply-adds, and the large map is never made.
        """
        kernel, bias = folded(weights, f"{name}_0")
        transposed = np.einsum("ay,bx,yxio->ioab", _UPSAMPLED, _UPSAMPLED, kernel[:, :, :below])
        grown = self.add(
            "ConvTranspose", x, self.constant(transposed), kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4
        )
        x = self.add("Relu", self.add("Add", self.convolution(skip, kernel[:, :, below:], bias), grown))
        return self.block(x, weights, name, range(1, stage[0]))

    def pooled(self, x: str) -> str:
        """Maximum over squares of two."""
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def sliced(self, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> str:
        """A part of an array."""
        return self.add("Slice", x, *(self.integers(*values) for values in (starts, ends, axes)))

    def cut(self, x: str, positions: int) -> str:
        """A map without this many positions on each side."""
        return self.sliced(x, [positions] * 2, [-positions] * 2, [2, 3]) if positions else x

    def model(
        self,
        name: str,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        facts: Mapping[str, str] | None = None,
    ) -> bytes:
        """The graph as an ONNX model; inputs and outputs are float32, their shapes numbers or names of lengths."""
        first, last = (
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, list(shape)) for key, shape in values.items()]
            for values in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, name, first, last, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
        model.producer_name = "morpheus_lite"
        helper.set_model_props(model, dict(facts or {}))
        checker.check_model(model)
        return model.SerializeToString()


def folded(weights: Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a block operation, its normalisation in them."""
    return folded_operation(*convolution_weights(weights, name), *norm_weights(weights, name))


def convolution_weights(weights: Weights, name: str) -> list[np.ndarray]:
    """Kernel and bias of a block operation's convolution."""
    return [weights[f"{name}_conv/{variable}"] for variable in ("kernel", "bias")]


def norm_weights(weights: Weights, name: str) -> list[np.ndarray]:
    """Scale, offset, mean and variance of a block operation's normalisation."""
    return [weights[f"{name}_norm/{variable}"] for variable in ("gamma", "beta", "moving_mean", "moving_variance")]
