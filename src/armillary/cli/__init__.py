"""Command line: a table of contents. Parse, call one function, print, leave with a code."""
