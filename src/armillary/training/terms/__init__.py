"""Terms: the parts of the training loss, one file each; ``objective.py`` lists them."""

from armillary.training.terms.check import check_term
from armillary.training.terms.encoded_clips import EncodedClips
from armillary.training.terms.objective import TERMS, ObjectiveConfig
from armillary.training.terms.term import Term, TermConfig

__all__ = ["TERMS", "EncodedClips", "ObjectiveConfig", "Term", "TermConfig", "check_term"]
