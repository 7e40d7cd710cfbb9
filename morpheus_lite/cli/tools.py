"""The commands beside the pipeline, from ``simulate`` to ``train``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morpheus_lite.cli.options import (
    DIRECTORY,
    FILE,
    PATH,
    Command,
    common,
    complete_file,
    complete_model,
    grouped_option,
    options_of,
    progress_bar,
)
from morpheus_lite.config.tools import CalibrateOptions, ExportOptions, SimulateOptions
from morpheus_lite.errors import OptionError

if TYPE_CHECKING:
    from morpheus_lite.models.registry import ModelInfo

CURVES = "training_curves.png"
"""Picture of the log, in the directory of the run and in that of the weights."""


@click.command("simulate", cls=Command)
@options_of(SimulateOptions, "options", short={"count": "-n"})
@grouped_option("-o", "--output", type=DIRECTORY, default=".", help="Where the fields go.")
@common
def simulate_command(output: Path, options: SimulateOptions, quiet: bool, as_json: bool) -> None:
    """Simulate fields of galaxies and stars: an image and a truth file each.

    The truth holds the label map, the class of every pixel, and a table of what was drawn. With --training: fields
    with more bright sources and evenly mixed classes, which `morpheus train` shows under ever new noise. Needs GalSim
    (pip install 'morpheus-lite[simulation]').
    """
    from morpheus_lite.simulation import simulate, write_training_field

    same: dict[str, Any] = {name: getattr(options, name) for name in ("shape", "pixel_scale", "overwrite")}
    same["bands"] = [band.upper() for band in options.bands]
    paths: list[str] = []
    with progress_bar("fields", quiet=quiet) as progress:
        for number in range(options.count):
            seed = options.seed + number
            if options.training:
                made = [write_training_field(output, seed=seed, **same)]
            else:
                made = list(simulate(output, seed=seed, **same, depth=options.depth, conditions=options.conditions))
            if progress:
                progress(number + 1, options.count)
            paths += map(str, made)
            if not as_json:
                click.echo("\n".join(map(str, made)))
    if as_json:
        click.echo(json.dumps({"products": paths}, indent=2))


@click.command("evaluate", cls=Command)
@grouped_option(
    "--truth", "truths", type=PATH, required=True, multiple=True,
    help="Truth file, as morpheus simulate writes it; once per field.",
)  # fmt: skip
@grouped_option("--image", type=PATH, help="The image, where it is not beside the truth.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=PATH)
@grouped_option("-o", "--output", type=DIRECTORY, help="Directory for tables, JSON and figures.")
@grouped_option("--overwrite", is_flag=True, help="Replace files that exist.")
@common
def evaluate_command(
    truths: tuple[Path, ...],
    image: Path | None,
    results: tuple[Path, ...],
    output: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score segmentation maps and catalogues of any tool against truth.

    RESULT is a product of morpheus classify, or any FITS label map (SExtractor's, photutils', ...): completeness
    and purity against magnitude, splits and blends, overlap, classes, reliability, photometry.

    Several fields are pooled: --truth A --truth B RESULT_A RESULT_B, then the same of the next tool.
    """
    from morpheus_lite.evaluation import evaluate_files, format_scores, summarise

    scores = evaluate_files(truths, results, output, image=image, overwrite=overwrite)
    click.echo(json.dumps([summarise(score) for score in scores], indent=2) if as_json else format_scores(scores))


@click.command("calibrate", cls=Command)
@grouped_option("--truth", "truths", multiple=True, required=True, type=PATH, help="Truth file; one per result.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=PATH)
@options_of(CalibrateOptions, "options")
@common
def calibrate_command(truths: tuple[Path, ...], results: tuple[Path, ...], options: CalibrateOptions) -> None:
    """Fit a calibration to fields with truth that the model was not trained on, and print it as JSON.

    It goes into "settings" of the model's config.json under "calibration"; that of sources, which comes after it and
    takes truth files with images, under "source_calibration".
    """
    from morpheus_lite.evaluation import calibrate_files, calibrate_source_files

    if options.sources:
        fitted = calibrate_source_files(truths, results).to_dict()
    else:
        fitted = calibrate_files(truths, results, bias=options.bias, seed=options.seed).to_dict()
    click.echo(json.dumps(fitted, indent=2))


@click.command("export", cls=Command)
@click.argument("model", shell_complete=complete_model)
@grouped_option("-o", "--output", type=FILE, help="File to write (default: MODEL.onnx here).")
@options_of(ExportOptions, "options")
@common
def export_command(model: str, output: Path | None, options: ExportOptions, as_json: bool) -> None:
    """Write MODEL, a shipped model or a model directory, as an ONNX file.

    \b
    Images of any size:     morpheus export hst -o hst.onnx
    For SourceXtractor++:   morpheus export any --sourcextractor 544 -o any_544.onnx
    """
    from morpheus_lite.models.onnx_file import export_model

    settings = {name: getattr(options, name) for name in ("with_normalization", "sourcextractor_tile", "overwrite")}
    path = export_model(model, output or Path(f"{Path(model).name}.{options.format}"), **settings)
    click.echo(json.dumps({"model": model, "file": str(path)}) if as_json else path)


@click.command("models", cls=Command)
@click.argument("models", nargs=-1, metavar="[NAME|DIRECTORY]...", shell_complete=complete_model)
@grouped_option("--card", is_flag=True, help="Print the card of each model: training, scores, limits.")
@common
def models_command(models: tuple[str, ...], card: bool, as_json: bool) -> None:
    """Describe models: what they are for, bands, pixel scale, and scores on fields with truth.

    \b
    The shipped models:           morpheus models
    Weights of your own:          morpheus models my_weights/
    The card of a shipped model:  morpheus models hst --card
    """
    from morpheus_lite.models.registry import list_models, read_card, read_info

    found = [(name, read_info(name)) for name in models] or [(model.name, model) for model in list_models()]
    if as_json:
        records = [asdict(model) | ({"card": read_card(name)} if card else {}) for name, model in found]
        click.echo(json.dumps(records, indent=2))
        return
    for name, model in found:
        click.echo(read_card(name) if card else "\n".join(_describe(model)))


def _describe(model: "ModelInfo") -> Iterator[str]:
    """Lines about a model."""
    yield model.name
    yield f"  {model.description}"
    low, high = model.settings.get("domain", {}).get("pixel_scale", (None, None))
    scale = f'{model.pixel_scale}"' if model.pixel_scale else f'{low} to {high}"' if low else "any scale"
    yield f"  bands: {', '.join(model.bands) or 'any'}; pixels: {scale}; sha256 {model.sha256[:12]}"
    if "scores" in model.settings:
        yield from describe_scores(model.settings["scores"])


def describe_scores(scores: Mapping[str, Any]) -> Iterator[str]:
    """Lines about the scores of a model, as ``tests/benchmarks/score_weights.py --store`` wrote them."""
    yield f"  on {scores['fields']}: IoU of source and sky {scores['iou']:.2f}, calibration error {scores['ece']:.3f}"
    for title, key in (("H (AB)", "h_mag"), ("found", "found"), ("class right", "class_right")):
        shown = (one if isinstance(one, str) else f"{one:.2f}" for one in (row[key] for row in scores["bins"]))
        yield f"    {title:12s}" + "".join(f"{one:>8s}" for one in shown)


@click.command("info", cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=PATH)
@common
def info_command(files: tuple[Path, ...], as_json: bool) -> None:
    """Say what is in a FITS product or catalogue and how it was made, or how an image is read.

    Of an image: its bands with their units, AB zero-points and the keywords these come from, and the planes of noise
    and bad pixels.
    """
    from morpheus_lite.io import describe_product

    records = [describe_product(path) for path in files]
    if as_json:
        click.echo(json.dumps(records, indent=2, default=str))
        return
    for record in records:
        run = [f"{key:<12} {value}" for key, value in record["run"].items()]
        contents = [f"- {line}" for line in record["contents"]]
        click.echo("\n  ".join([record["file"], *run, *contents, *_image_lines(record)]))


def _image_lines(record: dict[str, Any]) -> list[str]:
    """Describe how an image is read: a line for the pixel scale, one per band; ``[1]`` is an HDU of this file."""
    if "problem" in record:
        return [f"not read as an image: {record['problem']}"]
    if "bands" not in record:
        return []
    scale = record["pixel_scale"]
    lines = ["read as an image, " + ("without a WCS" if scale is None else f'{scale:g}" per pixel')]
    for name, band in record["bands"].items():
        source, system = band["zero_point_source"], band["zero_point_system"]
        known = band["zero_point"] is not None
        calibration = f"zero-point {band['zero_point']} {system}" if known else "no AB zero-point"
        origin = "" if source is None else f" ({source})" if known else f" ({source}, system {system})"
        planes = [*band["noise"], *(f"mask: {mask}" for mask in band["masks"])]
        parts = [band["origin"], f"unit {band['unit'] or 'not stated'}", calibration + origin, *planes]
        lines.append(f"band {name}: {'; '.join(parts)}".replace(f"{record['file']}[", "["))
    return lines


@click.command("train", cls=Command)
@click.argument("source", metavar="CONFIG.toml|IMAGE", shell_complete=complete_file)
@grouped_option("--corrections", type=FILE, help="Corrections that the report saved; the argument is then the image.")
@grouped_option("--labels", metavar="FILE", help="With --corrections: class maps of the run.  [default: found]")
@grouped_option("--start", metavar="MODEL", help="With --corrections: model to fine-tune.  [default: that of the run]")
@grouped_option(
    "--run", "run_directory", type=DIRECTORY,
    help="Checkpoints and log, from which it goes on.  [default: run or OUTPUT_run]",
)  # fmt: skip
@grouped_option(
    "-o", "--output", type=DIRECTORY, required=True, help="Directory of the weights, which --model then takes."
)
@common
def train_command(
    source: str,
    corrections: Path | None,
    labels: str | None,
    start: str | None,
    run_directory: Path | None,
    output: Path,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train the network that CONFIG.toml describes, and write its weights directory.

    On simulated fields, on observed images with labels and classes, or on both; from random numbers, or from an
    existing model (fine-tuning). With --corrections FILE IMAGE, fine-tune a model with what a person corrected in its
    report of the image, and say what got better on sources that were held out.
    """
    if corrections is None and (labels is not None or start is not None):
        raise OptionError("--labels and --start go with --corrections; a CONFIG.toml says both itself")
    if corrections is None and ".fits" in source.lower():
        raise OptionError(f"{source} is an image: give --corrections FILE with it, or a CONFIG.toml instead")
    run_directory = run_directory or (Path("run") if corrections is None else output.with_name(f"{output.name}_run"))
    from morpheus_lite.models.engines import import_tensorflow_quietly

    import_tensorflow_quietly()
    from morpheus_lite.training import read_config
    from morpheus_lite.training.config import configure
    from morpheus_lite.training.curves import save_training_curves
    from morpheus_lite.training.export import TRAINING_LOG, export
    from morpheus_lite.training.fit import train
    from morpheus_lite.training.source_scores import improvement

    def report(row: dict) -> None:
        save_training_curves(run_directory / TRAINING_LOG, run_directory / CURVES)
        if not quiet:
            click.echo("  ".join(f"{key} {value:.4g}" for key, value in row.items()), err=True)

    settings = configure(corrections, source, labels=labels, start=start) if corrections else read_config(source)
    train(settings, run_directory, progress=report)
    info = export(settings, run_directory, output)
    better = improvement(run_directory, info.settings["step"]) if settings.start else None
    save_training_curves(run_directory / TRAINING_LOG, output / CURVES)
    if as_json:
        told = {} if better is None else {"held_out": better.to_dict()}
        click.echo(json.dumps({"weights": str(output), "run": str(run_directory)} | told))
    else:
        click.echo(output if better is None or quiet else f"{better}\n{output}")
