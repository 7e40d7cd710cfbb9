"""Probabilities that mean what they say: temperature and bias, fitted on fields whose truth is known."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from morpheus_lite.config.schema import check, from_table, option, plain_values
from morpheus_lite.core.classes import BACKGROUND
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.evaluation.field import Result, Truth, read_result, read_truth
from morpheus_lite.evaluation.reliability import check_rows, proper_scores, top_label_reliability

FLOOR = 1e-7
"""Probabilities below this count as this, so that their logarithm is finite."""

SHARPNESS = (0.02, 50.0)
"""Range searched for the inverse temperature."""

BIASES = ("none", "sky", "classes")
"""What a bias may be fitted for."""


@dataclass(frozen=True)
class Calibration:
    """A correction of class probabilities: ``softmax(log(p) / temperature + bias)``.

    Parameters
    ----------
    temperature : float
        Above 1 softens, below 1 sharpens. Without a bias the order of the classes in a pixel never changes.
    bias : tuple of float
        Added to the logarithm of each class, in the order of the maps; it corrects the shares of the classes in the
        training patches for those on the sky. Empty for none.
    fitted : dict
        What it was fitted on and how good it is: for the model's card.

    Examples
    --------
    >>> Calibration(temperature=2.0).apply(np.array([0.9, 0.1])).round(2)
    array([0.75, 0.25])
    """

    temperature: float = option(1.0, above=0)
    bias: tuple[float, ...] = ()
    fitted: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        check(self, error=InputError)

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Calibrated probabilities.

        Parameters
        ----------
        probability : numpy.ndarray
            float, shape ``(..., class)``, 0 to 1. A pixel with a NaN in it comes out NaN in every class.

        Returns
        -------
        numpy.ndarray
            Same shape and type; classes sum to 1.
        """
        n_classes = probability.shape[-1]
        if self.bias and len(self.bias) != n_classes:
            raise InputError(f"this calibration is for {len(self.bias)} classes, the probabilities have {n_classes}")
        score = _log(probability) / self.temperature + np.array(self.bias or 0.0)
        return softmax(score, axis=-1).astype(probability.dtype)

    def then(self, second: "Calibration") -> "Calibration":
        """The calibration that is this one and then another."""
        first, last = (np.array(c.bias or (0.0,)) for c in (self, second))
        bias = first / second.temperature + last
        return Calibration(
            temperature=self.temperature * second.temperature,
            bias=tuple(bias.tolist()) if bias.any() else (),
            fitted=second.fitted,
        )

    def to_dict(self) -> dict[str, Any]:
        """As it is stored in a model's ``config.json``."""
        return plain_values(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Calibration":
        """The inverse of `to_dict`."""
        return from_table(cls, stored, "calibration", error=InputError)


def fit_temperature(
    probability: np.ndarray, truth: np.ndarray, *, weight: np.ndarray | None = None, bias: str = "none"
) -> Calibration:
    """The calibration under which the truth is most likely.

    Parameters
    ----------
    probability : numpy.ndarray
        float, shape ``(n, class)``: what the model said of pixels that it was not trained on. Rows with NaN are
        left out.
    truth : numpy.ndarray
        float, shape ``(n, class)``: 1 for the true class and 0 for others, or soft labels that sum to 1.
    weight : numpy.ndarray, optional
        float, shape ``(n,)``, not negative; 1 each when None.
    bias : {"none", "sky", "classes"}
        What to fit beside the temperature. ``"none"``: the most probable class of a pixel never changes. ``"sky"``: one
        number for the last class against all others, whose order never changes: networks trained on patches around
        sources see too much sky as source. ``"classes"``: a number for each class; their mean is 0.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        Shapes disagree, nothing is left to fit, or the truth sets no limit to the temperature (every prediction
        right, or none better than chance).

    Notes
    -----
    Minimises the weighted mean of ``-sum(truth * log(calibrated))``, which is convex in the inverse temperature and
    the biases: Guo et al. 2017, ICML (temperature); Alexandari et al. 2020, ICML (with biases).
    """
    if bias not in BIASES:
        raise OptionError(f"bias={bias!r}: expected one of {', '.join(BIASES)}")
    logarithm, truth, weight = _checked(probability, truth, weight)
    free = {"none": np.eye(0, truth.shape[1]), "sky": np.eye(truth.shape[1])[-1:], "classes": np.eye(truth.shape[1])}

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = softmax_loss(parameters[0] * logarithm + parameters[1:] @ free[bias], truth, weight)
        return value, np.append((slope * logarithm).sum(), free[bias] @ slope.sum(axis=0))

    start = np.append(1.0, np.zeros(len(free[bias])))
    bounds = [SHARPNESS, *[(-30.0, 30.0)] * len(free[bias])]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8})
    sharpness, shifts = found.x[0], found.x[1:] @ free[bias]
    if bias == "classes":
        shifts -= shifts.mean()
    # Where every prediction is right, the loss falls for ever along the way the search went, ever more slowly.
    if not SHARPNESS[0] * 1.01 < sharpness < SHARPNESS[1] * 0.99 or loss(10 * found.x)[0] <= found.fun:
        raise InputError(
            f"the temperature runs off to {1 / sharpness:.3g}: {len(truth)} rows of truth do not limit it (every "
            "prediction right, or none better than chance); use more fields, or fainter and more varied sources"
        )
    losses = {"log_loss_before": round(loss(start)[0], 6), "log_loss_after": round(float(found.fun), 6)}
    biases = () if bias == "none" else tuple(shifts.tolist())
    return Calibration(float(1 / sharpness), biases, {"n_pixels": len(truth), **losses})


def _checked(probability: np.ndarray, truth: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Logarithms, truth and normalised weights of the rows that count, float64."""
    check_rows(probability, truth)
    share = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=np.float64)
    known = np.isfinite(probability).all(axis=1) & np.isfinite(truth).all(axis=1) & (share > 0)
    if not known.any():
        raise InputError(f"none of {len(truth)} rows has finite probabilities, truth and a positive weight")
    share = share[known] / share[known].sum()
    return _log(probability[known]), truth[known].astype(np.float64), share


def softmax_loss(score: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Weighted logarithmic loss of probabilities ``softmax(score)``, summed, and its slope by each score."""
    total, sure = logsumexp(score, axis=1, keepdims=True), truth.sum(axis=1, keepdims=True)
    loss = weight @ (sure * total - (truth * score).sum(axis=1, keepdims=True))[:, 0]
    return float(loss), weight[:, None] * (np.exp(score - total) * sure - truth)


def _log(probability: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probability.astype(np.float64), FLOOR))


N_PIXELS = 400_000
"""Pixels drawn from each field, half of them where there is a source or the model sees one."""


def read_pairs(truths: Sequence[str | Path], results: Sequence[str | Path]) -> Iterator[tuple[Truth, Result]]:
    """Read truth files and products with class maps, as many, in the same order: see `read_truth`, `read_result`."""
    if len(truths) != len(results) or not truths:
        raise OptionError(
            f"{len(truths)} truth file(s) and {len(results)} result(s): expected as many of both, one or more"
        )
    yield from zip(map(read_truth, truths), map(read_result, results), strict=True)


def calibrate_files(
    truths: Sequence[str | Path], results: Sequence[str | Path], *, bias: str = "sky", seed: int = 0
) -> Calibration:
    """Fit a calibration from truth files and what a model said of them.

    Parameters
    ----------
    truths, results : sequence of path
        Truth files, and as many products with class maps, in the same order: see `read_truth` and `read_result`.
        The fields must not be ones that the model was trained on.
    bias, seed
        As in `calibrate_results`.
    """
    return calibrate_results(read_pairs(truths, results), bias=bias, seed=seed)


def calibrate_results(
    pairs: Iterable[tuple[Truth, Result]], *, bias: str = "sky", n_pixels: int = N_PIXELS, seed: int = 0
) -> Calibration:
    """Fit a calibration to fields whose truth is known.

    Parameters
    ----------
    pairs : iterable of (Truth, Result)
        Fields with class maps of one model.
    bias : {"none", "sky", "classes"}
        What to fit beside the temperature: see `fit_temperature`. With ``"classes"`` the pixels of large galaxies, of
        which a field has few, decide on the classes of small ones; prefer ``"sky"`` unless there are many fields.
    n_pixels : int
        Pixels drawn from each field, with weights that make up for drawing more sources than there are.
    seed : int
        Which pixels are drawn.

    Returns
    -------
    Calibration
        Its ``fitted`` holds the number of fields and pixels, and log loss, Brier score and ECE (of all pixels, and of
        source pixels) before and after.

    Raises
    ------
    InputError
        A result has no class maps, or a truth has no classes, or they do not limit the temperature.
    """
    rng = np.random.default_rng(seed)
    samples = [sample_pixels(truth, result, n_pixels=n_pixels, rng=rng) for truth, result in pairs]
    if not samples:
        raise InputError("no field to calibrate on came; expected one or more")
    probability, soft, weight = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    calibration = fit_temperature(probability, soft, weight=weight, bias=bias)
    figures = {
        "n_fields": len(samples),
        "n_pixels": len(weight),
        "before": _figures(probability, soft, weight),
        "after": _figures(calibration.apply(probability), soft, weight),
    }
    return replace(calibration, fitted=figures)


def sample_pixels(
    truth: Truth, result: Result, *, n_pixels: int = N_PIXELS, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of a field to calibrate on: half from sources (true or seen), half from the rest.

    Parameters
    ----------
    truth, result : Truth, Result
        The field and the class maps.
    n_pixels : int
        How many at most.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    probability, soft : numpy.ndarray
        float32, shape ``(n, class)``: what the model said, and the true probabilities.
    weight : numpy.ndarray
        float64, shape ``(n,)``: pixels of the field that each stands for.
    """
    if result.probability is None or not truth.has_classes or result.shape != truth.shape:
        raise InputError(
            f"{result.name} ({result.shape}) cannot be calibrated on {truth.name} ({truth.shape}): expected class maps "
            "and true classes of the same field"
        )
    known = truth.valid & (truth.pixel_class >= 0) & np.isfinite(result.probability).all(axis=2)
    shown = known & ((truth.labels > 0) | (result.probability[:, :, BACKGROUND] < 0.5))
    chosen, weights = [], []
    for stratum in (shown, known & ~shown):
        pixels = np.flatnonzero(stratum)
        taken = pixels if len(pixels) <= n_pixels // 2 else rng.choice(pixels, n_pixels // 2, replace=False)
        chosen.append(taken)
        weights.append(np.full(len(taken), len(pixels) / max(len(taken), 1)))
    rows, columns = np.divmod(np.concatenate(chosen), truth.shape[1])
    soft = truth.soft_of(truth.labels[rows, columns])
    return result.probability[rows, columns], soft, np.concatenate(weights)


def _figures(probability: np.ndarray, soft: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    log_loss, brier = proper_scores(probability, soft, weight=weight)
    shown = probability[:, BACKGROUND] < 0.5
    values = {
        "log_loss": log_loss,
        "brier": brier,
        "ece_pixels": top_label_reliability(probability, soft, weight=weight).error,
        "ece_source_pixels": top_label_reliability(probability[shown], soft[shown], weight=weight[shown]).error,
    }
    return {key: round(value, 5) for key, value in values.items()}
