"""The Python API: what ``import armillary as arm`` offers, one function for each command.

The functions are named in ``armillary.__all__``. Each calls what the command line calls, takes
paths as text or ``Path``, and returns a value that the next one takes.
"""
