"""``python -m tests.fuzz --cases 50000 --seed 1``: the table of outcomes, and every case that did not end well."""

import argparse
import sys

from .runner import run


def main() -> int:
    """Run cases and print how they ended; 1 if one of them ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first: one case again is --first N --cases 1"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", default="", help="only files of this kind or name, such as model or tiles_RICE")
    options = parser.parse_args()
    result = run(
        options.seed, range(options.first, options.first + options.cases), workers=options.workers, only=options.kind
    )
    for number, kind, outcome, detail in result.faults:
        print(f"{number} {kind}: {outcome}: {detail}")
    print(result.table())
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
