"""The plan of a run: which tiles there are, which are done, and what the others will take."""

import math
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morpheus_lite.config.classify import AUTO, SURVEY_OPTIONS, ClassifyOptions
from morpheus_lite.config.schema import plain_values
from morpheus_lite.errors import InputError
from morpheus_lite.models.registry import list_models, read_info
from morpheus_lite.pipeline.plan import read_psf_files
from morpheus_lite.runtime.resources import parse_memory
from morpheus_lite.survey.jobs import Job
from morpheus_lite.survey.mosaic.joined import MEMBERS, MOSAICS
from morpheus_lite.survey.state import (
    SUMMARY,
    State,
    TileState,
    digest,
    read_json,
    read_states,
    run_of,
    tile_options,
    unrecognized_tiles,
)
from morpheus_lite.survey.tile import Tile

SAMPLE = 16
"""Tiles whose size is looked up for an estimate; surveys have tiles much alike."""

UNCHANGED = (State.DONE, State.CHECK)
"""States of tiles whose products are not known to be stale."""

_BYTES_A_SOURCE = 700


@dataclass(frozen=True, eq=False)
class SurveyPlan:
    """Plan of a run.

    Parameters
    ----------
    root : pathlib.Path
        Output directory.
    tiles : tuple of Tile
        All tiles of the survey.
    states : dict of str to TileState
        State of each tile, by its name.
    options : ClassifyOptions
        Of the survey.
    weights : dict
        sha256 of the weights of each model.
    unrecognized_tiles : tuple of str
        Finished tiles in the directory that do not belong to the survey.
    noise : {"survey", "tile"}
        Whether tiles on one pixel grid are one mosaic.
    """

    root: Path
    tiles: tuple[Tile, ...]
    states: dict[str, TileState]
    options: ClassifyOptions
    weights: dict[str, str]
    unrecognized_tiles: tuple[str, ...] = ()
    noise: str = "tile"

    @property
    def counts(self) -> dict[str, int]:
        """Number of tiles in each state."""
        found = Counter(one.state for one in self.states.values())
        return {str(state): found[state] for state in State}

    @property
    def to_do(self) -> list[Tile]:
        """Tiles that are not done."""
        return [tile for tile in self.tiles if self.states[tile.name].state != State.DONE]

    @property
    def reasons(self) -> dict[str, int]:
        """Reasons why tiles are stale, and the number of tiles of each."""
        return dict(Counter(one.reason for one in self.states.values() if one.reason).most_common())

    @property
    def is_done(self) -> bool:
        """True if there is nothing to do, nor to be found out about tiles that lie beside each other."""
        unknown = self.noise == "survey" and any(one.mosaic is None for one in self.states.values())
        return not self.to_do and not unknown

    def jobs(
        self, run: str, names: Container[str] | None = None, *, threads: int = 1, seconds: float | None = None
    ) -> Iterator[Job]:
        """Jobs for these tiles, or for those that are not done, one after the other."""
        mosaic, values = None if self.noise == "tile" else "", plain_values(self.options, without=("none",))
        for tile in self.to_do if names is None else (one for one in self.tiles if one.name in names):
            made_of, options = run_of(tile, self.options, self.weights, values), tile_options(tile, self.options)
            state = self.states[tile.name].state
            yield Job(tile, options, str(self.root), run, made_of, state, threads, seconds, mosaic=mosaic)


def survey_options(options: ClassifyOptions | None) -> ClassifyOptions:
    """The options of a survey: the catalogues of its tiles are Parquet, which merging needs."""
    options = read_psf_files(options or SURVEY_OPTIONS)
    products = tuple(dict.fromkeys((*options.products, "catalog")))
    return replace(options, catalog_format="parquet", columns="photutils", overwrite=True, products=products)


def make_plan(
    tiles: Sequence[Tile], root: Path, options: ClassifyOptions, *, noise: str = "tile", verify: bool = False
) -> SurveyPlan:
    """Look at what is there, and find out what is to do; no image is opened.

    Parameters
    ----------
    tiles : sequence of Tile
        The tiles of the survey.
    root : path
        Output directory, which need not exist.
    options : ClassifyOptions
        From `survey_options`.
    noise : {"survey", "tile"}
        Whether tiles on one pixel grid are one mosaic.
    verify : bool
        Compare the checksums of all products.

    Raises
    ------
    OptionError
        The options of a tile are impossible.
    ModelError
        A model is unknown.
    """
    models = {tile_options(tile, options).model if tile.options else options.model for tile in tiles}
    weights = {model: _weights(model) for model in models}
    noise = noise if len(tiles) > 1 else "tile"  # a single one has no neighbours
    states = _beside_each_other(root, read_states(root, tiles, options, weights, verify=verify), noise)
    unrecognized = tuple(unrecognized_tiles(root, tiles))
    return SurveyPlan(root, tuple(tiles), states, options, weights, unrecognized, noise)


def _beside_each_other(root: Path, states: Mapping[str, TileState], noise: str) -> dict[str, TileState]:
    """The states, where tiles of a mosaic are not done if another tile of it is not."""
    done = {name: one.mosaic for name, one in states.items() if one.state in UNCHANGED}
    reasons = {}
    for mosaic in {name for name in done.values() if name}:
        members = (read_json(root / MOSAICS / mosaic / MEMBERS) or {}).get("tiles", [])
        is_whole = members and all(done.get(member) == mosaic for member in members)
        reasons[mosaic] = "" if is_whole else "a tile on the same grid has changed"
        reasons[mosaic] = "noise was survey, is tile" if noise == "tile" else reasons[mosaic]
    stale = {name: reason for name, mosaic in done.items() if (reason := reasons.get(mosaic or "", ""))}
    return {**states, **{name: TileState(State.STALE, reason) for name, reason in stale.items()}}


def _weights(model: str) -> str:
    """sha256 of a model's weights; of those of all that may be chosen, where each tile has the one that suits it."""
    return digest([info.sha256 for info in list_models()]) if model == AUTO else read_info(model).sha256


def estimate(plan: SurveyPlan) -> dict[str, Any]:
    """A plan as plain values, with time, disk and memory that it takes, as finished tiles say where there are any.

    Opens up to `SAMPLE` images for their size, none as a whole.
    """
    to_do, sizes, problems = plan.to_do, [], []
    for tile in to_do[:: max(1, len(to_do) // SAMPLE)][:SAMPLE]:
        try:
            with tile.open() as source:
                sizes.append((source.shape[0] * source.shape[1], source.n_bands))
        except InputError as error:
            problems.append(str(error))
    mean = sum(size for size, _ in sizes) / max(len(sizes), 1)
    largest, n_bands = max(sizes, default=(0, 0))
    in_windows = plan.options.model != AUTO and read_info(plan.options.model).has_windows
    rate, per_pixel, origin = _measured(plan) or _typical(plan.options, in_windows=in_windows)
    n_pixels = round(mean * len(to_do))
    return {
        "tiles": len(plan.tiles),
        **plan.counts,
        "reasons": plan.reasons,
        "unrecognized_tiles": list(plan.unrecognized_tiles),
        "n_pixels": n_pixels,
        "core_seconds": round(n_pixels / rate, 1),
        "disk": round(n_pixels * per_pixel),
        "memory_per_worker": min(round(0.9e9 + largest * (9 * n_bands + 40)), parse_memory(plan.options.memory)),
        "based_on": f"from {origin}, and the size of {len(sizes)} {'image' if len(sizes) == 1 else 'images'}",
        "problems": problems,
    }


def _measured(plan: SurveyPlan) -> tuple[float, float, str] | None:
    """Pixels per core-second and bytes per pixel of tiles that are done."""
    done = [tile for tile in plan.tiles if plan.states[tile.name].state == State.DONE]
    pixels = seconds = disk = 0.0
    for tile in done[:: max(1, len(done) // SAMPLE)][:SAMPLE]:
        directory = tile.directory(plan.root)
        if summary := read_json(directory / SUMMARY):
            pixels += math.prod(summary["footprint"]["shape"])
            seconds += sum(summary["seconds"].values())
            disk += sum(path.stat().st_size for path in directory.iterdir())
    return (pixels / seconds, disk / pixels, "tiles that are done") if pixels and seconds else None


def _typical(options: ClassifyOptions, *, in_windows: bool) -> tuple[float, float, str]:
    """The same where none is done."""
    rate, maps = (13_000.0, 69.0) if in_windows else (250_000.0, 29.0)
    maps *= ("maps" in options.products) * (0.5 if options.compress else 1)
    return rate, maps + _BYTES_A_SOURCE / 2500, "typical rates"
