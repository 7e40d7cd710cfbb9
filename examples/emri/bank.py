"""Where a training begins: convolutions that measure the power in sixteen bands.

Random filters of 34 samples hear the whole band at once, in which a signal is a few per cent of the power; gradients
are then so faint that a training of ten minutes ends with a network worse than a sum of squares. So the first layer
begins as a bank of waves, one for every band and channel, the second and third as means over time. What a training
makes of them is its own affair.
"""

import numpy as np

N_BANDS = 16
MARGIN = 2.5  # standard deviations of noise above the point where relu would cut


def waves(length: int, n_bands: int = N_BANDS) -> np.ndarray:
    """Kernel (length, 2, 2 * n_bands) of unit gain for noise: windowed waves, evenly spaced up to Nyquist's frequency.

    Filter ``2 k`` hears band ``k`` in channel I, filter ``2 k + 1`` in channel II.
    """
    position = np.arange(length) - (length - 1) / 2
    window = np.cos(np.pi * position / length)
    kernel = np.zeros((length, 2, 2 * n_bands), np.float32)
    for band in range(n_bands):
        # A quarter of a turn at the centre: neither band at the ends of the axis vanishes, nor is it a plain sum.
        wave = window * np.cos(np.pi * (band + 0.5) / n_bands * position + np.pi / 4)
        for channel in range(2):
            kernel[:, channel, 2 * band + channel] = wave / np.linalg.norm(wave)
    return kernel


def means(length: int, groups: np.ndarray) -> np.ndarray:
    """Kernel (length, n_in, n_out) that averages over time and over the inputs of a group; ``groups`` is (n_in,)."""
    member = np.eye(groups.max() + 1, dtype=np.float32)[groups]
    return np.broadcast_to(member / (member.sum(axis=0) * length), (length, *member.shape)).copy()


def open_bank(model, *, n_noise: int = 16, seed: int = 0) -> None:
    """Set the convolutions of a network to a bank of band-pass filters, and leave its dense layers as they are.

    Layer by layer, gains and biases are set such that in noise every output has standard deviation 1 and a mean of
    `MARGIN` before relu: a weak signal then changes what follows in proportion to its power.
    """
    import keras

    noise = np.random.default_rng(seed).standard_normal((n_noise, *model.input_shape[1:]), dtype=np.float32)
    first, second, third = (model.get_layer(name) for name in ("conv1", "conv2", "conv3"))
    n_filters = first.get_weights()[1].size
    first.set_weights([waves(first.kernel_size[0], n_filters // 2), np.zeros(n_filters, np.float32)])
    for layer, groups in ((second, np.arange(n_filters) // 2), (third, np.arange(n_filters // 2))):
        kernel = means(layer.kernel_size[0], groups)
        before = keras.Model(model.inputs[0], layer.input)
        layer.set_weights([kernel, np.zeros(kernel.shape[2], np.float32)])  # positive inputs: relu cuts nothing
        output = np.asarray(layer(before(noise, training=False)))
        centre, spread = output.mean(axis=(0, 1)), output.std(axis=(0, 1))
        layer.set_weights([kernel / spread, MARGIN - centre / spread])
