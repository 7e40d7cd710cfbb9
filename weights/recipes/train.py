"""Train a set of weights and write its directory: the way to the weights that are shipped.

    python weights/recipes/train.py weights/recipes/any.toml RUN --save weights/any

Fields are those of ``make_fields.py``, in folders beside the configuration. Interrupted, it goes on from the last
checkpoint in RUN. ``--steps`` shortens or lengthens a run, ``--start`` begins it elsewhere.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from morpheus_lite.training import read_config
from morpheus_lite.training.export import export
from morpheus_lite.training.fit import train


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="TOML file")
    parser.add_argument("run", type=Path, help="directory of checkpoints and log")
    parser.add_argument("--save", type=Path, help="directory of the weights to write")
    parser.add_argument("--card", type=Path, help="Markdown file that becomes the card")
    parser.add_argument("--pixel-scale", type=float, help="of the fields, in arcsec, for the record")
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--start", help="model to start from, instead of the configuration's")
    parser.add_argument("--threads", type=int, default=0, help="threads of TensorFlow (0: as many as cores)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("morpheus_lite").setLevel(logging.DEBUG)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    config = read_config(options.config)
    if options.steps:
        config = replace(config, steps=options.steps)
    if options.start:
        config = replace(config, start=options.start)
    train(config, options.run, progress=lambda row: print(row, flush=True))
    if options.save:
        card = options.card.read_text() if options.card else ""
        export(config, options.run, options.save, pixel_scale=options.pixel_scale, card=card)


if __name__ == "__main__":
    main()
