"""The work on one tile, or on a piece of a mosaic, where a worker does it: make beside, check, move into place."""

import logging
import os
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from astropy.table import QTable
from pyarrow import parquet

from morpheus_lite import __version__
from morpheus_lite.core.image import wcs_of_window
from morpheus_lite.errors import InputError, ModelError, OptionError, OutputError, reading
from morpheus_lite.io.fitsfile import open_fits
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import MapFile
from morpheus_lite.models.registry import read_info
from morpheus_lite.pipeline.classify import classify_file
from morpheus_lite.pipeline.plan import chosen_model, kinds_of, named_bands, plan_run, source_options
from morpheus_lite.pipeline.products import product_paths, write_products
from morpheus_lite.runtime.atomic import atomic_write, write_failure
from morpheus_lite.runtime.resources import held_memory, parse_memory
from morpheus_lite.survey.jobs import Job, Outcome, failure
from morpheus_lite.survey.merge.footprint import footprint_of
from morpheus_lite.survey.mosaic.joined import MOSAICS, Look
from morpheus_lite.survey.mosaic.pieces import (
    NOISE,
    PREPARED,
    PieceMaps,
    Prepared,
    load_noise,
    read_prepared,
    save_noise,
)
from morpheus_lite.survey.state import (
    MARKER,
    SUMMARY,
    State,
    beside,
    describe_inputs,
    digest,
    fingerprint_product,
    holds,
    input_facts,
    read_json,
    read_marker,
    same_content,
    same_facts,
    write_json,
    write_marker,
)
from morpheus_lite.survey.statistics import peak_memory, table_statistics
from morpheus_lite.survey.watch import tile_log, time_limit

PERMANENT = (InputError, ModelError, OptionError)
"""Errors that trying again does not change."""

GetModel = Callable[[Job, ImageSource], Any]
"""From a job and its image to the loaded model."""

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
        said: list[str] = []
        with tile_log(job.log, said) as file, time_limit(job.seconds if may_exit else None, file):
            try:
                outcome = _STEPS[job.step](job, get_model)
                return replace(outcome, seconds=time.perf_counter() - start, doubts=tuple(said))
            except Exception:
                traceback.print_exc(file=file)
                raise
    except PERMANENT as error:
        if isinstance(error, InputError) and any(one.is_remote for one in job.tile.locations.values()):
            raise  # a store that did not answer may do so the next time
        return failure(job, error)
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
    if job.state == State.CHECK and _revalidate(job):
        return Outcome(job.name, "revalidated")
    with job.tile.open() as image:
        return _looked_at(job, image)


def _looked_at(job: Job, image: ImageSource) -> Outcome:
    info = read_info(chosen_model(job.options.model, image))
    if info.has_windows and info.bands:
        named_bands(image, info.bands).select(info.bands)  # a mosaic could have the bands that a tile lacks
    return Outcome(job.name, "seen", look=Look.of(image))


def make_tile(job: Job, get_model: GetModel) -> Outcome:
    """Make the products of one tile; if nobody has looked at it before, unless it is done, or to be cut."""
    tile = job.tile
    if job.mosaic is None and job.state == State.CHECK and _revalidate(job):
        return Outcome(job.name, "revalidated")
    facts = input_facts(tile)
    with tile.open() as image:
        if job.side is not None and max(image.shape) > job.side:
            return _looked_at(job, image)
        inputs = describe_inputs(tile, facts)
        with beside(job.directory) as aside:
            clock = time.perf_counter()
            model = get_model(job, image)
            loading = time.perf_counter() - clock
            image.close()  # what is compressed is in memory while it is open
            # What a file consists of takes as long to find out as its noise: once is enough.
            done = classify_file(image, aside, job.options, name=tile.name, model=model, workers=job.threads)
            assert done.table is not None  # catalogues are among the products of all surveys
            return keep(job, aside, done.paths, inputs, image, done.table, {"loading": loading, **done.seconds})


def make_share(job: Job, get_model: GetModel) -> Outcome:
    """Make the products of one tile from those of its mosaic."""
    assert job.share is not None
    start, share = time.perf_counter(), job.share
    with beside(job.directory) as aside, job.tile.open() as opened:
        image = named_bands(opened, read_info(share.model).bands)
        paths, run = product_paths(job.name, aside, job.options), dict(share.maps.provenance)
        memory = max(parse_memory(job.options.memory) - held_memory(), 0)
        share.maps.wcs = image.wcs
        write_products(paths, image, share.maps, share.rows, job.options, memory=memory, run=run)
        seconds = {"mosaic": share.seconds, "writing": time.perf_counter() - start}
        return keep(job, aside, paths, share.inputs, opened, share.rows, seconds)


def prepare(job: Job, get_model: GetModel) -> Outcome:
    """Find out what is true of a whole mosaic, unless it is known from before.

    Its noise lies in a file for the workers then, and the rest beside it.
    """
    place, done = job.place, Outcome(job.name, "done")
    place.mkdir(parents=True, exist_ok=True)
    before, run = read_json(place / PREPARED), digest(job.made_of)
    if before and before["run"] == run and same_facts(before["inputs"], input_facts(job.tile)):
        return done
    inputs = describe_inputs(job.tile)
    with job.tile.open() as opened:
        model, name = get_model(job, opened), str(chosen_model(job.options.model, opened))
        plan = plan_run(opened, model, job.options, workers=job.threads)
        source_options(plan.image, model.settings, plan.kinds, job.options)  # the impossible fails before the pieces
        noise = plan.measure_noise(workers=job.threads)
        outside, grid = tuple(plan.outside_domain(noise)), plan.inferer.grid(plan.image.n_bands)
        (place / NOISE).unlink(missing_ok=True)
        if noise is not None:
            with atomic_write(place / NOISE, overwrite=True) as aside:
                save_noise(aside, noise)
    write_json(place / PREPARED, asdict(Prepared(run, name, inputs, outside, grid)))
    return done


def make_piece(job: Job, get_model: GetModel) -> Outcome:
    """Classify one piece of a mosaic, unless that is done."""
    assert job.piece is not None
    window, prepared = job.piece.window, read_prepared(job.place)
    product, marker = job.piece_path(job.piece), job.place / f"{job.piece.name}.json"
    content = {role: facts["sha256"] for role, facts in prepared.inputs.items()}
    fingerprint, done = digest([job.made_of, content, asdict(window)]), Outcome(job.name, "done")
    before = read_json(marker) or {}
    if before.get("fingerprint") == fingerprint and product.is_file() and product.stat().st_size == before["size"]:
        return done
    if not same_facts(prepared.inputs, input_facts(job.tile)):
        raise OSError(f"{job.tile.name}: an input was written while the run was under way")
    marker.unlink(missing_ok=True)
    with atomic_write(product, overwrite=True) as aside, job.tile.open() as opened:
        plan = plan_run(opened, get_model(job, opened), job.options, workers=job.threads)
        noise = load_noise(job.place / NOISE)
        record = plan.run_record(noise, prepared.outside)
        kinds, wcs = kinds_of(plan.kinds, noise), plan.image.wcs
        MapFile(aside, window.shape, kinds, wcs=wcs_of_window(wcs, window), provenance=record).close()
        # The network writes by windows of the whole: what lies beyond the piece is left out.
        maps = PieceMaps(plan.image.shape, kinds, [(window, str(aside))], wcs=wcs, provenance=record)
        plan.inferer.fill(plan.image, maps, noise=noise, within=window)
    write_json(marker, {"fingerprint": fingerprint, "size": product.stat().st_size})
    return done


_STEPS = {"look": look_at, "tile": make_tile, "prepare": prepare, "piece": make_piece, "share": make_share}


def _revalidate(job: Job) -> bool:
    """Keep the products of a tile whose files have changed in name or time only."""
    marker, inputs = read_marker(job.directory), describe_inputs(job.tile)
    if marker is None or not same_content(marker["inputs"], inputs):
        return False
    log.info("%s: the content of its files is what it was; its products are kept", job.name)
    write_marker(job.directory, job.made_of, inputs, marker["products"], mosaic=marker.get("mosaic"))
    return True


def keep(
    job: Job,
    aside: Path,
    paths: Mapping[str, Path],
    inputs: Mapping[str, Any],
    image: ImageSource,
    table: QTable,
    seconds: Mapping[str, float],
    in_place: Mapping[str, dict[str, Any]] | None = None,
) -> Outcome:
    """Check products, and move them into place, where ``in_place`` are already.

    From the first move to the marker the tile counts as not done.
    """
    _check_products(paths, image.shape, len(table))
    found = {name: fingerprint_product(path) for name, path in paths.items()} | dict(in_place or {})
    summary, directory = image_summary(image, table, seconds), job.directory
    if not same_facts(inputs, input_facts(job.tile)):
        raise OSError(f"{job.name}: an input was written while it was read")
    _check_place(job)
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
    height, width = image.shape
    return Outcome(job.name, "done", n_pixels=height * width, n_sources=len(table))


def _check_products(paths: Mapping[str, Path], shape: tuple[int, int], n_rows: int) -> None:
    """Read back what was written.

    Raises
    ------
    OSError
        Something is not as it was written.
    """
    for name, path in paths.items():
        if not path.is_file() or not path.stat().st_size:
            raise OSError(f"{path.name} was written, but is not there or empty")
        if name == "maps":
            with open_fits(str(path)) as hdus:
                shapes = {hdu.shape for hdu in hdus[1:]}
            if shapes != {shape}:
                raise OSError(f"{path.name} was written with planes of {shape}, but has {shapes}")
        if name == "catalog":
            with reading(path):
                found = parquet.read_table(path).num_rows  # all of it is read
            if found != n_rows:
                raise OSError(f"{path.name} was written with {n_rows} rows, but has {found}")


def image_summary(source: ImageSource, table: QTable, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Summarise a finished image for merging and for the report."""
    zero_points = dict(zip(source.bands, source.zero_points, strict=True))
    return {
        "footprint": footprint_of(source).to_dict(),
        "look": asdict(Look.of(source)),
        "bands": list(zero_points),
        **table_statistics(table, zero_points),
        "seconds": dict(seconds),
        "peak_memory": peak_memory(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
