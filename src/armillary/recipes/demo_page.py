"""The demo's page: its numbers in words beside their floors, and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from armillary.comprehension.teleport import TeleportStudy
from armillary.control import ModelSpec
from armillary.data import Cache, Windows
from armillary.models import JEPA
from armillary.recipes.demo_config import DemoConfig
from armillary.recipes.demo_pictures import (
    contact_sheet,
    plan_view,
    rollout_strip,
    training_charts,
)
from armillary.report import (
    Floor,
    ReportContents,
    ResultGroup,
    ResultRow,
    SurpriseView,
    write_report,
)
from armillary.training.decoding import fit_decoder

_SUMMARY = (
    "A world model was trained from scratch, from the pixels and depth of a simulated table and "
    "the actions of a pusher, then asked where things are, when something impossible happened, "
    "and to act towards goals it was shown as pictures. Every number stands beside its floors."
)
_PLAN_SEEDS = (1, 2, 3)  # the first three, not the prettiest


def result_groups(numbers: dict[str, Any]) -> tuple[ResultGroup, ...]:
    """Return the table of a demo's numbers."""
    return (
        ResultGroup(
            "Act", _act_rows(numbers["act"]), "Goals are pictures; start and goal are new."
        ),
        ResultGroup(
            "Understand",
            (*_probe_rows(numbers["probe"]), *_surprise_rows(numbers["surprise"]["teleport"])),
            "Read from frozen latents, on episodes that were not trained on.",
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
    frames = Windows(cache, training, 1, streams=tuple(_frame_streams(cache)))
    decoder = fit_decoder(model, frames, config.decoder_steps, seed=config.seed)
    spec = ModelSpec(
        out / "run" / "model",
        config.act.planner,
        dict(config.act.planner_settings),
        config.act.history,
        config.act.replan,
    )
    example = study.example
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
        rollouts=tuple(rollout_strip(model, decoder, cache, int(e)) for e in held_out[:2]),
        surprise=SurpriseView(
            example.rgb,
            example.surprise,
            {"copy-last": example.copy_last, "pixel difference": example.pixel_difference},
            example.event,
            "The object jumps at the marked step; everything else goes on as usual.",
        ),
        plans=tuple(plan_view(out / "run" / "model", spec, seed, 20) for seed in _PLAN_SEEDS),
    )
    write_report(contents, out / "report.html")
    return table


def _frame_streams(cache: Cache) -> list[str]:
    kinds = ("rgb", "depth", "pose", "proprio")
    names = [name for name, kind in cache.kinds.items() if kind in kinds]
    return names + (["intrinsics"] if cache.intrinsics is not None else [])


def _act_rows(act: dict[str, Any]) -> tuple[ResultRow, ...]:
    command = "armillary act out/demo/run tabletop --task {} --episodes {} --out OUT"
    reach, push = act["model"], act["push"]["model"]
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
        ResultRow(
            "pushes the object to its place in the goal picture (within 4 cm at the end)",
            push["success"],
            "percent",
            tuple(push["wilson95"]),
            _act_floors(act["push"]),
            push["n"],
            command=command.format("push", push["n"]),
            record="act/push/records/model.jsonl",
            note="The demo has no time for more: `armillary bench push` learns to push.",
        ),
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
    for kind, words in (("plain", "all possible steps"), ("matched", "as many pixels change")):
        row = teleport[kind]
        if "auroc" not in row:
            continue
        rows.append(
            ResultRow(
                f"teleported object noticed at its step, AUROC ({words})",
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
    return tuple(rows)
