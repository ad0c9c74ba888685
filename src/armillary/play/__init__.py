"""Play: a page on which a person steers inside a model, beside a simulator or a recording."""

from armillary.play.drives import PlayConfig
from armillary.play.opening import Opening, open_recording, open_world, own_recording
from armillary.play.server import playing
from armillary.play.session import Session

__all__ = [
    "Opening",
    "PlayConfig",
    "Session",
    "open_recording",
    "open_world",
    "own_recording",
    "playing",
]
