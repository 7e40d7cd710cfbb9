"""TianQin: three spacecraft around the Earth, whose plane always faces the binary RX J0806.3+1527.

The response is that of two orthogonal Michelson interferometers for wavelengths much longer than the arms. The
correction to it is below 0.3 % of the power under the data's Nyquist frequency of 16.7 mHz.
"""

import numpy as np

RADIUS = 1e8  # m, of the spacecraft's orbit around the Earth
ORBITAL_FREQUENCY = np.sqrt(6.67259e-11 * 5.9722e24 / RADIUS**3) / (2 * np.pi)  # Hz; a period of 3.64 days
J0806_LONGITUDE = 2.103121748653167  # rad, ecliptic
J0806_LATITUDE = np.pi / 2 - 1.65282680163863  # rad, ecliptic


def frame() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two axes in the plane of the orbit and its normal, which points to J0806; ecliptic unit vectors."""
    cos_p, sin_p = np.cos(J0806_LONGITUDE), np.sin(J0806_LONGITUDE)
    cos_b, sin_b = np.cos(J0806_LATITUDE), np.sin(J0806_LATITUDE)
    x = np.array([sin_p, -cos_p, 0.0])
    y = np.array([cos_p * sin_b, sin_p * sin_b, -cos_b])
    return x, y, np.cross(x, y)


def orbital_phase(times: np.ndarray) -> np.ndarray:
    """Angle of the first spacecraft in the plane, radians, for times in seconds."""
    return 2 * np.pi * ORBITAL_FREQUENCY * np.asarray(times)


def arms(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors from spacecraft 1 to 2, 1 to 3 and 2 to 3; each of shape (n, 3)."""
    x, y, _ = frame()
    kappa = orbital_phase(times)[:, None]
    places = [x * np.cos(kappa + shift) + y * np.sin(kappa + shift) for shift in 2 * np.pi / 3 * np.arange(3)]
    return tuple((places[j] - places[i]) / np.sqrt(3.0) for i, j in ((0, 1), (0, 2), (1, 2)))


def observe(
    plus: np.ndarray, cross: np.ndarray, times: np.ndarray, source: np.ndarray, along_z: np.ndarray,
    along_source: np.ndarray, along_side: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Strain in the two Michelson channels.

    Parameters
    ----------
    plus, cross : (n,) arrays
        Polarisations in the frame of the orbit's angular momentum ``L``: ``p = source x L``, ``q = p x source``.
    times : (n,) array
        Seconds.
    source : (3,) array
        Unit vector to the source.
    along_z, along_source, along_side : (n,) arrays
        ``L . Z``, ``L . source`` and ``L . (Z x source)`` with ``Z`` the normal of the detector's plane.

    Returns
    -------
    (2, n) array
        Channels I and II.
    """
    x, y, z = frame()
    c = source @ z
    phi = np.arctan2(source @ y, source @ x) - orbital_phase(times) - 3 * np.pi / 4
    sin_psi, cos_psi = along_z - along_source * c, along_side
    norm = sin_psi**2 + cos_psi**2
    cos_2psi, sin_2psi = (cos_psi**2 - sin_psi**2) / norm, 2 * sin_psi * cos_psi / norm
    cos_2phi, sin_2phi = np.cos(2 * phi), np.sin(2 * phi)
    # In the detector's own polarisation frame the pattern is (1 + c^2)/2 for plus and c for cross, turned by 2 phi.
    plus, cross = plus * cos_2psi + cross * sin_2psi, plus * sin_2psi - cross * cos_2psi
    plus, cross = 0.5 * (1 + c**2) * plus, c * cross
    return np.sqrt(0.75) * np.stack([plus * cos_2phi - cross * sin_2phi, plus * sin_2phi + cross * cos_2phi])
