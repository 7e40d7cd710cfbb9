"""The sources of a mosaic whose pieces are classified: found, split and measured as if it were whole."""

import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morpheus_lite.config.classify import PLANES
from morpheus_lite.io import open_image
from morpheus_lite.io.fitsfile import open_fits
from morpheus_lite.io.maps import map_planes
from morpheus_lite.io.run_header import run_of_header
from morpheus_lite.models.registry import read_info
from morpheus_lite.pipeline.classify import make_catalog
from morpheus_lite.pipeline.plan import block_side_in, named_bands, source_options
from morpheus_lite.pipeline.products import product_paths, write_products
from morpheus_lite.runtime.atomic import temporary_path
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
from morpheus_lite.survey.mosaic.pieces import ClusterSpread, NamedPlane, PieceMaps, SentSource, finish_piece
from morpheus_lite.survey.scheduler.jobs import Job, Outcome
from morpheus_lite.survey.scheduler.work import image_summary
from morpheus_lite.survey.state.tile_state import SUMMARY, fingerprint_product, tile_directory, write_json, write_marker

if TYPE_CHECKING:
    from distributed import Client

BASE_MEMORY = 900_000_000
"""Bytes that a worker process holds before it works on sources."""


def finish_mosaic(job: Job, pieces: Sequence[Piece], client: "Client", *, seconds: float, retries: int = 2) -> Outcome:
    """Label map, catalogue and marker of a mosaic; sources are worked on by all workers.

    Parameters
    ----------
    job : Job
        The mosaic.
    pieces : sequence of Piece
        All of its pieces, which are classified.
    client : distributed.Client
        Of the cluster.
    seconds : float
        What the pieces took.
    retries : int
        How often work on sources that failed is tried again.
    """
    start = time.perf_counter()
    directory = tile_directory(Path(job.root), job.tile.name)
    prepared = read_prepared(directory)
    info = read_info(prepared.model)
    aside = temporary_path(directory)
    aside.mkdir()
    try:
        with open_image(job.tile.image, **job.tile.read_options) as opened:
            image = SentSource(named_bands(opened, info.bands).description)
        maps = open_pieces(job, pieces, image)
        memory = parse_memory(job.options.memory) - BASE_MEMORY
        table = make_catalog(
            image,
            maps,
            source_options(image, info.settings, maps.kinds, job.options),
            noise=load_noise(piece_directory(directory) / NOISE),
            tile=block_side_in(image, maps, max(memory, 1), 1),
            workers=ClusterSpread(client, retries=retries, seconds=job.seconds),
            plane=NamedPlane.create(piece_directory(directory) / PLANE, image.shape),
        )
        paths = product_paths(job.tile.name, aside, job.options)
        paths.pop("maps", None)
        write_products(paths, image, maps, table, job.options, memory=memory, run=dict(maps.provenance))
        image.close()
        times = {"network": seconds, "catalog": time.perf_counter() - start}
        summary = image_summary(job.tile, table, times)
        _put_in_place(job, pieces, directory, paths, summary, client)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Outcome(job.tile.name, "done", seconds + times["catalog"], image.shape[0] * image.shape[1], len(table))


def open_pieces(job: Job, pieces: Sequence[Piece], image: SentSource) -> PieceMaps:
    """The class maps of all pieces as those of one image."""
    directory = tile_directory(Path(job.root), job.tile.name)
    files = [(piece.window, str(piece_product(directory, job.tile.name, piece.name))) for piece in pieces]
    with open_fits(files[0][1]) as hdus:
        names = {hdu.name for hdu in hdus[1:]}
        provenance = run_of_header(hdus[0].header)
    kinds = [kind for kind in PLANES if {plane.name for plane in map_planes([kind])} <= names]
    return PieceMaps(image.shape, kinds, files, wcs=image.wcs, provenance=provenance)


def _put_in_place(
    job: Job,
    pieces: Sequence[Piece],
    directory: Path,
    paths: Mapping[str, Path],
    summary: Mapping[str, Any],
    client: "Client",
) -> None:
    """Move the products, and mark the mosaic as done."""
    prepared, options = read_prepared(directory), job.options
    files = {piece.name: piece_product(directory, job.tile.name, piece.name) for piece in pieces}
    products: dict[str, Any] = {}
    if "maps" in options.products:
        finish = partial(finish_piece, kinds=options.planes, compress=options.compress)
        found = client.gather(client.map(finish, [str(path) for path in files.values()], pure=False, key="finish"))
        products = {f"maps {name}": one for name, one in zip(files, found, strict=True)}
    for name, path in paths.items():
        path.replace(directory / path.name)
        products[name] = fingerprint_product(directory / path.name)
    write_json(directory / SUMMARY, summary)
    write_marker(directory, job.made_of, prepared.inputs, products)
    if "maps" not in options.products:
        for path in files.values():
            path.unlink(missing_ok=True)
    shutil.rmtree(piece_directory(directory), ignore_errors=True)
