"""Entry point of ``morpheus``: the list of commands, and which error ends with which exit code."""

import io
import signal
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import click

from morpheus_lite import __version__
from morpheus_lite.errors import InputError, ModelError, MorpheusError, OptionError, OutputError
from morpheus_lite.runtime.atomic import write_failure

COMMANDS = {
    "classify": "Classify images: class maps, segmentation, catalogue, picture.",
    "batch": "Classify the tiles of a survey, resumable, on this machine or a Dask cluster.",
    "catalog": "Measure the sources of a segmentation map, without the network.",
    "simulate": "Simulate fields of galaxies and stars with truth.",
    "train": "Train or fine-tune a network.",
    "evaluate": "Score segmentation maps and catalogues against truth.",
    "calibrate": "Fit a calibration of the probabilities.",
    "export": "Write a model as an ONNX file, for other programs.",
    "models": "Describe the models that are installed, or one in a directory.",
    "info": "Say what is in a product, and how it was made.",
}
"""Name of each command, and the line that ``morpheus --help`` shows."""

_PIPELINE = ("classify", "batch", "catalog")
"""Commands of the module ``pipeline``; all others are in ``tools``."""

EXIT_RUNTIME, EXIT_USAGE, EXIT_FILES, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is run or asked for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"morpheus_lite.cli.{'pipeline' if cmd_name in _PIPELINE else 'tools'}")
        return getattr(module, f"{cmd_name}_command")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = get_close_matches(name, COMMANDS, n=1)
            image = [f"classify {name}"] if ".fits" in name or Path(name).exists() else []
            hints = [f"did you mean morpheus {one}?" for one in (*close, *image)]
            hints.append(f"choose one of {', '.join(COMMANDS)}")
            raise click.UsageError(f"no command {name!r}; {hints[0]}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="morpheus")
def cli() -> None:
    """Per-pixel morphology of deep astronomical images.

    Every pixel becomes spheroid, disk, irregular, point source or background; the pixels become a
    segmentation map and a source catalogue. Start with: morpheus classify image.fits

    Exit codes: 0 ok, 1 runtime error, 2 usage, 3 input that cannot be used or output that cannot be
    written, 4 some images failed, 130 interrupted.
    """


def verdict(error: BaseException) -> tuple[int, str]:
    """The exit code that stands for an error, and what to say of it."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return EXIT_INTERRUPTED, "interrupted; no half-written product was left"
    if isinstance(error, MemoryError):
        return EXIT_RUNTIME, f"there is not enough memory ({error})"
    text, failure = str(error), write_failure(error)
    if isinstance(error, OSError):
        text = (f"{error.filename}: " if error.filename else "") + (failure or error.strerror or text)
    if isinstance(error, OptionError):
        return EXIT_USAGE, text
    is_of_files = failure or isinstance(error, InputError | ModelError | OutputError)
    return EXIT_FILES if is_of_files else EXIT_RUNTIME, text


def main(arguments: list[str] | None = None) -> int:
    """Run ``morpheus`` with the given arguments (default: those of the process) and return its exit code."""
    # A job killed by its scheduler cleans up like one stopped by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names are bytes, and are printed as they are
    try:
        return cli.main(args=arguments, prog_name="morpheus", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, MorpheusError, OSError, MemoryError, ImportError) as error:
        code, text = verdict(error)
        click.echo(f"morpheus: {text}", err=True)
        return code
