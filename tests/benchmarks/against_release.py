"""Speed beside the published package, at stride 1, on the same image and machine, in one run.

    python tests/benchmarks/against_release.py [IMAGE] [--environment DIRECTORY] [--rounds N]

Installs morpheus-astro 0.5.1, unmodified, in an environment of its own, which borrows TensorFlow and the rest from this
one and adds what only the release needs. It no longer imports with current NumPy and scikit-image; what was renamed
there is put back before it is imported (`BRIDGE`). Both classify the image with mean, variance and votes, in turn, each
in a process of its own, start-up not counted.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

IMAGE = Path(__file__).parents[1] / "data" / "golden" / "sim_a.fits"
BANDS = ("F160W", "F125W", "F606W", "F850LP")
NEEDS = ("morpheus-astro==0.5.1", "tf_keras", "colorama", "tqdm", "imageio")

BRIDGE = """
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # the release builds its graph with tf.compat.v1.layers
import numpy, skimage.morphology, skimage.segmentation
numpy.int = int
skimage.morphology.watershed = skimage.segmentation.watershed
import tensorflow.compat.v1
tensorflow.compat.v1.disable_eager_execution()
"""

RELEASE = """
from morpheus.classifier import Classifier
def classify(h, j, v, z):
    return Classifier.classify(h=h, j=j, v=v, z=z, out_type="both")
"""

OURS = """
import numpy
import morpheus_lite as ml
from morpheus_lite.core.image import SkyImage
from morpheus_lite.models.registry import load_model
model = load_model("hausen2020")
def classify(*bands):
    data = numpy.stack(bands, axis=2)
    image = SkyImage(data, model.bands, numpy.ones(data.shape, bool))
    return ml.classify(image, model, stride=1, edges="leave")
"""

TIMING = """
import json, sys, time
bands = [band.copy() for band in numpy.load(sys.argv[1])]
classify(*(band[:41, :41] for band in bands))  # builds the graph
clock, core = time.perf_counter(), time.process_time()
classify(*bands)
print(json.dumps({"clock": time.perf_counter() - clock, "core": time.process_time() - core}))
"""


def main() -> None:
    """Install, measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", nargs="?", default=IMAGE, help="four-band image (default: a simulated one)")
    parser.add_argument(
        "--environment", type=Path, help="where to install the release (default: a temporary directory)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured; the best counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        pixels = Path(temporary) / "bands.npy"
        np.save(pixels, read_bands(options.image))
        shape = np.load(pixels, mmap_mode="r").shape[1:]
        python = install(options.environment or Path(temporary) / "release")
        runs = {"release": (python, BRIDGE + RELEASE), "morpheus_lite": (sys.executable, OURS)}
        seconds: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, (interpreter, code) in runs.items():
                seconds[name].append(measure(interpreter, code + TIMING, pixels))
    report(shape, seconds)


def read_bands(path: str | Path) -> np.ndarray:
    """float32 ``(band, y, x)``."""
    import morpheus_lite as ml

    return np.ascontiguousarray(np.moveaxis(ml.read_image(path).select(BANDS).data, 2, 0))


def install(directory: Path) -> str:
    """The interpreter of an environment with the release in it, made if it is not there."""
    python = directory / "bin" / "python"
    if python.exists():
        return str(python)
    venv.create(directory, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(directory), "platbase": str(directory)})
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", paths["purelib"], *NEEDS]
    subprocess.run(command, check=True)
    (Path(paths["purelib"]) / "parent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(python)


def measure(interpreter: str, code: str, pixels: Path) -> dict[str, float]:
    """Seconds of one classification in a fresh process: on the clock, and of all cores together."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [interpreter, "-W", "ignore", "-c", code, str(pixels)]
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, cwd=pixels.parent)
    if done.returncode:
        raise SystemExit(f"{interpreter} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def report(shape: tuple[int, int], seconds: dict[str, list[dict[str, float]]]) -> None:
    """Pixels per second of each, and the ratio, on the clock and by the work done."""
    n_pixels = shape[0] * shape[1]
    print(f"{shape[0]} x {shape[1]} px, stride 1, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")
    for label, kind in (("px/s on the clock", "clock"), ("px per core-second", "core")):
        speed = {name: n_pixels / min(run[kind] for run in runs) for name, runs in seconds.items()}
        figures = ", ".join(f"{name} {value:,.0f}" for name, value in speed.items())
        print(f"{label}: {figures}; ratio {speed['morpheus_lite'] / speed['release']:.1f}")


if __name__ == "__main__":
    main()
