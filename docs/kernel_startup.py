"""For the kernels that run the pages: a command (``!morpheus ...``) that fails, fails the page."""

import subprocess

from IPython import get_ipython


def checked(command: str) -> None:
    """Run a command and print what it says; an error if it ends with an exit code."""
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"{command!r} ended with exit code {done.returncode}")


get_ipython().system = checked
