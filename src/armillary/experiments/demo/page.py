"""The demo's page: its numbers in words beside their floors, and its pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from armillary.data import Cache, open_dataset
from armillary.experiments.demo.config import DemoConfig
from armillary.experiments.demo.pictures import contact_sheet, plan_view, push_view, training_charts
from armillary.experiments.demo.predictions import rollout_views
from armillary.models import JEPA
from armillary.planning import Planning
from armillary.planning.planning import SEARCH
from armillary.report import (
    Floor,
    ReportContents,
    ResultGroup,
    ResultRow,
    SurpriseView,
    over_median,
    write_report,
)
from armillary.services.acting import model_spec
from armillary.services.view.episodes import episode_view
from armillary.understanding.suites.teleport import Example, TeleportStudy

_SUMMARY = (
    "A world model was trained from scratch on pixels and depth of a simulated table and on the "
    "actions of a pusher. It was then tested on three things: reading out positions, noticing an "
    "impossible event, and reaching goals that are given as pictures. Every number stands beside "
    "its baselines."
)
_PLAN_SEEDS = (1, 2, 3)  # the first three, not the prettiest


def result_groups(numbers: dict[str, Any]) -> tuple[ResultGroup, ...]:
    """Return the table of a demo's numbers."""
    return (
        ResultGroup(
            "Control", _act_rows(numbers["act"]), "Goals are pictures; starts and goals are new."
        ),
        ResultGroup(
            "Comprehension",
            (*_probe_rows(numbers["probe"]), *_surprise_rows(numbers["surprise"]["teleport"])),
            "Measured on frozen latents, on episodes that were not trained on.",
        ),
    )


def write_page(
    out: Path,
    numbers: dict[str, Any],
    study: TeleportStudy,
    model: JEPA,
    cache: Cache,
    training: np.ndarray,
    held_out: np.ndarray,
    config: DemoConfig,
) -> tuple[ResultGroup, ...]:
    """Write ``report.html`` and return its table."""
    dataset = open_dataset(out / "recording")
    # only a search has a plan that can be drawn
    spec = model_spec(out / "run" / "model", replace(config.act, planning=Planning(SEARCH)))
    table = result_groups(numbers)
    contents = ReportContents(
        title="armillary demo",
        summary=_SUMMARY,
        results=table,
        machine={name: str(value) for name, value in numbers["machine"].items()},
        date=numbers["date"],
        command=numbers["command"],
        warning=numbers["warning"],
        seconds=numbers["seconds"],
        contact=contact_sheet(cache),
        charts=training_charts(out / "run"),
        episodes=(episode_view(dataset, int(held_out[0])),),
        rollouts=rollout_views(model, cache, training, held_out[:2], config.seed),
        surprise=_surprise_view(study.example),
        plans=(
            push_view(out / "act" / "push"),
            *(plan_view(out / "run" / "model", spec, seed, 20) for seed in _PLAN_SEEDS),
        ),
    )
    write_report(contents, out / "report.html")
    return table


def _surprise_view(example: Example) -> SurpriseView:
    share = f"{example.at_event} of {example.clips} such clips"
    if example.at_event:
        remark = (
            f"In {share} the model's largest surprise is at this step; the first of them is shown."
        )
    else:
        remark = (
            f"In none of {example.clips} such clips is the model's largest surprise at this step."
        )
    return SurpriseView(
        example.surprise,
        example.rgb,
        {
            "copy-last": example.copy_last,
            "pixel change over its median": over_median(example.pixel_difference, example.event),
        },
        example.event,
        "An object is moved to another place at the marked step; everything else goes on as "
        f"usual. {remark} 1 is the mean over normal clips.",
    )


def _act_rows(act: dict[str, Any]) -> tuple[ResultRow, ...]:
    command = "armillary act out/demo/run tabletop --task {} --episodes {} --out OUT"
    reach = act["model"]
    return (
        ResultRow(
            "reaches the place in the goal picture (pusher within 3 cm at the end)",
            reach["success"],
            "percent",
            tuple(reach["wilson95"]),
            _act_floors(act),
            reach["n"],
            "at least 80 %, lower bound above 70 %",
            0.8,
            reach["success"] >= 0.8 and reach["wilson95"][0] > 0.7,
            command.format("reach", reach["n"]),
            "act/reach/records/model.jsonl",
            headline=True,
        ),
        _push_row(act["push"], command),
    )


def _push_row(act: dict[str, Any], command: str) -> ResultRow:
    """Return the row of pushing, whose target is to be better than doing nothing or anything."""
    push = act["model"]
    reached = push["wilson95"][0] > max(act[name]["success"] for name in ("random", "noop"))
    return ResultRow(
        "pushes the object to its place in the goal picture (within 4 cm at the end)",
        push["success"],
        "percent",
        tuple(push["wilson95"]),
        _act_floors(act),
        push["n"],
        "lower bound above random and no-op",
        None,
        reached,
        command.format("push", push["n"]),
        "act/push/records/model.jsonl",
    )


def _act_floors(act: dict[str, Any]) -> tuple[Floor, ...]:
    names = ("random", "noop", "oracle")
    return tuple(Floor(name, act[name]["success"], tuple(act[name]["wilson95"])) for name in names)


def _probe_rows(probes: dict[str, Any]) -> tuple[ResultRow, ...]:
    words = {"pusher_xy": "pusher position, linear read-out", "object_xy": "object position"}
    return tuple(
        ResultRow(
            f"{words.get(name, name)} (R²; off by {row['error_m'] * 100:.1f} cm)",
            row["r2"],
            "number",
            tuple(row["r2_interval"]),
            (
                Floor("untrained", row["r2_untrained"]),
                Floor("shuffled", row["r2_shuffled"]),
                Floor("small MLP", row["r2_mlp"]),
            ),
            row["frames_test"],
            "at least 0.9",
            0.9,
            row["r2"] >= 0.9,
            "armillary demo",
            "results.json",
            headline=True,
        )
        for name, row in probes.items()
    )


def _surprise_rows(teleport: dict[str, Any]) -> tuple[ResultRow, ...]:
    rows = []
    for kind, words in (
        ("plain", "against all possible steps"),
        ("matched", "against steps that change as many pixels"),
    ):
        row = teleport[kind]
        if "auroc" not in row:
            continue
        rows.append(
            ResultRow(
                f"teleport detected at its step, AUROC ({words})",
                row["auroc"],
                "number",
                tuple(row["auroc_interval"]),
                (
                    Floor("copy-last", row["auroc_copy_last"]),
                    Floor("pixel difference", row["auroc_pixel_difference"]),
                ),
                row["n_impossible"],
                "at least 0.9",
                0.9,
                row["auroc"] >= 0.9,
                "armillary demo",
                "results.json",
                headline=kind == "matched",
            )
        )
    found = teleport["localisation"]
    rows.append(
        ResultRow(
            "largest surprise of the clip is at the teleport",
            found["accuracy"],
            "percent",
            floors=(
                Floor("chance", found["chance"]),
                Floor("copy-last", found["accuracy_copy_last"]),
                Floor("pixel difference", found["accuracy_pixel_difference"]),
            ),
            command="armillary demo",
            record="results.json",
        )
    )
    return tuple(rows)
