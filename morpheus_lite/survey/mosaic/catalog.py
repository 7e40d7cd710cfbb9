"""The sources of a mosaic whose pieces are classified: found, split and measured as if it were whole."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from morpheus_lite.survey.jobs import Job, Outcome, Share
from morpheus_lite.survey.mosaic.joined import MEMBERS, Mosaic
from morpheus_lite.survey.mosaic.pieces import (
    NOISE,
    PLANE,
    ClusterSpread,
    NamedPlane,
    Piece,
    PieceMaps,
    finish_piece,
    load_noise,
    read_prepared,
)
from morpheus_lite.survey.state import fingerprint_product, write_json
from morpheus_lite.survey.work import beside, image_summary, put_in_place

if TYPE_CHECKING:
    from distributed import Client

BASE_MEMORY = 900_000_000
"""Bytes that a worker process holds before it works on sources."""


def find_sources(
    job: Job, opened: ImageSource, pieces: Sequence[Piece], client: "Client", *, retries: int = 2
) -> tuple[ImageSource, PieceMaps, QTable]:
    """Find, split and measure the sources of a mosaic, on all workers.

    Parameters
    ----------
    job : Job
        The mosaic.
    opened : ImageSource
        Its image.
    pieces : sequence of Piece
        All of its pieces, which are classified.
    client : distributed.Client
        Of the cluster.
    retries : int
        How often work on sources that failed is tried again.

    Returns
    -------
    image : ImageSource
        The image with the names of the model's bands.
    maps : PieceMaps
        Its class maps and labels, piece by piece.
    table : astropy.table.QTable
        The catalogue.
    """
    info = read_info(read_prepared(job.place).model)
    image = named_bands(opened, info.bands)
    maps = open_pieces(job, pieces, image)
    # Where there are no worker processes, this one has its own.
    here = client.scheduler is not None and str(client.scheduler.address).startswith("inproc")
    table = make_catalog(
        image,
        maps,
        source_options(image, info.settings, maps.kinds, job.options),
        noise=load_noise(job.place / NOISE),
        tile=block_side_in(image, maps, _memory(job), 1),
        workers=job.threads if here else ClusterSpread(client, retries=retries, seconds=job.seconds),
        plane=NamedPlane.create(job.place / PLANE, image.shape),
    )
    return image, maps, table


def _memory(job: Job) -> int:
    return max(parse_memory(job.options.memory) - BASE_MEMORY, 1)


def open_pieces(job: Job, pieces: Sequence[Piece], image: ImageSource) -> PieceMaps:
    """The class maps of all pieces as those of one image."""
    files = [(piece.window, str(job.piece_path(piece))) for piece in pieces]
    with open_fits(files[0][1]) as hdus:
        names = {hdu.name for hdu in hdus[1:]}
        provenance = run_of_header(hdus[0].header)
    kinds = [kind for kind in PLANES if {plane.name for plane in map_planes([kind])} <= names]
    return PieceMaps(image.shape, kinds, files, wcs=image.wcs, provenance=provenance)


def finish_mosaic(job: Job, pieces: Sequence[Piece], client: "Client", *, seconds: float, retries: int = 2) -> Outcome:
    """Label map, catalogue and marker of one large image; as `find_sources`.

    Parameters
    ----------
    job, pieces, client, retries
        As there.
    seconds : float
        What the pieces took.
    """
    start, with_maps = time.perf_counter(), "maps" in job.options.products
    with beside(job.directory) as aside, job.tile.open() as opened:
        image, maps, table = find_sources(job, opened, pieces, client, retries=retries)
        paths = product_paths(job.name, aside, job.options)
        paths.pop("maps", None)
        write_products(paths, image, maps, table, job.options, memory=_memory(job), run=dict(maps.provenance))
        products = {name: fingerprint_product(path) for name, path in paths.items()}
        if with_maps:
            finish = partial(finish_piece, maps=maps, kinds=job.options.planes, compress=job.options.compress)
            made = client.gather(client.map(finish, maps.pieces, pure=False, key="finish"))
            products |= {f"maps {piece.name}": one for piece, one in zip(pieces, made, strict=True)}
        times = {"network": seconds, "catalog": time.perf_counter() - start}
        put_in_place(job, aside, image_summary(opened, table, times), read_prepared(job.place).inputs, products)
    for _, path in () if with_maps else maps.pieces:
        Path(path).unlink(missing_ok=True)
    shutil.rmtree(job.place, ignore_errors=True)
    height, width = image.shape
    return Outcome(job.name, "done", sum(times.values()), height * width, len(table))


def share_out(
    job: Job, pieces: Sequence[Piece], members: Mapping[str, Job], client: "Client", *, seconds: float, retries: int = 2
) -> Iterator[Job]:
    """Jobs that write the products of the tiles of a mosaic: each tile has the sources whose brightest pixel it owns.

    Parameters
    ----------
    job, pieces, client, seconds, retries
        As of `finish_mosaic`; the job's tile is a `~morpheus_lite.survey.mosaic.joined.Mosaic`.
    members : mapping of str to Job
        The job of each tile.
    """
    mosaic = job.tile
    assert isinstance(mosaic, Mosaic)
    start, prepared = time.perf_counter(), read_prepared(job.place)
    with mosaic.open() as opened:
        _, maps, table = find_sources(job, opened, pieces, client, retries=retries)
    each = (seconds + time.perf_counter() - start) / len(mosaic.parts)
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
        yield replace(
            members[name], step="share", mosaic=mosaic.name, share=Share(prepared.model, own, rows, inputs, each)
        )


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
