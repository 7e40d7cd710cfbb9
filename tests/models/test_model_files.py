"""Archives of weights that claim what they do not hold."""

import io
import zipfile

import numpy as np
import pytest

from morpheus_lite.errors import ModelError
from morpheus_lite.models.model_files import pack_weights, unpack_weights

ARRAYS = {"a/kernel": np.arange(12, dtype="<f4").reshape(3, 4), "a/bias": np.zeros(4, "<f4")}


def member(content, *, name="a.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def stored(shape, descr="<f4", n_bytes=16):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(n_bytes)


def test_what_was_packed_is_unpacked():
    found = unpack_weights(pack_weights(ARRAYS), "w.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    assert unpack_weights(member(stored((4,))), "w.npz")["a"].shape == (4,)


@pytest.mark.parametrize(
    "content",
    [
        member(stored((10**12,))),
        member(stored((5,))),
        member(stored((4,), descr="|O")),
        member(stored((2,), descr="<c8")),
        member(b"no array"),
        pack_weights(ARRAYS)[:-30],
        b"",
    ],
)
def test_damaged_archives(content):
    with pytest.raises(ModelError, match=r"w.npz is not a weights archive, or is damaged \("):
        unpack_weights(content, "w.npz")
