"""The weights of a network as a file: named arrays, nothing that could run."""

import io
import zipfile
import zlib
from collections.abc import Mapping

import keras
import numpy as np

from morpheus_lite.errors import ModelError

_DAMAGE = (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error)


def pack_weights(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An ``.npz`` archive of named arrays, the same bytes for the same arrays everywhere and at any time.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Names such as ``down_0_0_conv/kernel``; numbers are stored as little-endian float32.

    Returns
    -------
    bytes
        The archive, not compressed (weights hardly are compressible).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, which is the same every time
            member.create_system = 3
            with archive.open(member, "w") as handle:
                np.lib.format.write_array(handle, np.asarray(arrays[name], "<f4", order="C"), allow_pickle=False)
    return buffer.getvalue()


def unpack_weights(content: bytes, origin: str) -> dict[str, np.ndarray]:
    """The arrays that `pack_weights` packed.

    Parameters
    ----------
    content : bytes
        The archive. Pickled objects in it are refused.
    origin : str
        What to call it in messages.

    Raises
    ------
    ModelError
        It is no such archive, or damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ModelError(f"{origin} is no archive of weights, or damaged ({error}); get it anew") from error


def network_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a network by name, ``<layer>/<variable>``: what `pack_weights` takes."""
    return {variable.path: np.asarray(variable) for variable in network.variables}


def set_weights(network: keras.Model, arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """Give a network its weights.

    Parameters
    ----------
    network : keras.Model
        The network.
    arrays : mapping of str to numpy.ndarray
        By the names of `network_weights`; all of them, and no others.
    origin : str
        What to call them in messages.

    Raises
    ------
    ModelError
        A name is missing or unknown, or a shape is not the network's.
    """
    wanted = {variable.path: tuple(variable.shape) for variable in network.variables}
    missing, unknown = sorted(set(wanted) - set(arrays)), sorted(set(arrays) - set(wanted))
    if missing or unknown:
        raise ModelError(
            f"{origin} does not fit the network of its configuration: {len(missing)} array(s) missing"
            f"{_first(missing)}, {len(unknown)} unknown{_first(unknown)}"
        )
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise ModelError(f"{origin}: {name} has shape {arrays[name].shape}, the network needs {shape}")
    for variable in network.variables:
        variable.assign(arrays[variable.path])


def _first(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
