"""Write `frozen.json`: what the scenes give now. Run it by hand when a number changes for a reason that is told."""

import json
from pathlib import Path

from scenes import SCENES, field

FROZEN = Path(__file__).with_name("frozen.json")


def main() -> None:
    made = {name: dict(scene()) for name, scene in (SCENES | {"field": field}).items()}
    lines = [
        f'"{name}": {{\n'
        + ",\n".join(f" {json.dumps(key)}: {json.dumps(values)}" for key, values in found.items())
        + "\n}"
        for name, found in made.items()
    ]
    FROZEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
