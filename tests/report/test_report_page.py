"""The page stands alone, escapes all text, and leaves out what was not given."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from armillary.core.errors import StorageError
from armillary.report import (
    Chart,
    CloudFrames,
    ContactSheet,
    Curve,
    EpisodeView,
    Floor,
    PlanView,
    ReportContents,
    ResultGroup,
    ResultRow,
    RolloutView,
    SurpriseView,
    Track,
    render_report,
    spread_steps,
    top_moments,
    write_report,
)
from armillary.report.lines import line_chart
from armillary.report.sprites import packed_clouds

EVIL = "<script>alert(1)</script> & \"quoted\" 'text'"
VOID = {"meta", "img", "br", "col", "input"}
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def _picture(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)


def _chart(text):
    x = np.arange(2.0)
    return Chart(f"loss {text}", (Curve(text, x, x + 1), Curve("b", x, x)), f"x {text}", text)


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
    two = frames[:2]
    times = np.array([0.0, 0.1])
    cloud = CloudFrames((np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float32)))
    gone = np.array([[np.nan, np.nan], [3.0, 4.0]])
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
        episodes=(EpisodeView(text, times, (0, 1), {text: two}, {f"c {text}": cloud}, text),),
        rollouts=(RolloutView(two, times, (Track(text, gone, path),), _chart(text), text),),
        surprise=SurpriseView(np.ones(11), frames, {f"copy {text}": np.ones(11)}, 6, text),
        plans=(
            PlanView(
                two, times, _picture(1), (path, path[:0]), path, (3.0, 4.0), _chart(text), text
            ),
        ),
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
    assert not {"link", "iframe", "object", "embed"} & set(parser.tags)
    for tag, name, value in parser.attributes:
        if name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value[:60])
        assert not name.startswith("on")
    page = render_report(_contents())
    assert "url(" not in page
    assert "@import" not in page


def test_the_only_script_is_ours_and_the_policy_names_it():
    page = render_report(_contents(EVIL))
    assert _parse(page).tags.count("script") == 1
    (script,) = SCRIPT.findall(page)
    templates = files("armillary.report").joinpath("templates")
    ours = [templates.joinpath(name).read_text("utf-8") for name in ("cloud.js", "player.js")]
    assert script == "\n".join(ours)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    for word in ("fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML", "http:", "https:"):
        assert word not in script.replace("http://www.w3.org/2000/svg", "")


def test_all_text_is_escaped():
    page = render_report(_contents(EVIL))
    _parse(page)
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
    for text in ("88.5 %", "83.3 to 92.3 %", "6.5 %", "reached", "not yet", "not measured"):
        assert text in page
    assert "5 min 01 s" in page


def test_only_what_was_given_is_drawn():
    bare = ReportContents("t", "s", (), {"cores": "2"}, "2026-11-25")
    page = render_report(bare)
    _parse(page)
    for name in ("recorded", "episodes", "learned", "predicted", "surprised", "planned"):
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
        surprise=SurpriseView(np.zeros(11), _contents().surprise.frames),
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
        replace(
            _contents(),
            surprise=None,
            rollouts=(),
            plans=(),
            charts=(Chart("c", curves, log_y=True),),
        )
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


def _specs(page):
    return [
        json.loads(value) for _, name, value in _parse(page).attributes if name == "data-player"
    ]


def test_every_frame_lies_in_its_place_of_a_sheet():
    frames = np.stack([np.full((30, 1500, 3), shade, np.uint8) for shade in range(0, 200, 20)])
    view = EpisodeView("wide", np.arange(10.0), tuple(range(10)), {"rgb": frames})
    (spec,) = _specs(render_report(replace(_contents(), episodes=(view,), rollouts=(), plans=(),
                                           surprise=None)))  # fmt: skip
    (panel,) = spec["panels"]
    assert (panel["columns"], panel["width"], panel["height"]) == (2, 1500, 30)
    sheets = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))
        for uri in panel["sheets"]
    ]
    assert max(max(sheet.shape) for sheet in sheets) <= 4096
    for number in range(10):
        row, column = divmod(number % panel["per"], panel["columns"])
        sheet = sheets[number // panel["per"]]
        middle = sheet[row * 30 + 15, column * 1500 + 750].astype(int)
        assert np.abs(middle - 20 * number).max() <= 3


def test_points_come_back_within_their_scale():
    points = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0], [0.0, 0.0, np.nan]], np.float32)
    packed = packed_clouds(CloudFrames((points,)))
    found = np.frombuffer(base64.b64decode(packed["xyz"][0]), "<i2").reshape(-1, 3)
    middle = np.median(points[:2], axis=0)
    assert np.abs(found * packed["scale"] + middle - points[:2]).max() <= packed["scale"]
    assert len(base64.b64decode(packed["rgb"][0])) == 6  # the point that is NaN is left out


def test_the_mark_the_curve_and_the_frame_of_a_peak_are_at_one_step():
    values = np.ones(11)
    values[5] = 4.0  # step 6
    view = SurpriseView(values, _contents().surprise.frames, {}, 6)
    page = render_report(replace(_contents(), episodes=(), rollouts=(), plans=(), surprise=view))
    (spec,) = _specs(page)
    assert re.findall(r'data-start="(\d+)"', page) == ["6"]
    assert (spec["labels"][6], spec["x"][6]) == ("step 6", 6.0)
    mark = float(re.findall(r'class="event" x1="([\d.]+)"', page)[0])
    surprise = page.partition('id="surprised"')[2]
    points = re.findall(r'class="line s0" points="([^"]+)"', surprise)[0].split()
    columns = [tuple(map(float, point.split(","))) for point in points]
    assert min(columns, key=lambda point: point[1])[0] == pytest.approx(mark, abs=0.1)


def test_moments_are_the_largest_and_lie_apart():
    values = np.array([0.0, 5.0, 6.0, 5.5, 0.0, 1.0, 0.5, 3.0])
    assert top_moments(values, 3, apart=2) == (3, 8, 6)
    assert top_moments(values, 9, apart=1) == (3, 4, 2, 8, 6, 7, 1, 5)
    assert spread_steps(1000, 3, (7, 8)) == (0, 7, 8, 500, 999)
    assert spread_steps(4, 9) == (0, 1, 2, 3)
