"""The work on one tile, where a worker does it: classify beside, check, move into place, mark as done."""

import logging
import os
import shutil
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from astropy.table import QTable

from morpheus_lite import __version__
from morpheus_lite.errors import InputError, ModelError, OptionError, OutputError
from morpheus_lite.io import open_image, read_catalog
from morpheus_lite.io.fitsfile import open_fits
from morpheus_lite.pipeline.classify import Products, classify_file
from morpheus_lite.runtime.atomic import temporary_path, write_failure
from morpheus_lite.survey.merge.footprint import footprint_of
from morpheus_lite.survey.mosaic.work import GetModel, make_piece, prepare
from morpheus_lite.survey.scheduler.jobs import Job, Outcome, failure
from morpheus_lite.survey.scheduler.lock import holds
from morpheus_lite.survey.scheduler.watch import tile_log, time_limit
from morpheus_lite.survey.state.fingerprint import describe_inputs, facts_of, same_content, same_facts
from morpheus_lite.survey.state.statistics import peak_memory, place_statistics, table_statistics
from morpheus_lite.survey.state.tile_state import (
    MARKER,
    SUMMARY,
    State,
    fingerprint_product,
    read_json,
    read_marker,
    tile_directory,
    write_json,
    write_marker,
)
from morpheus_lite.survey.tile import Tile

PERMANENT = (InputError, ModelError, OptionError)
"""Errors that trying again does not change."""

log = logging.getLogger(__name__)


def process(job: Job, get_model: GetModel, *, may_exit: bool = False) -> Outcome:
    """Do a job.

    Parameters
    ----------
    job : Job
        What to do.
    get_model : callable
        From a job and its image to the loaded model.
    may_exit : bool
        Whether this process may end itself when the time limit is over.

    Returns
    -------
    Outcome
        Also of failures that trying again does not change.

    Raises
    ------
    Exception
        Any other failure, which may not come again.
    """
    start = time.perf_counter()
    try:
        _check_place(job)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with tile_log(job.log) as file, time_limit(job.seconds if may_exit else None, file):
            try:
                return _STEPS[job.step](job, get_model)
            except Exception:
                traceback.print_exc(file=file)
                raise
    except PERMANENT as error:
        if isinstance(error, InputError) and any(one.is_remote for one in job.tile.locations.values()):
            raise  # a store that did not answer may do so the next time
        return failure(job, error, time.perf_counter() - start)
    except OSError as error:
        if reason := write_failure(error):
            raise OutputError(f"{job.log.parent} cannot be written: {reason}") from error
        raise


def _check_place(job: Job) -> None:
    if job.made_of["version"] != __version__:
        raise OptionError(
            f"the worker on {socket.gethostname()} has morpheus_lite {__version__}, and the survey is made with "
            f"{job.made_of['version']}; install the same version everywhere"
        )
    if not holds(Path(job.root), job.run):
        raise OutputError(
            f"the worker on {socket.gethostname()} does not see this run's lock in {job.root}: the output directory "
            "must be on storage that all workers share (if it is, another run has taken over)"
        )


def make_tile(job: Job, get_model: GetModel) -> Outcome:
    """Make the products of one tile, unless it is so large that it is to be cut."""
    start = time.perf_counter()
    tile, directory = job.tile, tile_directory(Path(job.root), job.tile.name)
    if job.state == State.CHECK and _adopt(job, directory, describe_inputs(tile)):
        return Outcome(tile.name, "revalidated", time.perf_counter() - start)
    if job.side is not None:
        with open_image(tile.image, **tile.read_options) as image:
            if max(image.shape) > job.side:
                return Outcome(tile.name, "large", shape=image.shape)
    inputs = describe_inputs(tile)
    aside = temporary_path(directory)
    aside.mkdir()
    try:
        clock = time.perf_counter()
        with open_image(tile.image, **tile.read_options) as image:
            model = get_model(job, image)
        loading = time.perf_counter() - clock
        products = classify_file(
            tile.image,
            aside,
            replace(job.options, overwrite=True),
            name=tile.name,
            read_options=dict(tile.read_options),
            model=model,
            workers=job.threads,
        )
        assert products.table is not None  # catalogues are among the products of all surveys
        summary = image_summary(tile, products.table, {"loading": loading, **products.seconds})
        _check_products(products)
        found = {name: fingerprint_product(path) for name, path in products.paths.items()}
        if not same_facts(inputs, {role: facts_of(location) for role, location in tile.locations.items()}):
            raise OSError(f"{tile.name}: an input was written while it was read")
        _put_in_place(job, directory, aside, summary, inputs, found)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    seconds = time.perf_counter() - start
    return Outcome(tile.name, "done", seconds, products.shape[0] * products.shape[1], len(products.table))


_STEPS = {"tile": make_tile, "prepare": prepare, "piece": make_piece}


def _adopt(job: Job, directory: Path, inputs: Mapping[str, Any]) -> bool:
    """Keep the products of a tile whose files have changed in name or time only."""
    marker = read_marker(directory)
    if marker is None or not same_content(marker["inputs"], inputs):
        return False
    log.info("%s: the content of its files is what it was; its products are kept", job.tile.name)
    write_marker(directory, job.made_of, inputs, marker["products"])
    return True


def image_summary(tile: Tile, table: QTable, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Summarise a finished image for merging and for the report."""
    with open_image(tile.image, **tile.read_options) as source:
        footprint = footprint_of(source)
        zero_points = dict(zip(source.bands, source.zero_points, strict=True))
    return {
        "footprint": footprint.to_dict(),
        "bands": list(zero_points),
        **table_statistics(table, zero_points),
        **place_statistics(table),
        "seconds": dict(seconds),
        "peak_memory": peak_memory(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


def _check_products(products: Products) -> None:
    """Read back what was written.

    Raises
    ------
    OSError
        Something is not as it was written.
    """
    for name, path in products.paths.items():
        if not path.is_file() or not path.stat().st_size:
            raise OSError(f"{path.name} was written, but is not there or empty")
        if name == "maps":
            with open_fits(str(path)) as hdus:
                shapes = {hdu.shape for hdu in hdus[1:]}
            if shapes != {products.shape}:
                raise OSError(f"{path.name} was written with planes of {products.shape}, but has {shapes}")
        if name == "catalog" and len(read_catalog(path)) != len(products.table or ()):
            raise OSError(f"{path.name} was written with {len(products.table or ())} rows, but has another number")


def _put_in_place(
    job: Job,
    directory: Path,
    aside: Path,
    summary: Mapping[str, Any],
    inputs: Mapping[str, Any],
    found: Mapping[str, dict[str, Any]],
) -> None:
    """Move the products; between the first move and the marker the tile counts as not done."""
    _check_place(job)
    before = read_json(directory / MARKER) or {}
    (directory / MARKER).unlink(missing_ok=True)
    for product in before.get("products", {}).values():
        (directory / product["file"]).unlink(missing_ok=True)
    for product in found.values():
        (aside / product["file"]).replace(directory / product["file"])
    write_json(directory / SUMMARY, summary)
    write_marker(directory, job.made_of, inputs, found)
