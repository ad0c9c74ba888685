"""HTML: a template filled in, with our style inside and everything from outside escaped."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from armillary.core.files import replacing
from armillary.report.marks import emblem


def fill(template: str, **values: Any) -> str:
    """Return a template with its values.

    Args:
        template: a file in ``templates``; it has ``style`` and ``emblem`` besides.
        values: what it names; text among them is escaped, ``Markup`` is not.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup(_template("style.css"))  # our own file, not text from outside
    return environment.from_string(_template(template)).render(style=style, emblem=emblem, **values)


def write_html(text: str, out: Path) -> Path:
    """Write a page, in one step, and return its file.

    Args:
        text: of the page.
        out: the file.

    Raises:
        StorageError: not writable, or the disk is full.
    """
    with replacing(out) as beside:
        beside.write_text(text, encoding="utf-8")
    return out


def _template(name: str) -> str:
    return files("armillary.report").joinpath("templates", name).read_text(encoding="utf-8")
