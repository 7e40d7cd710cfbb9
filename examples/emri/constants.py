"""Physical constants; masses become seconds and distances become light travel times (G = c = 1)."""

SPEED_OF_LIGHT = 299792458.0  # m / s
SOLAR_MASS = 4.925490947e-6  # s
GIGAPARSEC = 3.0856775807e25 / SPEED_OF_LIGHT  # s
ASTRONOMICAL_UNIT = 499.00478  # s
YEAR = 31536000.0  # s
DAY = 86400.0  # s
