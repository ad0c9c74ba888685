"""Progress of commands: drawn as for the Python API, and always on."""

from armillary.api.progress import bar, lines, note

__all__ = ["bar", "lines", "note"]
