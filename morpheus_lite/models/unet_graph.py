"""U-Nets that see windows, such as that of Hausen & Robertson (2020), as graphs."""

from collections.abc import Mapping

from morpheus_lite.models.graph import EPSILON, Graph, Weights, bicubic_matrix, convolution_weights, norm_weights
from morpheus_lite.models.network_config import KERNEL, UNetConfig

_RESIZE = {"bilinear": ("linear", "half_pixel"), "nearest": ("nearest", "asymmetric")}


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
        Border of the output that is not needed, in pixels: 0, or at least ``config.last_reach``.
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
        x, size = _upsampled(graph, x, config, size), 2 * size
        x = graph.add("Concat", x, skips.pop(), axis=1)
        if trim and not skips:
            x = graph.block(graph.cut(x, trim - config.last_reach), weights, f"up_{i}", range(p), padding=0)
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


def _upsampled(graph: Graph, x: str, config: UNetConfig, size: int) -> str:
    """A map of this size, twice as large."""
    if config.upsampling == "bicubic_aligned":
        matrix = bicubic_matrix(size)
        return graph.add("MatMul", graph.constant(matrix), graph.add("MatMul", x, graph.constant(matrix.T)))
    mode, coordinates = _RESIZE[config.upsampling]
    scales = graph.constant([1, 1, 2, 2])
    options = {"nearest_mode": "floor"} if mode == "nearest" else {}
    return graph.add("Resize", x, "", scales, mode=mode, coordinate_transformation_mode=coordinates, **options)


def _standardized(graph: Graph, x: str, config: UNetConfig) -> str:
    """``(x - mean) / max(std, 1 / sqrt(N))`` of each window over all of its pixels and bands."""
    centred = graph.add("Sub", x, graph.add("ReduceMean", x, axes=[1, 2, 3], keepdims=1))
    variance = graph.add("ReduceMean", graph.add("Mul", centred, centred), axes=[1, 2, 3], keepdims=1)
    floor = (config.window**2 * config.n_bands) ** -0.5
    return graph.add("Div", centred, graph.add("Max", graph.add("Sqrt", variance), graph.constant(floor)))
