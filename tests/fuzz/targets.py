"""How a file of each kind is read: as the commands do, as far as a model is not needed."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.io import describe_product, open_image, read_catalog, read_maps
from morpheus_lite.io.source_tables import class_shares, find_column, read_labels, read_rows, read_whole_numbers
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.manifest import read_tiles
from morpheus_lite.survey.state import read_states, run_of, tile_state
from morpheus_lite.survey.tile import Tile


class ZeroNoise(AssertionError):
    """A pixel is valid and its noise is 0."""


def _image(path: Path) -> None:
    with open_image(str(path)) as source:
        known = source.has_rms
        image = source.read()
        source.read(Window(0, 0, min(9, source.shape[0]), min(11, source.shape[1])))
    if image.rms is not None:
        zero = [k for k, one in enumerate(known) if one and np.any(image.valid[:, :, k] & ~(image.rms[:, :, k] > 0))]
        if zero:
            raise ZeroNoise(f"bands {zero}")
    if image.wcs is not None:
        height, width = image.shape[:2]
        x, y = np.array([0, width - 1, 0, width / 2, -1e6]), np.array([0, 0, height - 1, height / 2, 1e6])
        image.wcs.all_pix2world(x, y, 0)
        header_of_wcs(image.wcs)
        header_of_wcs(image.wcs.slice((slice(2, 9), slice(3, 9))))


def _both(*readers: Callable[[Path], object]) -> Callable[[Path], None]:
    """Several readers of one file: whether it is read or not is for each to say."""

    def read(path: Path) -> None:
        refused: list[InputError] = []
        for reader in readers:
            try:
                reader(path)
            except InputError as error:
                refused.append(error)
        if refused:
            raise refused[0]

    return read


def _label_plane(path: Path) -> None:
    read_whole_numbers(str(path), ("SEGMENTATION",), "label map")


def _rows(path: Path) -> None:
    table = read_rows(path, "the catalogue")
    for quantity in ("label", "x", "y", "class"):
        find_column(table, quantity, "the catalogue", required=False)
    class_shares(table, "the catalogue")


def _model(path: Path) -> None:
    from morpheus_lite.models.registry import load_model, read_card, read_info

    read_info(path.parent)
    read_card(path.parent)
    load_model(path.parent)


def _manifest(path: Path) -> None:
    from morpheus_lite.survey.state import facts_of, tile_options

    for tile in read_tiles(path):
        tile_options(tile, ClassifyOptions())
        for location in tile.locations.values():
            if not location.is_remote:
                facts_of(location)


def _training(path: Path) -> None:
    from morpheus_lite.training.config import read_config

    read_config(path)


def _options(path: Path) -> None:
    """`morpheus classify --config`, which stops at an output that exists, or at an image that does not."""
    from morpheus_lite.cli.main import cli

    missing = path.with_name("missing.fits")
    result = CliRunner().invoke(cli, ["classify", str(missing), "--config", str(path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise InputError(result.output[-200:])


def _ledger(path: Path) -> None:
    root = path.parents[2]
    tile, options = Tile("a", str(root / "plane.fits")), ClassifyOptions(model="hst")
    run = run_of(tile, options, {"hst": "0"})
    for verify in (False, True):
        tile_state(path.parent, tile, run, verify=verify)
        read_states(root, [tile], options, {"hst": "0"}, verify=verify)


TARGETS: dict[str, Callable[[Path], None]] = {
    "image": _both(_image, describe_product),
    "maps": _both(read_maps, describe_product, lambda path: read_labels(str(path))),
    "labels": _both(lambda path: read_labels(str(path)), _label_plane),
    "catalog": _both(read_catalog, describe_product, lambda path: None if path.suffix == ".vot" else _rows(path)),
    "rows": _rows,
    "model": _model,
    "manifest": _manifest,
    "training": _training,
    "options": _options,
    "ledger": _ledger,
}


def read(kind: str, path: Path) -> None:
    """Read a file of a kind; whatever it raises is what the case counts as."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TARGETS[kind](path)
