"""Run every command once in an environment that has the wheel and one extra, as a user would.

Run with the Python of that environment: ``python every_command.py EXAMPLES WORK [EXTRA]``. A command that needs an
extra that is not there has to say which. ``FEW`` in place of the extra runs a few commands that together load all
dependencies that are there.
"""

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from astropy.io import fits

import morpheus_lite as ml
from morpheus_lite.config.classify import CATALOG_FORMATS, PRODUCTS

MORPHEUS = Path(sys.executable).with_name("morpheus")
TRAINING = """
name = "tuned"
start = "hst"
steps = 2
checkpoint_every = 2
[[stages]]
batch = 2
pool = 8
[[images]]
image = "field.fits"
labels = "truth.fits[LABELS]"
classes = "truth.fits"
held_out = "left 0.35"
"""


def morpheus(*arguments: object, code: int = 0, says: str = "") -> str:
    """Run a command; what it printed, once its exit code and its words are what they should be."""
    started = time.monotonic()
    command = [str(MORPHEUS), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    print(f"{time.monotonic() - started:6.1f} s  exit {done.returncode}  morpheus {' '.join(command[1:])}", flush=True)
    output = done.stdout + done.stderr
    assert done.returncode == code, f"expected exit code {code}:\n{output}"
    assert says in output and "Traceback" not in output, f"expected {says!r}:\n{output}"
    return done.stdout


def cut_tiles(image: Path, folder: Path) -> None:
    """The four quarters of an image, each a file."""
    folder.mkdir()
    for name, rows, columns in (("a", 0, 0), ("b", 0, 1), ("c", 1, 0), ("d", 1, 1)):
        with fits.open(image) as hdus:
            for hdu in hdus[1:]:
                height, width = (length // 2 for length in hdu.shape)
                y, x = rows * height, columns * width
                data = hdu.data[y : y + height, x : x + width]
                hdu.header["CRPIX1"] -= x
                hdu.header["CRPIX2"] -= y
                hdu.data = data
            hdus.writeto(folder / f"{name}.fits")


def check_without_extras(work: Path, field: Path, truth: Path) -> None:
    """All that needs no extra."""
    out, catalogs = work / "out", []
    morpheus("models", says="hst")
    for one in CATALOG_FORMATS:
        products = ",".join(PRODUCTS) if one == CATALOG_FORMATS[0] else "catalog"
        morpheus("classify", field, "-o", out, "--products", products, "--catalog-format", one)
        catalogs.append(out / f"field_catalog.{one}")
        catalogs.append(work / f"measured.{one}")
        morpheus("catalog", field, "--maps", out / "field_morpheus.fits", "-o", catalogs[-1])
    assert len(list(out.iterdir())) >= len(PRODUCTS) + len(CATALOG_FORMATS) - 1, list(out.iterdir())
    lengths = [len(ml.read_catalog(path)) for path in catalogs]
    assert min(lengths) == max(lengths) > 0, f"the catalogues have {lengths} rows"
    records = json.loads(morpheus("info", out / "field_morpheus.fits", *catalogs, "--json"))
    rows = f"{lengths[0]} sources"
    assert all(any(rows in line for line in record["contents"]) for record in records), records
    morpheus("evaluate", "--truth", truth, out / "field_morpheus.fits", "-o", work / "scores", says="purity")
    morpheus("calibrate", "--truth", truth, out / "field_morpheus.fits", says="temperature")
    check_training(work, field)


def check_training(work: Path, field: Path) -> None:
    """``train``, and what it trained."""
    (work / "train.toml").write_text(TRAINING)
    morpheus("train", work / "train.toml", "--run", work / "run", "-o", work / "weights")
    morpheus("classify", field, "-o", work / "tuned", "--model", work / "weights", "--products", "maps")


def check_few(work: Path, field: Path) -> None:
    """One image with all products, a little training, and a survey where Dask is there."""
    products = ",".join(PRODUCTS)
    morpheus("classify", field, "-o", work / "out", "--products", products, "--catalog-format", "parquet")
    assert len(ml.read_catalog(work / "out" / "field_catalog.parquet")) > 0
    check_training(work, field)
    check_batch(work, field)


def check_simulation(work: Path) -> None:
    """``simulate``, or what it says without GalSim."""
    arguments = ("simulate", "--seed", 1, "--shape", 128, 128, "-o", work / "sky")
    if find_spec("galsim") is None:
        morpheus(*arguments, code=2, says="pip install 'morpheus-lite[simulation]'")
        assert not (work / "sky").exists()
        return
    morpheus(*arguments)
    morpheus(*arguments, "--training", says=".npz")
    morpheus("classify", work / "sky" / "field_1.fits", "-o", work / "sky")
    morpheus("evaluate", "--truth", work / "sky" / "field_1_truth.fits", work / "sky" / "field_1_morpheus.fits")


def check_batch(work: Path, field: Path) -> None:
    """``batch`` on four tiles, or what it says without Dask."""
    cut_tiles(field, work / "tiles")
    arguments = ("batch", work / "tiles", "-o", work / "survey", "--workers", 2)
    if find_spec("distributed") is None:
        morpheus(*arguments, code=2, says="pip install 'morpheus-lite[batch]'")
        morpheus("classify", "s3://bucket/field.fits", code=3, says="morpheus-lite[batch]")
        return
    record = json.loads(morpheus(*arguments, "--json"))
    assert record["done_now"] == 4 and not record["failed"] and record["merged"] > 0, record


def main(examples: Path, work: Path, extra: str = "") -> None:
    """Every command, each in a process of its own."""
    work.mkdir()
    field, truth = work / "field.fits", work / "truth.fits"
    field.write_bytes((examples / "demo_field.fits").read_bytes())
    truth.write_bytes((examples / "demo_truth.fits").read_bytes())
    if extra == "FEW":
        return check_few(work, field)
    assert find_spec("pandas") is None, "pandas is here, which no extra names: reading Parquet is not tested"
    for name, package in {"simulation": "galsim", "batch": "distributed"}.items():
        assert (find_spec(package) is not None) == (extra == name), f"extra {extra!r} and {package}"
    check_without_extras(work, field, truth)
    check_simulation(work)
    return check_batch(work, field)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *sys.argv[3:])
