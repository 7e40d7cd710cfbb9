"""The work on one tile, where a worker does it: classify beside, check, move into place, mark as done."""

import logging
import os
import shutil
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from astropy.table import QTable

from morpheus_lite import __version__
from morpheus_lite.errors import InputError, ModelError, OptionError, OutputError, reading
from morpheus_lite.io.fitsfile import open_fits
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.models.registry import read_info
from morpheus_lite.pipeline.classify import Products, classify_file
from morpheus_lite.pipeline.plan import chosen_model, named_bands
from morpheus_lite.pipeline.products import product_paths, write_products
from morpheus_lite.runtime.atomic import temporary_path, write_failure
from morpheus_lite.runtime.resources import held_memory, parse_memory
from morpheus_lite.survey.merge.footprint import footprint_of
from morpheus_lite.survey.mosaic.grid import Look
from morpheus_lite.survey.mosaic.joined import MOSAICS
from morpheus_lite.survey.mosaic.pieces import PieceMaps
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
    write_json,
    write_marker,
)

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


def look_at(job: Job, get_model: GetModel) -> Outcome:
    """Look at the headers of a tile, unless its files have changed in name or time only."""
    start = time.perf_counter()
    if job.state == State.CHECK and _adopt(job, describe_inputs(job.tile)):
        return Outcome(job.tile.name, "revalidated", time.perf_counter() - start)
    with job.tile.open() as image:
        info = read_info(chosen_model(job.options.model, image))
        if info.has_windows and info.bands:
            named_bands(image, info.bands).select(info.bands)  # a mosaic could have the bands that a tile lacks
        return Outcome(job.tile.name, "seen", time.perf_counter() - start, look=Look.of(image))


def make_tile(job: Job, get_model: GetModel) -> Outcome:
    """Make the products of one tile; if nobody has looked at it before, unless it is done, or to be cut."""
    start, tile = time.perf_counter(), job.tile
    if job.noise == "tile":
        seen = look_at(job, get_model)
        if seen.look is None or (job.side is not None and max(seen.look.shape) > job.side):
            return seen
    inputs = describe_inputs(tile)
    with beside(job.directory) as aside:
        clock = time.perf_counter()
        with tile.open() as image:
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
        with tile.open() as image:
            summary = image_summary(image, products.table, {"loading": loading, **products.seconds})
        _keep(job, aside, products, inputs, summary)
    return _done(job, products, time.perf_counter() - start)


def make_share(job: Job, get_model: GetModel) -> Outcome:
    """Make the products of one tile from those of its mosaic."""
    assert job.share is not None
    start, tile, share = time.perf_counter(), job.tile, job.share
    with beside(job.directory) as aside, tile.open() as opened:
        image = named_bands(opened, read_info(share.model).bands)
        maps = PieceMaps(image.shape, share.kinds, share.pieces, wcs=image.wcs, provenance=share.provenance)
        paths, run = product_paths(tile.name, aside, job.options), dict(share.provenance)
        memory = max(parse_memory(job.options.memory) - held_memory(), 0)
        write_products(paths, image, maps, share.rows, job.options, memory=memory, run=run)
        products = Products(paths, share.rows, image.shape, provenance=run)
        seconds = {"mosaic": share.seconds, "writing": time.perf_counter() - start}
        _keep(job, aside, products, share.inputs, image_summary(opened, share.rows, seconds))
    return _done(job, products, sum(seconds.values()))


@contextmanager
def beside(directory: Path) -> Iterator[Path]:
    """A directory to make products in, which is gone in the end."""
    aside = temporary_path(directory)
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _keep(job: Job, aside: Path, products: Products, inputs: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Check products, and move them into place."""
    _check_products(products)
    found = {name: fingerprint_product(path) for name, path in products.paths.items()}
    if not same_facts(inputs, {role: facts_of(location) for role, location in job.tile.locations.items()}):
        raise OSError(f"{job.tile.name}: an input was written while it was read")
    put_in_place(job, aside, summary, inputs, found)


def _done(job: Job, products: Products, seconds: float) -> Outcome:
    height, width = products.shape
    return Outcome(job.tile.name, "done", seconds, height * width, len(products.table or ()))


_STEPS = {"look": look_at, "tile": make_tile, "prepare": prepare, "piece": make_piece, "share": make_share}


def _adopt(job: Job, inputs: Mapping[str, Any]) -> bool:
    """Keep the products of a tile whose files have changed in name or time only."""
    marker = read_marker(job.directory)
    if marker is None or not same_content(marker["inputs"], inputs):
        return False
    log.info("%s: the content of its files is what it was; its products are kept", job.tile.name)
    write_marker(job.directory, job.made_of, inputs, marker["products"], mosaic=marker.get("mosaic"))
    return True


def image_summary(source: ImageSource, table: QTable | None, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Summarise a finished image for merging and for the report."""
    assert table is not None  # catalogues are among the products of all surveys
    zero_points = dict(zip(source.bands, source.zero_points, strict=True))
    return {
        "footprint": footprint_of(source).to_dict(),
        "look": asdict(Look.of(source)),
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
        if name == "catalog" and _n_rows(path) != len(products.table or ()):
            raise OSError(f"{path.name} was written with {len(products.table or ())} rows, but has another number")


def _n_rows(path: Path) -> int:
    """Rows of a Parquet file, all of which is read."""
    from pyarrow import parquet

    with reading(path):
        return parquet.read_table(path).num_rows


def put_in_place(
    job: Job,
    aside: Path,
    summary: Mapping[str, Any],
    inputs: Mapping[str, Any],
    found: Mapping[str, dict[str, Any]],
) -> None:
    """Move products that are not there yet; from the first move to the marker the tile counts as not done."""
    _check_place(job)
    directory = job.directory
    before = read_json(directory / MARKER) or {}
    (directory / MARKER).unlink(missing_ok=True)
    old, new = ({one["file"] for one in products.values()} for products in (before.get("products", {}), found))
    for file in old - new:
        (directory / file).unlink(missing_ok=True)
    for path in aside.iterdir():
        if path.name in new:
            path.replace(directory / path.name)
    write_json(directory / SUMMARY, summary)
    write_marker(directory, job.made_of, inputs, found, mosaic=job.mosaic)
    if (mosaic := before.get("mosaic")) and mosaic != job.mosaic:
        shutil.rmtree(Path(job.root) / MOSAICS / mosaic, ignore_errors=True)  # of which this tile is no part any more
