"""What the planes of a file are taken for: the nine stars of `cases` come out right whatever lies beside them."""

from pathlib import Path

import numpy as np
import pytest
from cases import FLUX, check_stars, classify_case, field, header, image, star_rows, write


def test_nine_stars_of_a_plain_image(tmp_path: Path):
    path = write(tmp_path / "plain.fits", image(field(), header(FILTER="F160W", BUNIT="nJy")))
    table, info = classify_case(path)
    check_stars(table, "F160W")
    assert np.all(table["flags"] == 0)
    assert info.image.zero_points == (pytest.approx(31.4, abs=1e-3),)
    magnitude = np.asarray(table["kron_mag_F160W"])[star_rows(table)]
    np.testing.assert_allclose(magnitude, 31.4 - 2.5 * np.log10(FLUX), atol=0.05)
