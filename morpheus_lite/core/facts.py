"""Facts about cameras, surveys and archives, as ``facts.toml`` lists them with their sources."""

import tomllib
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
