"""Words against worlds: the same experience as text and as pictures, and what each predicts."""

from armillary.words.language import FORMS, Form, to_text
from armillary.words.settings import WordsConfig
from armillary.words.study import compare_words

__all__ = ["FORMS", "Form", "WordsConfig", "compare_words", "to_text"]
