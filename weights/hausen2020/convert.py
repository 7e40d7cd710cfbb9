"""Make this directory's weights from the checkpoint in the published package.

    python weights/hausen2020/convert.py [WHEEL] [--output DIRECTORY]

WHEEL is ``morpheus_astro-0.5.1-py3-none-any.whl``; without it, pip downloads it. Its sha256 is checked. The result is
the same bytes every time.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.models.network_config import HAUSEN2020
from morpheus_lite.models.registry import CARD, ModelInfo, load_weights, save_model

WHEEL = "morpheus_astro-0.5.1-py3-none-any.whl"
SHA256 = "38b5138a9c1a49a2a12d05861a7d88b88b157d9095103e6e1398c898fd5a3e3f"
CHECKPOINT = "morpheus/core/model_weights/model-440"
LICENCE = "morpheus_astro-0.5.1.dist-info/LICENSE"
HERE = Path(__file__).parent

INFO = ModelInfo(
    name="hausen2020",
    kind="unet",
    description="The published network of Hausen & Robertson (2020): CANDELS-like HST images in H, J, V, Z",
    bands=("F160W", "F125W", "F606W", "F850LP"),
    classes=CLASSES,
    network=HAUSEN2020.to_dict(),
    window=40,
    margin=5,
    stride=5,
    preprocessing="standardize",
    pixel_scale=0.06,
    unit="electron / s",
    licence="MIT, Copyright (c) 2018 morpheus-project",
    reference="Hausen & Robertson 2020, ApJS 248, 20, doi:10.3847/1538-4365/ab8868",
)

_LAYER = {
    r"^downconv-(\d)/conv-(\d)/": r"down_\1_\2_",
    r"^upconv-(\d)/conv-(\d)/": r"up_\1_\2_",
    r"^intermediate-conv/": "intermediate_0_",
    r"^final_conv/": "final_",
    r"batch_normalization/": "norm/",
}


def main() -> None:
    """Convert, then load the result to see that it fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", type=Path, help="the published package; downloaded if not given")
    parser.add_argument(
        "--output", type=Path, default=HERE, help="the model's directory (default: that of this script)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        wheel = checked(options.wheel or downloaded(Path(temporary)))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(CHECKPOINT) or name == LICENCE:
                    archive.extract(name, temporary)
        arrays = read_checkpoint(Path(temporary) / CHECKPOINT)
        licence = (Path(temporary) / LICENCE).read_bytes()
    info = save_model(options.output, INFO, arrays, overwrite=True)
    (options.output / "LICENSE-morpheus").write_bytes(licence)
    if options.output != HERE:
        (options.output / CARD).write_bytes((HERE / CARD).read_bytes())
    _, arrays = load_weights(options.output)
    n_numbers = sum(array.size for array in arrays.values())
    print(f"{options.output}: {len(arrays)} arrays, {n_numbers:,} numbers, sha256 {info.sha256}")


def downloaded(directory: Path) -> Path:
    """Fetch the published wheel with pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory)]
    subprocess.run([*command, "morpheus-astro==0.5.1"], check=True)
    return directory / WHEEL


def checked(wheel: Path) -> Path:
    """The wheel, if it is the published one."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{wheel} is not {WHEEL}: sha256 {found}, expected {SHA256}")
    return wheel


def read_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    """Weights by our names; what only the optimiser needs is left out."""
    reader = tf.train.load_checkpoint(str(prefix))
    names = [name for name in reader.get_variable_to_shape_map() if "Adam" not in name and "_power" not in name]
    return {renamed(name): reader.get_tensor(name) for name in names}


def renamed(name: str) -> str:
    """Our name of a variable of the checkpoint.

    >>> renamed("downconv-0/conv-1/batch_normalization/gamma"), renamed("intermediate-conv/conv/kernel")
    ('down_0_1_norm/gamma', 'intermediate_0_conv/kernel')
    """
    for pattern, replacement in _LAYER.items():
        name = re.sub(pattern, replacement, name)
    return name


if __name__ == "__main__":
    main()
