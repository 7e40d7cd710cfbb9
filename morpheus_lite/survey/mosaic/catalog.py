"""The sources of a mosaic whose pieces are classified: found, split and measured as if it were whole."""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.config.classify import PLANES
from morpheus_lite.core.windows import Window
from morpheus_lite.io.fitsfile import open_fits, run_of_header
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import map_planes
from morpheus_lite.models.registry import read_info
from morpheus_lite.pipeline.classify import make_catalog
from morpheus_lite.pipeline.plan import block_side_in, named_bands, source_options
from morpheus_lite.pipeline.products import product_paths, write_products
from morpheus_lite.runtime.resources import parse_memory
from morpheus_lite.survey.jobs import ClusterExecutor, Job, Outcome, Share, Whole
from morpheus_lite.survey.mosaic.joined import MEMBERS, Mosaic
from morpheus_lite.survey.mosaic.pieces import (
    NOISE,
    PLANE,
    NamedPlane,
    PieceMaps,
    finish_piece,
    load_noise,
    read_prepared,
)
from morpheus_lite.survey.state import beside, write_json
from morpheus_lite.survey.work import keep

BASE_MEMORY = 900_000_000
"""Bytes that a worker process holds before it works on sources."""


def find_sources(whole: Whole, opened: ImageSource, executor: ClusterExecutor) -> tuple[ImageSource, PieceMaps, QTable]:
    """Find, split and measure the sources of an image whose pieces are classified, on all workers.

    Returns
    -------
    image : ImageSource
        The image, ``opened``, with the names of the model's bands.
    maps : PieceMaps
        Its class maps and labels, piece by piece.
    table : astropy.table.QTable
        The catalogue.
    """
    job = whole.job
    info = read_info(read_prepared(job.place).model)
    image = named_bands(opened, info.bands)
    maps = open_pieces(whole, image)
    # Where there are no worker processes, this one has its own.
    scheduler = executor.client.scheduler
    here = scheduler is not None and str(scheduler.address).startswith("inproc")
    table = make_catalog(
        image,
        maps,
        source_options(image, info.settings, maps.kinds, job.options),
        noise=load_noise(job.place / NOISE),
        tile=block_side_in(image, maps, _memory(job), 1),
        workers=job.threads if here else replace(executor, seconds=job.seconds),
        plane=NamedPlane.create(job.place / PLANE, image.shape),
    )
    return image, maps, table


def _memory(job: Job) -> int:
    return max(parse_memory(job.options.memory) - BASE_MEMORY, 1)


def open_pieces(whole: Whole, image: ImageSource) -> PieceMaps:
    """The class maps of all pieces as those of one image."""
    files = [(piece.window, str(whole.job.piece_path(piece))) for piece in whole.pieces]
    with open_fits(files[0][1]) as hdus:
        names = {hdu.name for hdu in hdus[1:]}
        provenance = run_of_header(hdus[0].header)
    kinds = [kind for kind in PLANES if {plane.name for plane in map_planes([kind])} <= names]
    return PieceMaps(image.shape, kinds, files, wcs=image.wcs, provenance=provenance)


def finish_mosaic(whole: Whole, executor: ClusterExecutor) -> Outcome:
    """Label map, catalogue and marker of one large image whose pieces are classified."""
    start, job = time.perf_counter(), whole.job
    with_maps = "maps" in job.options.products
    with beside(job.directory) as aside, job.tile.open() as opened:
        image, maps, table = find_sources(whole, opened, executor)
        paths = product_paths(job.name, aside, job.options)
        paths.pop("maps", None)
        write_products(paths, image, maps, table, job.options, memory=_memory(job), run=dict(maps.provenance))
        finish = partial(finish_piece, maps=maps, kinds=job.options.planes, compress=job.options.compress)
        made = zip(whole.pieces, executor.map(finish, maps.pieces), strict=True) if with_maps else ()
        products = {f"maps {piece.name}": product for piece, product in made}
        times = {"network": whole.seconds, "catalog": time.perf_counter() - start}
        outcome = keep(job, aside, paths, read_prepared(job.place).inputs, opened, table, times, products)
    for _, path in () if with_maps else maps.pieces:
        Path(path).unlink(missing_ok=True)
    shutil.rmtree(job.place, ignore_errors=True)
    return replace(outcome, seconds=sum(times.values()))


def share_out(whole: Whole, executor: ClusterExecutor) -> Iterator[Job]:
    """Jobs that write the products of the tiles of a mosaic: each has the sources whose brightest pixel it owns."""
    mosaic = whole.job.tile
    assert isinstance(mosaic, Mosaic)
    start, prepared = time.perf_counter(), read_prepared(whole.job.place)
    with mosaic.open() as opened:
        _, maps, table = find_sources(whole, opened, executor)
    each = (whole.seconds + time.perf_counter() - start) / len(mosaic.parts)
    peaks = [np.asarray(table[f"{axis}_peak"].value) for axis in "yx"]
    owners = mosaic.owners(*peaks)
    for band, distance in mosaic.distances_without(*peaks).items():
        text = f"distance of the brightest pixel from the nearest tile without {band}, 0 inside"
        table[f"no_data_distance_{band}"] = Column(distance, unit="pix", description=text)
    for number, part in enumerate(mosaic.parts):
        name, window = part.tile.name, part.window
        touching = [(piece.relative_to(window), path) for piece, path in maps.pieces if piece.touches(window)]
        record = _seen_from(window, {**maps.provenance, "image": name, "mosaic": mosaic.name})
        own = PieceMaps(window.shape, maps.kinds, touching, wcs=None, provenance=record)
        rows = _rows_seen_from(window, table[owners == number])
        roles = [role for role in prepared.inputs if role.startswith(f"{name}/")]
        inputs = {role.removeprefix(f"{name}/"): prepared.inputs[role] for role in roles}
        share = Share(prepared.model, own, rows, inputs, each)
        yield replace(whole.members[name], step="share", mosaic=mosaic.name, share=share)


def close_mosaic(job: Job) -> None:
    """Remove what a mosaic needed while it was made, and keep the names of its tiles: their products are in place."""
    assert isinstance(job.tile, Mosaic)
    shutil.rmtree(job.place, ignore_errors=True)
    write_json(job.directory / MEMBERS, {"tiles": [part.tile.name for part in job.tile.parts]})


def _seen_from(window: Window, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A record with positions in pixels of a window."""
    if "large_objects" not in provenance:
        return dict(provenance)
    moved = [{**one, "x": one["x"] - window.x, "y": one["y"] - window.y} for one in provenance["large_objects"]]
    return {**provenance, "large_objects": moved}


def _rows_seen_from(window: Window, table: QTable) -> QTable:
    """Rows with positions in pixels of a window."""
    for axis in "yx":
        for name in (f"{axis}_{kind}" for kind in ("centroid", "centroid_win", "peak")):
            if name in table.colnames:
                table[name].value[...] -= getattr(window, axis)
    return table
