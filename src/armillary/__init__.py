"""armillary: world models that you can train, question, use and verify."""

__version__ = "0.1.0"
