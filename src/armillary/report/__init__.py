"""Report: pages and tables for eyes; they show values and measure nothing."""

from armillary.report.contents import (
    Chart,
    ContactSheet,
    Curve,
    Floor,
    PlanView,
    QuadrupletView,
    ReportContents,
    ResultGroup,
    ResultRow,
    RetrievalView,
    RolloutStrip,
    SurpriseView,
)
from armillary.report.images import depth_picture, png_uri
from armillary.report.lines import smoothed
from armillary.report.page import render_report, write_report
from armillary.report.standings import (
    BoardView,
    PairedLine,
    Standing,
    StandingsPage,
    render_standings,
    write_standings,
)
from armillary.report.table import print_results, result_table

__all__ = [
    "BoardView",
    "Chart",
    "ContactSheet",
    "Curve",
    "Floor",
    "PairedLine",
    "PlanView",
    "QuadrupletView",
    "ReportContents",
    "ResultGroup",
    "ResultRow",
    "RetrievalView",
    "RolloutStrip",
    "Standing",
    "StandingsPage",
    "SurpriseView",
    "depth_picture",
    "png_uri",
    "print_results",
    "render_report",
    "render_standings",
    "result_table",
    "smoothed",
    "write_report",
    "write_standings",
]
