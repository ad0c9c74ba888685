"""HTML: a template filled in, with our style inside and everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from armillary.core.files import replacing
from armillary.report.marks import emblem

CLOUD_SCRIPT = "cloud.js"


def fill(template: str, **values: Any) -> str:
    """Return a template with its values.

    Args:
        template: a file in ``templates``; it has ``style``, ``script``, ``script_hash`` (what a
            content security policy calls the script) and ``emblem`` besides.
        values: what it names; text among them is escaped, ``Markup`` is not.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # our own files, not text from outside
    own = {"style": Markup(_template("style.css")), "script": Markup(script())}
    digest = hashlib.sha256(own["script"].encode()).digest()
    own["script_hash"] = Markup(base64.b64encode(digest).decode())
    return environment.from_string(_template(template)).render(**own, emblem=emblem, **values)


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


def script() -> str:
    """Return the script of a page: what draws points, and the players that use it."""
    return _template(CLOUD_SCRIPT) + "\n" + _template("player.js")


def template_file(name: str) -> Traversable:
    """Return a file of our templates, e.g. ``CLOUD_SCRIPT``, which the play page has, too."""
    return files("armillary.report").joinpath("templates", name)


def _template(name: str) -> str:
    return template_file(name).read_text(encoding="utf-8")
