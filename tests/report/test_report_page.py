"""The page stands alone, escapes all text, and leaves out what was not given."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from armillary.core.errors import StorageError
from armillary.report import (
    Chart,
    ContactSheet,
    Curve,
    Floor,
    PlanView,
    ReportContents,
    ResultGroup,
    ResultRow,
    RolloutStrip,
    SurpriseView,
    render_report,
    write_report,
)
from armillary.report.lines import line_chart

EVIL = "<script>alert(1)</script> & \"quoted\" 'text'"
VOID = {"meta", "img", "br", "col"}


def _picture(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)


def _contents(text="plain"):
    row = ResultRow(
        f"reach {text}",
        0.885,
        "percent",
        (0.833, 0.923),
        (Floor(f"random {text}", 0.065), Floor("unmeasured", float("nan"))),
        200,
        f"at least 80 % {text}",
        0.8,
        True,
        f"armillary act {text}",
        f"records/{text}.jsonl",
        f"note {text}",
        headline=True,
    )
    x = np.arange(10.0)
    frames = np.stack([_picture(seed) for seed in range(12)])
    path = np.array([[1.0, 2.0], [3.0, 4.0]])
    return ReportContents(
        title=f"title {text}",
        summary=f"summary {text}",
        results=(ResultGroup(f"group {text}", (row, replace(row, held=False)), f"why {text}"),),
        machine={f"processor {text}": f"fast {text}"},
        date="2026-11-25",
        command=f"armillary demo {text}",
        warning=f"warning {text}",
        seconds={f"record {text}": 60.0, "train": 240.0, "total": 301.0},
        contact=ContactSheet((_picture(),), (np.full((8, 8), 1.0),), f"caption {text}"),
        charts=(Chart(f"loss {text}", (Curve(text, x, x + 1), Curve("b", x, x)), f"x {text}"),),
        rollouts=(RolloutStrip((f"+1 {text}",), (_picture(),), (_picture(1),), f"strip {text}"),),
        surprise=SurpriseView(frames, np.ones(11), {f"copy {text}": np.ones(11)}, 6, text),
        plans=(PlanView(_picture(), _picture(1), path, path, (path,), (3.0, 4.0), text),),
    )


class _Strict(HTMLParser):
    """Collects elements; fails on tags that do not close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _parse(page):
    parser = _Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_nothing_is_loaded_from_anywhere():
    parser = _parse(render_report(_contents()))
    assert not {"script", "link", "iframe", "object", "embed"} & set(parser.tags)
    for tag, name, value in parser.attributes:
        if name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value[:60])
        assert not name.startswith("on")
    page = render_report(_contents())
    assert "url(" not in page
    assert "@import" not in page


def test_all_text_is_escaped():
    page = render_report(_contents(EVIL))
    parser = _parse(page)
    assert "script" not in parser.tags
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") > 15


def test_a_light_and_a_dark_page_a_phone_and_paper():
    page = render_report(_contents())
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert 'name="viewport"' in page


def test_every_number_with_a_command_or_record_leads_to_it():
    page = render_report(_contents())
    links = re.findall(r'href="#(source-\d+)"', page)
    assert links == ["source-1", "source-2"]
    assert all(f'id="{link}"' in page for link in links)
    assert page.count("records/plain.jsonl") == 2


def test_the_number_its_interval_its_floors_and_its_verdict_are_there():
    page = render_report(_contents())
    for text in ("88.5 %", "83.3 to 92.3 %", "6.5 %", "held", "not reached", "not measured"):
        assert text in page
    assert "5 min 01 s" in page


def test_only_what_was_given_is_drawn():
    bare = ReportContents("t", "s", (), {"cores": "2"}, "2026-11-25")
    page = render_report(bare)
    _parse(page)
    for name in ("recorded", "learned", "foreseen", "surprised", "planned"):
        assert f'id="{name}"' not in page


def test_values_that_are_not_finite_or_constant_are_drawn_or_left_out():
    x = np.arange(5.0)
    curves = (
        Curve("nan", x, np.full(5, np.nan)),
        Curve("flat", x, np.full(5, 2.0)),
        Curve("one", np.array([3.0]), np.array([1.0])),
    )
    charts = tuple(Chart("c", (curve,), log_y=log) for curve in curves for log in (False, True))
    odd = replace(
        _contents(),
        charts=charts,
        contact=ContactSheet((_picture(),), (np.full((8, 8), np.nan),)),
        surprise=SurpriseView(_contents().surprise.frames, np.zeros(11), {}, None),
    )
    page = render_report(odd)
    _parse(page)
    assert "Nothing to draw." in page
    assert not re.search(r'="[^"]*\bnan\b', page)


def test_a_curve_has_its_colour_in_the_legend_where_another_is_empty():
    x = np.arange(1.0, 6.0)
    ends = {"low": x, "high": x + 1}
    curves = (Curve("zero", x, 0 * x), Curve("one", x, x), Curve("two", x, 2 * x, **ends))
    page = render_report(
        replace(_contents(), surprise=None, charts=(Chart("c", curves, log_y=True),))
    )
    legend = dict(re.findall(r'aria-label="(\w+)"><line class="line (s\d)"', page))
    drawn = re.findall(r'class="line (s\d)" points="[^"]*"><title>(\w+)', page)
    assert legend == {"zero": "s0", "one": "s1", "two": "s2"}
    assert drawn == [("s1", "one"), ("s2", "two")]
    assert set(re.findall(r'class="point (s\d)"', page)) == {"s2"}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file stands where a folder is wanted"):
        write_report(_contents(), tmp_path / "file" / "report.html")


def test_written_in_one_step_and_utf8(tmp_path):
    out = write_report(_contents("R²"), tmp_path / "new" / "report.html")
    assert "R²" in out.read_text(encoding="utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_intervals_are_whiskers_from_low_to_high_on_a_logarithmic_x() -> None:
    x, y = np.array([10.0, 100.0]), np.array([50.0, 80.0])
    curve = Curve("replan", x, y, np.array([0.0, 60.0]), np.array([100.0, 90.0]), ("a & b", "c"))
    drawn = str(line_chart(Chart("Success", (curve,), "ms", log_x=True, top=100.0)))
    ends = [
        tuple(float(value) for value in found)
        for found in re.findall(
            r'class="whisker" x1="([\d.]+)".*?y1="([\d.]+)" y2="([\d.]+)"', drawn
        )
    ]
    (_, zero, full), (_, low, high) = ends
    assert (low - high) / (zero - full) == pytest.approx(0.3, abs=0.01)
    assert "a &amp; b" in drawn
    inside = [line_chart(Chart("", (Curve("", x, y),), log_x=log)) for log in (False, True)]
    assert inside[0] != inside[1]
    assert [tick for tick in ("10", "20", "50", "100") if f">{tick}</text>" in drawn] != []
