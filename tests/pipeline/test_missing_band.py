"""From a file with a band that misses part of the sky to the catalogue, with the network."""

import numpy as np
import pytest
from cases import FLUX, SIZE, X, Y, field, header, image, star_rows, write

from morpheus_lite import BandFlag, decode_flags
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.pipeline.classify import classify_file

BANDS = {"F160W": 1.0, "F606W": 0.5}


def values(table, name):
    return np.asarray(getattr(table[name], "value", table[name]), float)


@pytest.fixture
def catalogue(tmp_path):
    """Classifies the nine stars in two bands, the first of which has data where it says."""

    def run(there, **options):
        planes = [np.where(there, field(), np.nan), field(0.5, seed=2)]
        cards = [header(FILTER=band, BUNIT="nJy") for band in BANDS]
        path = write(tmp_path / "two.fits", *map(image, planes, cards))
        return classify_file(path, tmp_path, ClassifyOptions(model="any", products=("catalog",), **options)).table

    return run


def check_whole(table, rows):
    """Places, shapes and classes of all nine stars, and their light in the band that is whole."""
    assert len(table) == 9
    assert (rows >= 0).all()
    for axis, truth in (("x", X), ("y", Y)):
        np.testing.assert_allclose(values(table, f"{axis}_centroid_win")[rows], truth, atol=0.06)
    np.testing.assert_allclose(values(table, "half_light_radius")[rows], 1.57, rtol=0.04)
    # In one band alone the network takes one of the faintest for a disk.
    assert np.count_nonzero(table["morphology"] == "point_source") >= 8
    assert (values(table, "p_source") > 0.9).all()
    for kind in ("segment", "kron", "total", "aper"):
        suffix = "0p5_F606W" if kind == "aper" else "F606W"
        flux, error = (values(table, f"{kind}_{name}_{suffix}")[rows] for name in ("flux", "fluxerr"))
        assert (np.abs(flux - 0.5 * FLUX) < 4 * error + 0.02 * FLUX).all()
    assert not table["flags_F606W"].any()
    assert not any("saturated" in decode_flags(flags) for flags in table["flags"])


def test_half_of_the_image(catalogue):
    there = np.broadcast_to(np.arange(SIZE) < 60, (SIZE, SIZE))
    table = catalogue(there)
    rows = star_rows(table)
    check_whole(table, rows)
    left, middle, right = rows[X < 50], rows[np.abs(X - 60) < 5], rows[X > 70]
    for kind in ("kron", "total", "segment"):
        flux, error = (values(table, f"{kind}_{name}_F160W") for name in ("flux", "fluxerr"))
        assert (np.abs(flux[left] - FLUX[X < 50]) < 4 * error[left] + 0.02 * FLUX[X < 50]).all()
        assert np.isnan(flux[right]).all()
        assert np.isnan(error[right]).all()
    assert np.isnan(values(table, "total_mag_F160W")[right]).all()
    assert [decode_flags(flags, BandFlag) for flags in table["flags_F160W"][right]] == [("no_data",)] * 3
    assert ["partly_covered" in decode_flags(flags) for flags in table["flags"][middle]] == [True] * 3
    covered = values(table, "kron_covered_F160W")
    assert (covered[left] == 1).all()
    assert (covered[right] == 0).all()
    assert ((covered[middle] > 0.3) & (covered[middle] < 0.5)).all()
    # Gaussian stars: the light on the covered side of their middle.
    share = values(table, "kron_flux_F160W")[middle] / FLUX[np.abs(X - 60) < 5]
    np.testing.assert_allclose(share, 0.27, atol=0.03)
    total, doubt = values(table, "total_flux_F160W")[middle], values(table, "total_fluxerr_F160W")[middle]
    assert (np.abs(total - FLUX[np.abs(X - 60) < 5]) < 2 * doubt).all()


@pytest.mark.parametrize("band", [None, "F160W"])
def test_nowhere(catalogue, band):
    table = catalogue(np.zeros((SIZE, SIZE), bool), detection_band=band)
    check_whole(table, star_rows(table))
    for name in table.colnames:
        if name.endswith("_F160W") and "covered" not in name and not name.startswith("flags"):
            assert np.isnan(values(table, name)).all(), name
    assert [decode_flags(flags, BandFlag) for flags in table["flags_F160W"]] == [("no_data",)] * 9
    assert not table["flags"].any()
