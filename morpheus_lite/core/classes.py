"""The five classes of Hausen & Robertson (2020), in the order of the last axis of every class map."""

CLASSES = ("spheroid", "disk", "irregular", "point_source", "background")
"""Names of the classes; ``CLASSES[k]`` is plane ``k`` of a class map."""

SOURCE_CLASSES = CLASSES[:-1]
"""The classes that are light from a source: everything but the background."""

BACKGROUND = CLASSES.index("background")
"""Index of the background plane."""

UNCERTAIN = "uncertain"
"""What the class of a source is called where none is probable enough."""
