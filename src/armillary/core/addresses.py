"""Addresses: what names data elsewhere, such as ``s3://bucket/data``, and no folder here."""

from __future__ import annotations


def is_address(data: object) -> bool:
    """Tell whether this names data by an address, and not by a folder."""
    return isinstance(data, str) and "://" in data
