"""Models: tokenizers, encoder, predictor, and the folder that a model is saved as."""

from armillary.models.check import check_model
from armillary.models.checkpoint import ARCHITECTURES, load_model, save_model
from armillary.models.config import JEPAConfig
from armillary.models.encoder import EncoderConfig
from armillary.models.jepa import JEPA, untrained
from armillary.models.normalizer import Normalizer
from armillary.models.predictor import PredictorConfig
from armillary.models.subsets import narrowed

__all__ = [
    "ARCHITECTURES",
    "JEPA",
    "EncoderConfig",
    "JEPAConfig",
    "Normalizer",
    "PredictorConfig",
    "check_model",
    "load_model",
    "narrowed",
    "save_model",
    "untrained",
]
