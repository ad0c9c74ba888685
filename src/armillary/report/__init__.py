"""Report: pages and tables for eyes; they show values and measure nothing."""

from armillary.report.contents import (
    Chart,
    CloudFrames,
    ContactSheet,
    Curve,
    EpisodeView,
    Floor,
    PlanView,
    QuadrupletView,
    ReportContents,
    ResultGroup,
    ResultRow,
    RetrievalView,
    RolloutView,
    SurpriseView,
    Track,
)
from armillary.report.images import depth_picture, png_uri
from armillary.report.lines import smoothed
from armillary.report.page import render_report, write_report
from armillary.report.players import over_median, spread_steps, top_moments
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
    "CloudFrames",
    "ContactSheet",
    "Curve",
    "EpisodeView",
    "Floor",
    "PairedLine",
    "PlanView",
    "QuadrupletView",
    "ReportContents",
    "ResultGroup",
    "ResultRow",
    "RetrievalView",
    "RolloutView",
    "Standing",
    "StandingsPage",
    "SurpriseView",
    "Track",
    "depth_picture",
    "over_median",
    "png_uri",
    "print_results",
    "render_report",
    "render_standings",
    "result_table",
    "smoothed",
    "spread_steps",
    "top_moments",
    "write_report",
    "write_standings",
]
