"""The work on a mosaic where workers do it: what is true of the whole first, then piece by piece."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from morpheus_lite.core.image import wcs_of_window
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import MapFile
from morpheus_lite.pipeline.plan import chosen_model, kinds_of, plan_run, source_options
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.survey.mosaic.geometry import (
    NOISE,
    PREPARED,
    Prepared,
    load_noise,
    piece_directory,
    piece_product,
    read_prepared,
    save_noise,
)
from morpheus_lite.survey.mosaic.pieces import PieceMaps
from morpheus_lite.survey.scheduler.jobs import Job, Outcome
from morpheus_lite.survey.state.fingerprint import describe_inputs, digest, facts_of, same_facts
from morpheus_lite.survey.state.tile_state import read_json, write_json

GetModel = Callable[[Any, ImageSource], Any]
"""From a job and the image to the loaded model."""


def prepare(job: Job, get_model: GetModel) -> Outcome:
    """Find out what is true of a whole mosaic, unless it is known from before.

    Its noise lies in a file for the workers then, and the rest beside it.
    """
    start = time.perf_counter()
    place = piece_directory(job.directory)
    place.mkdir(parents=True, exist_ok=True)
    before = read_json(place / PREPARED)
    facts = {role: facts_of(location) for role, location in job.tile.locations.items()}
    if before and before["run"] == digest(job.made_of) and same_facts(before["inputs"], facts):
        return Outcome(job.tile.name, "done", time.perf_counter() - start)
    inputs = describe_inputs(job.tile)
    with job.tile.open() as opened:
        model, name = get_model(job, opened), str(chosen_model(job.options.model, opened))
        plan = plan_run(opened, model, job.options, workers=job.threads)
        source_options(plan.image, model.settings, plan.kinds, job.options)  # the impossible fails before the pieces
        noise = plan.measure_noise(workers=job.threads)
        outside = plan.outside_domain(noise)
        if noise is None:
            (place / NOISE).unlink(missing_ok=True)
        else:
            with atomic_write(place / NOISE, overwrite=True) as aside:
                save_noise(aside, noise)
        grid = plan.inferer.grid(plan.image.n_bands)
    found = Prepared(name, model.sha256, inputs, tuple(outside), grid)
    write_json(place / PREPARED, {"run": digest(job.made_of), **asdict(found)})
    return Outcome(job.tile.name, "done", time.perf_counter() - start)


def make_piece(job: Job, get_model: GetModel) -> Outcome:
    """Classify one piece of a mosaic, unless that is done."""
    assert job.piece is not None
    start = time.perf_counter()
    directory = job.directory
    window, place = job.piece.window, piece_directory(directory)
    product = piece_product(directory, job.tile.name, job.piece.name)
    prepared = read_prepared(directory)
    fingerprint = digest([job.made_of, prepared.content, asdict(window)])
    marker = place / f"{job.piece.name}.json"
    if is_made(marker, fingerprint, product):
        return Outcome(job.name, "done", 0.0)
    if not same_facts(prepared.inputs, {role: facts_of(one) for role, one in job.tile.locations.items()}):
        raise OSError(f"{job.tile.name}: an input was written while the run was under way")
    with suppress(OSError):
        marker.unlink()
    with atomic_write(product, overwrite=True) as aside, job.tile.open() as opened:
        model = get_model(job, opened)
        plan = plan_run(opened, model, job.options, workers=job.threads)
        noise = load_noise(place / NOISE)
        record = plan.run_record(noise, prepared.outside)
        kinds, wcs = kinds_of(plan.kinds, noise), plan.image.wcs
        MapFile(aside, window.shape, kinds, wcs=wcs_of_window(wcs, window), provenance=record).close()
        # The network writes by windows of the whole: what lies beyond the piece is left out.
        maps = PieceMaps(plan.image.shape, kinds, [(window, str(aside))], wcs=wcs, provenance=record)
        plan.inferer.fill(plan.image, maps, noise=noise, within=window)
    seconds = time.perf_counter() - start
    write_json(marker, {"fingerprint": fingerprint, "size": product.stat().st_size, "seconds": seconds})
    return Outcome(job.name, "done", seconds, window.height * window.width)


def is_made(marker: Path, fingerprint: str, product: Path) -> bool:
    """True if a piece is there with the right fingerprint."""
    found = read_json(marker)
    if found is None or found.get("fingerprint") != fingerprint:
        return False
    return product.is_file() and product.stat().st_size == found["size"]
