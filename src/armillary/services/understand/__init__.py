"""Understand: is a model more surprised by what cannot be? The study and its page."""
