"""The sources of a mosaic whose pieces are classified: found, split and measured as if it were whole."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from morpheus_lite.survey.mosaic.geometry import (
    NOISE,
    PLANE,
    Piece,
    load_noise,
    piece_directory,
    piece_product,
    read_prepared,
)
from morpheus_lite.survey.mosaic.joined import MEMBERS, Mosaic
from morpheus_lite.survey.mosaic.pieces import ClusterSpread, NamedPlane, PieceMaps, finish_piece
from morpheus_lite.survey.scheduler.jobs import Job, Outcome, Share
from morpheus_lite.survey.scheduler.work import beside, image_summary, put_in_place
from morpheus_lite.survey.state.tile_state import fingerprint_product, write_json

if TYPE_CHECKING:
    from distributed import Client

BASE_MEMORY = 900_000_000
"""Bytes that a worker process holds before it works on sources."""


@dataclass(frozen=True, eq=False)
class Classified:
    """A mosaic whose pieces are classified, with its catalogue.

    Parameters
    ----------
    image : ImageSource
        The image.
    maps : PieceMaps
        Its class maps and labels, piece by piece.
    table : astropy.table.QTable
        The catalogue.
    model : str
        Name of the model.
    memory : int
        Bytes that may be used.
    """

    image: ImageSource
    maps: PieceMaps
    table: QTable
    model: str
    memory: int


def find_sources(job: Job, pieces: Sequence[Piece], client: "Client", *, retries: int = 2) -> Classified:
    """Find, split and measure the sources of a mosaic, on all workers.

    Parameters
    ----------
    job : Job
        The mosaic.
    pieces : sequence of Piece
        All of its pieces, which are classified.
    client : distributed.Client
        Of the cluster.
    retries : int
        How often work on sources that failed is tried again.
    """
    prepared = read_prepared(job.directory)
    info = read_info(prepared.model)
    image = named_bands(job.tile.open(), info.bands)
    maps = open_pieces(job, pieces, image)
    memory = parse_memory(job.options.memory) - BASE_MEMORY
    # Where there are no worker processes, this one has its own.
    here = client.scheduler is not None and str(client.scheduler.address).startswith("inproc")
    spread = ClusterSpread(client, retries=retries, seconds=job.seconds)
    table = make_catalog(
        image,
        maps,
        source_options(image, info.settings, maps.kinds, job.options),
        noise=load_noise(piece_directory(job.directory) / NOISE),
        tile=block_side_in(image, maps, max(memory, 1), 1),
        workers=job.threads if here else spread,
        plane=NamedPlane.create(piece_directory(job.directory) / PLANE, image.shape),
    )
    return Classified(image, maps, table, prepared.model, memory)


def finish_mosaic(job: Job, pieces: Sequence[Piece], client: "Client", *, seconds: float, retries: int = 2) -> Outcome:
    """Label map, catalogue and marker of one large image; as `find_sources`.

    Parameters
    ----------
    job, pieces, client, retries
        As there.
    seconds : float
        What the pieces took.
    """
    start = time.perf_counter()
    with beside(job.directory) as aside:
        found = find_sources(job, pieces, client, retries=retries)
        paths = product_paths(job.tile.name, aside, job.options)
        paths.pop("maps", None)
        run = dict(found.maps.provenance)
        write_products(paths, found.image, found.maps, found.table, job.options, memory=found.memory, run=run)
        found.image.close()
        products = {name: fingerprint_product(path) for name, path in paths.items()}
        if "maps" in job.options.products:
            finish = partial(finish_piece, maps=found.maps, kinds=job.options.planes, compress=job.options.compress)
            made = client.gather(client.map(finish, found.maps.pieces, pure=False, key="finish"))
            products |= {f"maps {piece.name}": one for piece, one in zip(pieces, made, strict=True)}
        times = {"network": seconds, "catalog": time.perf_counter() - start}
        with job.tile.open() as source:
            summary = image_summary(source, found.table, times)
        put_in_place(job, aside, summary, read_prepared(job.directory).inputs, products)
    if "maps" not in job.options.products:
        for _, path in found.maps.pieces:
            Path(path).unlink(missing_ok=True)
    shutil.rmtree(piece_directory(job.directory), ignore_errors=True)
    height, width = found.image.shape
    return Outcome(job.tile.name, "done", seconds + times["catalog"], height * width, len(found.table))


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
    start = time.perf_counter()
    inputs = read_prepared(job.directory).inputs
    found = find_sources(job, pieces, client, retries=retries)
    found.image.close()
    each = (seconds + time.perf_counter() - start) / len(mosaic.parts)
    peaks = [np.asarray(found.table[f"{axis}_peak"].value) for axis in "yx"]
    owners = mosaic.owners(*peaks)
    for band, distance in mosaic.distances_without(*peaks).items():
        text = f"distance of the brightest pixel from the nearest tile without {band}, 0 inside"
        found.table[f"no_data_distance_{band}"] = Column(distance, unit="pix", description=text)
    for number, part in enumerate(mosaic.parts):
        name, window = part.tile.name, part.window
        touching = [(piece.relative_to(window), path) for piece, path in found.maps.pieces if piece.touches(window)]
        yield replace(
            members[name],
            step="share",
            share=Share(
                mosaic.name,
                found.model,
                tuple(touching),
                found.maps.kinds,
                _seen_from(window, {**found.maps.provenance, "image": name, "mosaic": mosaic.name}),
                _rows_seen_from(window, found.table[owners == number]),
                {role.removeprefix(f"{name}/"): one for role, one in inputs.items() if role.startswith(f"{name}/")},
                each,
            ),
        )


def close_mosaic(job: Job) -> None:
    """Remove what a mosaic needed while it was made, and keep the names of its tiles: their products are in place."""
    assert isinstance(job.tile, Mosaic)
    shutil.rmtree(piece_directory(job.directory), ignore_errors=True)
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


def open_pieces(job: Job, pieces: Sequence[Piece], image: ImageSource) -> PieceMaps:
    """The class maps of all pieces as those of one image."""
    files = [(piece.window, str(piece_product(job.directory, job.tile.name, piece.name))) for piece in pieces]
    with open_fits(files[0][1]) as hdus:
        names = {hdu.name for hdu in hdus[1:]}
        provenance = run_of_header(hdus[0].header)
    kinds = [kind for kind in PLANES if {plane.name for plane in map_planes([kind])} <= names]
    return PieceMaps(image.shape, kinds, files, wcs=image.wcs, provenance=provenance)
