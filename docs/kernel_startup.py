"""For the kernels that run the pages: a command (``!morpheus ...``) that fails, fails the page."""

from IPython import get_ipython

shell = get_ipython()
run = shell.system


def checked(command: str) -> None:
    """Run a command; an error if it ends with an exit code."""
    run(command)
    if shell.user_ns.get("_exit_code"):
        raise RuntimeError(f"{command!r} ended with exit code {shell.user_ns['_exit_code']}")


shell.system = checked
