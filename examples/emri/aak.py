"""The augmented analytic kludge: the same harmonics on the orbits of Kerr geodesics, from ``fastemriwaveforms``.

The package is optional. It supplies trajectories driven by fifth-order post-Newtonian fluxes and the fundamental
frequencies; harmonics, the Nyquist cut and TianQin's response are ours, because its own summation neither knows
TianQin nor leaves out what would alias at 30 s.
"""

import importlib.util

MISSING = "the augmented kludge needs the optional package fastemriwaveforms==2.0.0, which is not installed"


def available() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("few") is not None
