"""Suites: fixed sets of questions about what is possible, and their scores."""
