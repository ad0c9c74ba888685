"""SVG by hand: one function that writes an element with every attribute and text escaped.

Colours are classes of the page's style sheet, so that one drawing is right in the light, in the
dark and on paper, and nothing is loaded from anywhere.
"""

from __future__ import annotations

from markupsafe import Markup, escape


def tag(name: str, *inside: str | Markup, **attributes: str | float | int) -> Markup:
    """Return an element; text inside is escaped, ``Markup`` is kept.

    ``class_`` becomes ``class`` and other underscores become dashes; numbers get two digits.
    """
    written = "".join(
        f' {_name(key)}="{escape(_value(value))}"' for key, value in attributes.items()
    )
    body = "".join(escape(part) for part in inside)
    return Markup(f"<{name}{written}>{body}</{name}>")


def drawing(
    width: float | int,
    height: float | int,
    class_: str,
    label: str,
    *inside: Markup,
    chart: str = "",
) -> Markup:
    """Return an ``svg`` element that scales with its box and says what it shows.

    ``chart`` is what ``player.js`` has to know of a chart, as JSON; empty for other drawings.
    """
    box = f"0 0 {width:g} {height:g}"
    data = Markup(' data-chart="{}"').format(chart) if chart else Markup("")
    return Markup('<svg class="{}" viewBox="{}" role="img" aria-label="{}"{}>{}</svg>').format(
        class_, box, label, data, Markup("").join(inside)
    )


def _name(key: str) -> str:
    # viewBox, preserveAspectRatio and their like keep their capitals
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float | int) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
