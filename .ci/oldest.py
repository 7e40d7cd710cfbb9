"""Print the lowest versions that setup.cfg names, as constraints for pip: ``python .ci/oldest.py [EXTRA ...]``."""

import configparser
import re
import sys


def main(extras: list[str]) -> None:
    config = configparser.ConfigParser()
    config.read("setup.cfg")
    wanted = [config["options"]["install_requires"], *(config["options.extras_require"][name] for name in extras)]
    for name, lowest in re.findall(r"^([\w-]+)(?:\[.*\])?>=([\d.]+)", "\n".join(wanted), re.MULTILINE):
        sys.stdout.write(f"{name}=={lowest}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
