"""Networks as ONNX graphs, built straight from their weights: what runs without Keras, and what can be given away."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.models.network_config import KERNEL, OnePassConfig, OnePassNetwork, Stage, UNetConfig, stage_margins

EPSILON = 1e-3
"""Added to the variance by batch normalisation."""

_BICUBIC_A = -0.75
_BICUBIC_STEPS = 1024


def bicubic_matrix(size: int) -> np.ndarray:
    """Weights of aligned bicubic interpolation from ``size`` to ``2 size`` points.

    Parameters
    ----------
    size : int
        Number of points of the input.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(2 size, size)``; every row sums to 1.

    Notes
    -----
    Keys' cubic convolution kernel with a = -0.75. Points beyond the ends are those at the ends. TensorFlow rounds the
    fractional position to 1/1024, and so does this.
    """
    matrix = np.zeros((2 * size, size))
    position = np.arange(2 * size, dtype=np.float32) * np.float32((size - 1) / (2 * size - 1))
    left = np.floor(position).astype(int)
    fraction = np.rint((position - left) * _BICUBIC_STEPS) / _BICUBIC_STEPS
    for offset in (-1, 0, 1, 2):
        column = np.clip(left + offset, 0, size - 1)
        np.add.at(matrix, (np.arange(2 * size), column), _keys(np.abs(fraction - offset)))
    return matrix.astype(np.float32)


def _keys(distance: np.ndarray) -> np.ndarray:
    a, d = _BICUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


OPSET = 17
"""Version of the operator set that the graphs use."""

_IR_VERSION = 8

Weights = Mapping[str, np.ndarray]
_Shapes = Mapping[str, Sequence[int | str]]

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
        shape: dict[str, Any] = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [2] * 4}
        grown = self.add("ConvTranspose", x, self.constant(transposed), **shape)
        beside = self.convolution(skip, kernel[:, :, below:], bias, padding=0)
        x = self.add("Relu", self.add("Add", beside, grown))
        return self.block(x, weights, name, range(1, stage[0]), padding=0)

    def pooled(self, x: str) -> str:
        """Maximum over squares of two."""
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def sliced(self, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> str:
        """A part of an array."""
        return self.add("Slice", x, *(self.integers(*values) for values in (starts, ends, axes)))

    def cut(self, x: str, positions: int) -> str:
        """A map without this many positions on each side."""
        return self.sliced(x, [positions] * 2, [-positions] * 2, [2, 3]) if positions else x

    def model(self, name: str, inputs: _Shapes, outputs: _Shapes, facts: Mapping[str, str] | None = None) -> bytes:
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
    """Kernel and bias of one convolution that does the work of a block operation's normalisation and convolution."""
    arrays = *convolution_weights(weights, name), *norm_weights(weights, name)
    kernel, bias, gamma, beta, mean, variance = (np.asarray(one, np.float64) for one in arrays)
    scale = gamma / np.sqrt(variance + EPSILON)
    bias = bias + np.einsum("yxio,i->o", kernel, beta - mean * scale)
    return (kernel * scale[:, None]).astype(np.float32), bias.astype(np.float32)


def convolution_weights(weights: Weights, name: str) -> list[np.ndarray]:
    """Kernel and bias of a block operation's convolution."""
    return [weights[f"{name}_conv/{variable}"] for variable in ("kernel", "bias")]


def norm_weights(weights: Weights, name: str) -> list[np.ndarray]:
    """Scale, offset, mean and variance of a block operation's normalisation."""
    return [weights[f"{name}_norm/{variable}"] for variable in ("gamma", "beta", "moving_mean", "moving_variance")]


def tile_graph(network: OnePassNetwork) -> bytes:
    """The graph that runs on tiles.

    Parameters
    ----------
    network : OnePassNetwork
        The network.

    Returns
    -------
    bytes
        An ONNX model from ``cells``, what `~morpheus_lite.models.engines.stretched_cells` gives, to
        ``probability``, ``(1, class, y, x)``, without the margin ``stage_margins(config)["input"]`` of the tile.
    """
    config, graph = network.config, Graph()
    n_pixels = config.cell**2 * max(len(config.bands), 1)
    n_channels = (len(config.stretches) + 1) * n_pixels
    x = graph.add("Transpose", "cells", perm=[0, 3, 1, 2])
    probability(graph, x, network, name="probability")
    cells = (1 if config.bands else "band", "y_cells", "x_cells", n_channels)
    return graph.model("onepass", {"cells": cells}, {"probability": (1, len(CLASSES), "y", "x")})


def image_graph(network: OnePassNetwork, facts: Mapping[str, str], *, with_normalization: bool = False) -> bytes:
    """The graph that runs on images of any size, all in it.

    Parameters
    ----------
    network : OnePassNetwork
        The network.
    facts : mapping of str to str
        What the model is to say of itself.
    with_normalization : bool
        Whether it takes ``data``, ``background`` and ``noise`` instead of ``snr``.

    Returns
    -------
    bytes
        An ONNX model from ``snr`` and ``valid`` (1 or 0), ``(1, y, x, band)``, to ``probability`` ``(1, y, x, class)``.
        What lies outside the image counts as invalid.
    """
    config, graph = network.config, Graph()
    names = ("data", "background", "noise") if with_normalization else ("snr",)
    snr = names[0]
    if with_normalization:
        snr = graph.add("Div", graph.add("Sub", "data", "background"), "noise")
    seen = graph.add("Greater", "valid", graph.constant(0))
    light = graph.add("Where", seen, snr, graph.constant(0))
    x = _whole(graph, light, graph.add("Cast", seen, to=1), network)
    sides = graph.add("Shape", "valid", start=1, end=3)
    graph.add("Slice", x, graph.integers(0, 0), sides, graph.integers(1, 2), name="probability")
    inputs = dict.fromkeys((*names, "valid"), (1, "y", "x", len(config.bands) or "band"))
    return graph.model("onepass", inputs, {"probability": (1, "y", "x", len(CLASSES))}, facts)


def detection_graph(network: OnePassNetwork, facts: Mapping[str, str], side: int) -> bytes:
    """The graph that SourceXtractor++ takes to find sources: a tile of one band, over its noise, to source probability.

    Parameters
    ----------
    network : OnePassNetwork
        A network that takes any band.
    facts : mapping of str to str
        What the model is to say of itself.
    side : int
        Side of the tile in pixels.

    Returns
    -------
    bytes
        An ONNX model from ``image`` ``(1, side, side, 1)`` to ``source_probability`` of the same shape. Pixels that are
        0 count as invalid: that is what lies outside the image.
    """
    graph = Graph()
    seen = graph.add("Not", graph.add("Equal", "image", graph.constant(0)))
    x = _whole(graph, "image", graph.add("Cast", seen, to=1), network)
    x = graph.sliced(x, [0, 0, BACKGROUND], [side, side, BACKGROUND + 1], [1, 2, 3])
    graph.add("Sub", graph.constant(1), x, name="source_probability")
    shape = (1, side, side, 1)
    return graph.model("detection", {"image": shape}, {"source_probability": shape}, facts)


def _whole(graph: Graph, light: str, seen: str, network: OnePassNetwork) -> str:
    """Probabilities ``(1, y, x, class)`` of S/N and validity ``(1, y, x, band)``, and of what completes the factor."""
    config = network.config
    margin = stage_margins(config)["input"]
    sides = graph.add("Shape", light, start=1, end=3)
    missing = graph.add("Mod", graph.add("Neg", sides), graph.integers(config.factor))
    none, before = graph.integers(0), graph.integers(margin, margin)
    after = graph.add("Add", missing, before)
    pads = graph.add("Concat", none, before, none, none, after, none, axis=0)

    def cells(x: str) -> str:
        x = graph.add("Transpose", graph.add("Pad", x, pads), perm=[0, 3, 1, 2] if config.bands else [3, 0, 1, 2])
        return graph.add("SpaceToDepth", x, blocksize=config.cell) if config.cell > 1 else x

    light, seen = cells(light), cells(seen)
    values = []
    for stretch in config.stretches:
        asinh = graph.add("Asinh", graph.add("Mul", light, graph.constant(1 / stretch)))
        values.append(graph.add("Mul", asinh, seen))
    x = probability(graph, graph.add("Concat", *values, seen, axis=1), network)
    return graph.add("Transpose", x, perm=[0, 2, 3, 1])


def probability(graph: Graph, x: str, network: OnePassNetwork, *, name: str | None = None) -> str:
    """Everything from stretched cells ``(1 or band, channel, y, x)`` to probabilities ``(1, class, y, x)``."""
    config, weights = network.config, network.weights
    # A convolution gives no more than what it sees whole: one position less on each side.
    margins = stage_margins(config)
    first = "down_0" if config.bands else "stem"
    weights = {**weights, **_in_order_of_cells(weights, f"{first}_0", config)}
    size, margin = config.cell, margins["input"]
    if not config.bands:
        n = config.stem[0]
        stem = graph.block(x, weights, "stem", range(n), padding=0)
        x = _pooled_bands(graph, graph.cut(x, n), stem, config)
        margin -= n * size
    skips: list[tuple[str, int]] = []
    for i, (n, _) in enumerate(config.down):
        x = graph.block(x, weights, f"down_{i}", range(n), padding=0)
        margin -= n * size
        skips.append((x, margin))
        wanted = margins[f"down_{i + 1}" if i + 1 < len(config.down) else "intermediate"]
        x, size, margin = graph.pooled(graph.cut(x, (margin - wanted) // size)), 2 * size, wanted
    n, channels = config.intermediate
    x = graph.block(x, weights, "intermediate", range(n), padding=0)
    margin -= n * size
    for i, stage in enumerate(config.up):
        x, margin = graph.cut(x, (margin - margins[f"up_{i}"]) // size), margins[f"up_{i}"]
        size //= 2
        skip, skip_margin = skips.pop()
        skip = graph.cut(skip, (skip_margin - margin) // size)
        x = graph.grown_block(x, skip, weights, f"up_{i}", stage, channels)
        margin -= stage[0] * size
        channels = stage[1]
    kernel, bias = (weights[f"final_conv/{variable}"] / network.temperature for variable in ("kernel", "bias"))
    each_class = np.broadcast_to(np.asarray(network.bias, np.float64), len(CLASSES))
    x = graph.convolution(x, kernel, bias + np.tile(each_class, config.cell**2), padding=0)
    x = graph.cut(x, margin // size - 1)
    if config.cell > 1:
        x = graph.add("DepthToSpace", x, blocksize=config.cell)
    return graph.add("Softmax", x, axis=1, name=name)


def _in_order_of_cells(weights: Weights, name: str, config: OnePassConfig) -> dict[str, Any]:
    """Weights of the first operation for channels that are sorted by stretch, then pixel, then band.

    Keras stretches pixels before it puts them into cells: its channels are sorted by pixel, stretch, band. Here pixels
    are put into cells before they are stretched: a third of the memory to move, and all that comes before the first
    convolution in two thirds of the time.
    """
    n_bands, n_values, n_pixels = len(config.bands) or 1, len(config.stretches) + 1, config.cell**2
    channels = np.arange(n_pixels * n_values * n_bands).reshape(n_pixels, n_values, n_bands)
    order = channels.transpose(1, 0, 2).ravel()
    norm = {key: weights[key][order] for key in weights if key.startswith(f"{name}_norm/")}
    return {f"{name}_conv/kernel": weights[f"{name}_conv/kernel"][:, :, order], **norm}


def _pooled_bands(graph: Graph, cells: str, x: str, config: OnePassConfig) -> str:
    """Mean and maximum over the bands that are valid, of ``(band, q, y, x)``; 0 where none is."""
    n_pixels = config.cell**2
    seen = graph.sliced(cells, [n_pixels * len(config.stretches)], [n_pixels * (len(config.stretches) + 1)], [1])
    seen = graph.add("ReduceMax", seen, axes=[1], keepdims=1)
    x = graph.add("Mul", x, seen)  # never negative after ReLU, so the maximum needs no other mask
    bands = graph.integers(0)
    total, number = (graph.add("ReduceSum", values, bands, keepdims=1) for values in (x, seen))
    mean = graph.add("Div", total, graph.add("Max", number, graph.constant(1)))
    return graph.add("Concat", mean, graph.add("ReduceMax", x, axes=[0], keepdims=1), axis=1)


def window_graph(
    config: UNetConfig,
    weights: Weights,
    *,
    trim: int = 0,
    standardized: bool = True,
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """The graph of a U-Net.

    Parameters
    ----------
    config : UNetConfig
        Its shape.
    weights : mapping of str to numpy.ndarray
        As in ``weights.npz``.
    trim : int
        Border of the output that is not needed, in pixels: 0, or at least what the last stage and the last convolution
        reach, P + 1.
    standardized : bool
        Whether its input is what `morpheus_lite.models.preprocessing.standardize` gives; if not, the graph does that,
        for windows in which every pixel is valid.
    facts : mapping of str to str, optional
        What the model is to say of itself.

    Returns
    -------
    bytes
        An ONNX model from ``windows``, ``(n, y, x, band)``, to ``probability``, ``(n, y - 2 trim, x - 2 trim, class)``.
    """
    graph, size, skips = Graph(), config.window, []
    x = graph.add("Transpose", "windows", perm=[0, 3, 1, 2])
    if not standardized:
        x = _standardized(graph, x, config)
    for i, (p, _) in enumerate(config.down):
        x = _block(graph, x, weights, f"down_{i}", p)
        skips.append(x)
        x, size = graph.pooled(x), size // 2
    x = _block(graph, x, weights, "intermediate", config.intermediate[0])
    for i, (p, _) in enumerate(config.up):
        matrix, size = bicubic_matrix(size), 2 * size
        x = graph.add("MatMul", graph.constant(matrix), graph.add("MatMul", x, graph.constant(matrix.T)))
        x = graph.add("Concat", x, skips.pop(), axis=1)
        if trim and not skips:
            x = graph.block(graph.cut(x, trim - p - 1), weights, f"up_{i}", range(p), padding=0)
        else:
            x = _block(graph, x, weights, f"up_{i}", p)
    last = weights["final_conv/kernel"], weights["final_conv/bias"]
    x = graph.convolution(x, *last, padding=0 if trim else KERNEL // 2)
    graph.add("Softmax", graph.add("Transpose", x, perm=[0, 2, 3, 1]), axis=3, name="probability")
    side, inner = config.window, config.window - 2 * trim
    inputs = {"windows": ("n", side, side, config.n_bands)}
    return graph.model("unet", inputs, {"probability": ("n", inner, inner, config.n_classes)}, facts)


def _block(graph: Graph, x: str, weights: Weights, name: str, p: int) -> str:
    """A block whose normalisation stays apart: its convolutions see zeros at the border *after* it."""
    for i in range(p):
        norm = [graph.constant(values) for values in norm_weights(weights, f"{name}_{i}")]
        x = graph.add("BatchNormalization", x, *norm, epsilon=EPSILON)
        x = graph.add("Relu", graph.convolution(x, *convolution_weights(weights, f"{name}_{i}")))
    return x


def _standardized(graph: Graph, x: str, config: UNetConfig) -> str:
    """``(x - mean) / max(std, 1 / sqrt(N))`` of each window over all of its pixels and bands."""
    centred = graph.add("Sub", x, graph.add("ReduceMean", x, axes=[1, 2, 3], keepdims=1))
    variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), axes=[1, 2, 3], keepdims=1)
    floor = (config.window**2 * config.n_bands) ** -0.5
    return graph.add("Div", centred, graph.add("Max", graph.add("Sqrt", variance), graph.constant(floor)))
