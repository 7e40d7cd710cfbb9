"""The compiled loops over the pixels of an image, in NumPy: what tests compare them with."""

import numpy as np


def interpolate_rows(rows, lower, fraction):
    """Lines from column to column, as `morpheus_lite.core.loops.interpolate_rows` has them."""
    plane = rows[:, lower]
    plane *= 1 - fraction
    other = rows[:, np.minimum(lower + 1, rows.shape[1] - 1)]
    other *= fraction
    plane += other
    return plane


def less_mesh(data, valid, rows, places, voids, out):
    """Data less a mesh, and times another one, as `morpheus_lite.core.loops.less_mesh` has them."""
    light, usable = out
    found = np.where(valid & ~np.isin(data, np.array(voids, np.float32)), data, np.float32(np.nan))
    found -= interpolate_rows(rows[0], *places)
    if rows[1] is not None:
        found *= interpolate_rows(rows[1], *places)
    usable[...] = np.isfinite(found)
    light[...] = np.where(usable, found, 0)


def integral(plane, wanted, *, square=False):
    """Sums over the rectangles from the first pixel on."""
    total = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    inner = total[1:, 1:]
    np.cumsum(np.where(wanted, plane, np.float64(0)) ** (1 + square), axis=0, out=inner)
    np.cumsum(inner, axis=1, out=inner)
    return total


def stretched_cells(snr, valid, config, place):
    """Input of the graph of a tile; the inverse hyperbolic sine is written with a logarithm."""
    cell, n_stretches = config.cell, len(config.stretches)
    images, rows, columns, _ = place.shape
    cells = place.reshape(images, rows, columns, n_stretches + 1, -1)
    axes = (0, 2, 1, 3, 4) if config.bands else (4, 0, 2, 1, 3)
    tile, seen = (plane[0].reshape(rows, cell, columns, cell, -1).transpose(axes) for plane in (snr, valid))
    light = np.where(seen, tile, np.float32(0)).reshape(cells[:, :, :, 0].shape)
    for i, stretch in enumerate(config.stretches):
        scaled = light * np.float32(1 / stretch)
        size = np.abs(scaled)
        size += np.sqrt(size * size + np.float32(1))
        np.copysign(np.log(size), scaled, out=cells[:, :, :, i])
    cells[:, :, :, n_stretches] = seen.reshape(light.shape)


def make_detection_image(image, scatter):
    """All bands added up, each in units of its own noise."""
    total, n_used = np.zeros(image.shape), np.zeros(image.shape, dtype=int)
    for index, sigma in enumerate(scatter):
        noise = image.rms[:, :, index] if sigma is None else sigma
        usable = image.valid[:, :, index] & (noise > 0)
        total += np.divide(image.data[:, :, index], noise, out=np.zeros(image.shape), where=usable, dtype=np.float64)
        n_used += usable
    return total / np.sqrt(np.maximum(n_used, 1))
