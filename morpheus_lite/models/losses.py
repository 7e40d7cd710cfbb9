"""Loss functions of logits, target probabilities and pixel weights.

``target`` is float32 ``(n, y, x, class)``, the probabilities of the classes (soft where people would disagree);
``weight`` is float32 ``(n, y, x, 2)``: how much a pixel counts for telling source from sky, and for telling the
classes of source apart. A weight of 0 takes the pixel out.
"""

from collections.abc import Callable

import keras
from keras import ops

from morpheus_lite.core.classes import BACKGROUND

Tensor = keras.KerasTensor
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

_TINY = 1e-7


def factored_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy in two parts, source or sky, and which class given that it is a source.

    Parameters
    ----------
    logits, target : tensor
        Shape ``(n, y, x, class)``.
    weight : tensor
        Shape ``(n, y, x, 2)``, for the first and for the second part.

    Returns
    -------
    tensor
        Scalar: the weighted mean of the first part plus that of the second.

    Notes
    -----
    With equal weights this is softmax cross-entropy exactly, since p(class) = p(source) p(class | source). Two weights
    let small and faint sources count for detection without their unknowable classes drowning the bright ones.
    """
    source_logits = logits[..., :BACKGROUND]
    source_evidence = ops.logsumexp(source_logits, axis=-1)
    p_source = ops.sum(target[..., :BACKGROUND], axis=-1)
    detection = ops.binary_crossentropy(p_source, source_evidence - logits[..., BACKGROUND], from_logits=True)
    log_class = source_logits - source_evidence[..., None]
    classes = -ops.sum(target[..., :BACKGROUND] * log_class, axis=-1)
    return _mean(detection, weight[..., 0]) + _mean(classes, weight[..., 1])


def cross_entropy_dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The loss of Hausen & Robertson (2020): class-weighted cross-entropy plus one minus the Dice of the background.

    Parameters
    ----------
    logits, target : tensor
        Shape ``(n, y, x, class)``.
    weight : tensor
        Shape ``(n, y, x, 2)``; the first takes pixels out of both terms, the second is not used.

    Returns
    -------
    tensor
        Scalar.

    Notes
    -----
    Every pixel counts by the inverse of its dominant class's expected share of the batch.
    """
    used = weight[..., 0]
    share = ops.mean(target, axis=(0, 1, 2))
    dominant = ops.one_hot(ops.argmax(target, axis=-1), target.shape[-1])
    balance = ops.sum(dominant / ops.maximum(share, 1e-4), axis=-1)
    log_p = ops.log_softmax(logits, axis=-1)
    entropy = -ops.sum(target * log_p, axis=-1)
    p_sky = ops.exp(log_p[..., BACKGROUND])
    t_sky = target[..., BACKGROUND]
    overlap = 2 * ops.sum(p_sky * t_sky * used)
    dice = overlap / ops.maximum(ops.sum((p_sky + t_sky) * used), _TINY)
    return _mean(entropy, used * balance) + 1 - dice


LOSSES: dict[str, Loss] = {"factored": factored_loss, "cross_entropy_dice": cross_entropy_dice_loss}


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), _TINY)
