"""The exceptions of morpheus_lite: few, and each says what came, what was expected and what to do."""


class MorpheusError(Exception):
    """Base class of every error raised on purpose by morpheus_lite."""


class InputError(MorpheusError, ValueError):
    """The data cannot be used: unreadable file, missing band, shapes or WCS that disagree."""


class OptionError(MorpheusError, ValueError):
    """An option or argument is impossible or contradicts another."""


class ModelError(MorpheusError):
    """A model directory is unknown, incomplete, or does not match its checksum."""


class OutputError(MorpheusError):
    """A product cannot be written: it exists already, or there is no room or permission for it."""
