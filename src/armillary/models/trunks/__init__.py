"""Trunks: frozen pretrained encoders of pictures, under a model of armillary.

``open_trunk`` finds one by its name, and ``FEATURES`` is the stream of what it made of pictures.
"""

from armillary.models.trunks.names import FEATURES, Pin, pinned
from armillary.models.trunks.opening import TRUNKS, open_trunk
from armillary.models.trunks.tokenizer import TrunkTokenizer
from armillary.models.trunks.trunk import CELLS, Trunk, TrunkFacts

__all__ = [
    "CELLS",
    "FEATURES",
    "TRUNKS",
    "Pin",
    "Trunk",
    "TrunkFacts",
    "TrunkTokenizer",
    "open_trunk",
    "pinned",
]
