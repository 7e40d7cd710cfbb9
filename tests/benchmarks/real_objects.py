"""Real objects that a person can name, as a set of one-pass weights sees them: a table, and pictures to look at.

    python tests/benchmarks/real_objects.py WEIGHTS [--shared DIR] [--output DIR]

WEIGHTS is a weights directory, or the directory of a training run (its last checkpoint). Nothing here is ever trained
on. Needs the real data kept outside the repository.
"""

import argparse
import csv
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io import read_image
from morpheus_lite.models.network_config import OnePassConfig, stage_margins
from morpheus_lite.models.networks import build_onepass
from morpheus_lite.noise.background_mesh import measure_background, normalize
from morpheus_lite.pipeline.classify import classify
from morpheus_lite.training.checkpoint import load_state
from morpheus_lite.training.validation import predict_probability

BANDS = ("F160W", "F125W", "F606W", "F850LP")

# name: x, y, radius (px), classes that a person would accept
XDF_OBJECTS = {
    "bright star": (116, 380, 25, {"point_source"}),
    "large spiral": (224, 400, 45, {"disk"}),
    "clumpy A": (437, 79, 14, {"irregular", "disk"}),
    "clumpy B": (363, 10, 14, {"irregular", "disk"}),
    "smooth A": (357, 458, 7, {"spheroid"}),
    "smooth B": (302, 405, 9, {"spheroid"}),
    "smooth C": (485, 351, 7, {"spheroid"}),
}
COLOURS = np.array([[0.9, 0.2, 0.2], [0.25, 0.45, 1.0], [0.2, 0.8, 0.3], [1.0, 0.9, 0.2]])

Predict = Callable[[SkyImage], np.ndarray]


def load(path: Path) -> tuple[OnePassConfig, Predict]:
    """The network in a weights directory or training run, as a function of an image."""
    if (path / "config.json").exists():
        from morpheus_lite.models.registry import load_model

        model = load_model(str(path))
        return OnePassConfig.from_dict(model.network), lambda image: classify(image, model).probability
    config = OnePassConfig.from_dict(json.loads((path / "training.json").read_text())["model"])
    network = build_onepass(config)
    network.set_weights(load_state(path / "state.npz")[0]["mean"])

    def predict(image: SkyImage) -> np.ndarray:
        snr, valid = normalize(image, measure_background(image))
        factor = config.factor
        margin = -(-stage_margins(config)["input"] // factor) * factor
        pad = [(margin, margin + -length % factor) for length in image.shape]
        snr, valid = (np.pad(a, (*pad, (0, 0))) for a in (snr, valid))
        height, width = image.shape
        return predict_probability(network, snr, valid)[margin : margin + height, margin : margin + width]

    return config, predict


def xdf(shared: Path) -> SkyImage:
    """The XDF field, without its RMS planes."""
    with fits.open(shared / "data/xdf_hudf/xdf_hjvz.fits.gz") as hdus:
        data = np.stack([hdus[f"{band}_SCI"].data for band in BANDS], axis=-1).astype(np.float32)
    return SkyImage(np.nan_to_num(data), BANDS, np.isfinite(data), name="XDF")


def stamps(shared: Path) -> dict[str, tuple[SkyImage, np.ndarray]]:
    """Stamps of spheroids in CANDELS, each with the segmentation map it came with."""
    found = {}
    for path in sorted((shared / "data/kartaltepe_stamps").glob("*.tar.gz")):
        planes = {}
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                content = io.BytesIO(archive.extractfile(member).read())
                planes[member.name.rsplit("_", 1)[1].removesuffix(".fits")] = fits.getdata(content)
        data = np.stack([planes[b] for b in "hjvz"], axis=-1).astype(np.float32)
        image = SkyImage(np.nan_to_num(data), BANDS, np.isfinite(data), name=path.name.removesuffix(".tar.gz"))
        found[image.name] = image, planes["segmap"]
    return found


def only(image: SkyImage, band: str) -> SkyImage:
    """The image with all other bands invalid."""
    keep = np.array([b == band for b in image.bands])
    return SkyImage(image.data * keep, image.bands, image.valid & keep, name=f"{image.name} {band}")


def class_shares(probability: np.ndarray, flux: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Flux-weighted shares of the four source classes in a region."""
    weight = np.where(region, np.maximum(flux, 0), 0)
    shares = (probability[..., :BACKGROUND] * weight[..., None]).sum(axis=(0, 1))
    return shares / max(shares.sum(), 1e-9)


def check_xdf(image: SkyImage, predict: Predict, views: dict[str, np.ndarray]) -> int:
    """Print how the named objects come out; return how many are right with all bands."""
    y, x = np.indices(image.shape)
    flux, right_of_all = image.data[..., 0], 0
    for view in ("all", *BANDS):
        probability = views[view] = predict(image if view == "all" else only(image, view))
        source = probability[..., BACKGROUND] < 0.5
        shares = [(probability[..., :BACKGROUND].argmax(-1)[source] == k).mean() for k in range(BACKGROUND)]
        print(f"XDF {view:7s} source pixels {source.mean():.3f}; of these", end=" ")
        print(", ".join(f"{name} {share:.2f}" for name, share in zip(SOURCE_CLASSES, shares, strict=True)))
        n_right = 0
        for name, (x0, y0, radius, accepted) in XDF_OBJECTS.items():
            share = class_shares(probability, flux, (x - x0) ** 2 + (y - y0) ** 2 < radius**2)
            right = SOURCE_CLASSES[share.argmax()] in accepted
            n_right += right
            print(
                f"    {'  ' if right else 'X '}{name:13s}",
                " ".join(f"{c} {s:.2f}" for c, s in zip(SOURCE_CLASSES, share, strict=True)),
            )
        print(f"    {n_right} of {len(XDF_OBJECTS)}")
        right_of_all = n_right if view == "all" else right_of_all
    return right_of_all


def check_stamps(shared: Path, predict: Predict) -> int:
    """Print how the stamps come out; return how many are spheroids."""
    n_right, lines = 0, []
    for name, (image, segmap) in stamps(shared).items():
        middle = segmap[segmap.shape[0] // 2, segmap.shape[1] // 2]
        share = class_shares(predict(image), image.data[..., 0], segmap == middle)
        n_right += SOURCE_CLASSES[share.argmax()] == "spheroid"
        lines.append(f"{name} " + "/".join(f"{s:.2f}" for s in share))
    print(f"stamps: {n_right} of {len(lines)} spheroid")
    print("    " + "\n    ".join("   ".join(lines[i : i + 3]) for i in range(0, len(lines), 3)))
    return n_right


def check_named(shared: Path, predict: Predict) -> tuple[int, int]:
    """Print how objects of other cameras come out, one image each as it is read; return how many are right, of all."""
    folder, right = shared / "data/named_objects", defaultdict(list)
    rows = [row for row in csv.DictReader((folder / "labels.csv").read_text().splitlines()) if row]
    for name in dict.fromkeys(row["file"] for row in rows):
        image = read_image(folder / name)
        probability = predict(image)
        y, x = np.indices(image.shape)
        for row in (one for one in rows if one["file"] == name):
            x0, y0, radius = (float(row[key]) for key in ("x", "y", "radius"))
            share = class_shares(probability, image.data[..., 0], (x - x0) ** 2 + (y - y0) ** 2 <= radius**2)
            right[row["camera"]].append(SOURCE_CLASSES[share.argmax()] in row["accept"].split("|"))
            if not right[row["camera"]][-1]:
                shares = " ".join(f"{c} {s:.2f}" for c, s in zip(SOURCE_CLASSES, share, strict=True))
                print(f"    X {name} {row['x']}, {row['y']} ({row['accept']}): {shares}")
    print("named objects: " + ", ".join(f"{camera} {sum(r)} of {len(r)}" for camera, r in right.items()))
    return sum(map(sum, right.values())), len(rows)


def paint(probability: np.ndarray) -> np.ndarray:
    """Class map in colour: hue of the mean class, brightness of the source probability."""
    colour = probability[..., :BACKGROUND] @ COLOURS
    return np.clip(colour, 0, 1)


def save_picture(path: Path, image: SkyImage, views: dict[str, np.ndarray]) -> None:
    """The image and its class maps, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(views) + 1, figsize=(6 * (len(views) + 1), 6.3), layout="constrained")
    snr = normalize(image, measure_background(image))[0].mean(axis=-1)
    axes[0].imshow(np.arcsinh(snr), vmin=-1, vmax=5, cmap="gray", origin="lower")
    for axis, (name, probability) in zip(axes[1:], views.items(), strict=True):
        axis.imshow(paint(probability), origin="lower")
        axis.set_title(name)
    for axis in axes:
        axis.axis("off")
    figure.savefig(path, dpi=75)
    plt.close(figure)


def main() -> None:
    """Check one set of weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    parser.add_argument("--output", type=Path, default=Path("real_objects"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    config, predict = load(options.weights)
    image, views = xdf(options.shared), {}
    check_xdf(image, predict, views)
    save_picture(options.output / "xdf.png", image, views)
    check_stamps(options.shared, predict)
    if not config.bands:
        print("{} of {}".format(*check_named(options.shared, predict)))
    with fits.open(options.shared / "data/hdfs_mpdaf/HST-HDFS.fits.gz") as hdus:
        plane = hdus["DATA"].data.astype(np.float32)
    bands = config.bands or ("F606W",)
    data = np.stack([plane if band == "F606W" else np.zeros_like(plane) for band in bands], axis=-1)
    valid = np.isfinite(data) & (np.array(bands) == "F606W")
    hdfs = SkyImage(np.where(valid, data, 0), bands, valid, name="HDF-South")
    save_picture(options.output / "hdfs.png", hdfs, {"F606W, 0.04 arcsec": predict(hdfs)})


if __name__ == "__main__":
    main()
