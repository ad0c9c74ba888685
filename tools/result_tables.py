"""Write the tables of results into README.md and pages of docs/; --check only compares.

Every number in them comes from a record: ``{push success %1}`` stands for the field ``success`` of
results/push.json as a percentage with one decimal. A ``*`` in a path is the mean of all entries.
What is not from a record (a threshold, a published number) stands in ``QUOTED`` with its source.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLACEHOLDER = re.compile(r"\{(\w+) ([^{}]+) ([^ {}]+)\}")

README = """\
| Question | armillary | Beside it | Read it with this | Command, record |
|---|---|---|---|---|
| Does it reach a place shown in a picture? (3 cm, n={demo act.model.n d}) | **{demo act.model.success %0}** | random {demo act.random.success %0}, oracle {demo act.oracle.success %0} | Simulated table. {demo act.push.model.success %0} of {demo act.push.model.n d} pushes reached their goal. | `make demo`, [demo](results/demo.json) |
| Does depth help when the camera moves 90 degrees? (n={spatial arms.point_map_world.seeds.0.view_90.n d}) | **{spatial arms.point_map_world.seeds.*.view_90.success %0}** | colour {spatial arms.rgb.seeds.*.view_90.success %0} | Simulated depth; one training. As in training, colour has {spatial arms.rgb.seeds.*.in_distribution.success %0}, depth {spatial arms.point_map_world.seeds.*.in_distribution.success %0}. | `armillary bench spatial --variants rgb point_map_world --seeds 0 --variants-only`, [spatial](results/spatial.json) |
| Does it tell possible from impossible videos? (13 concepts) | **{understand mean_headline .1f} %** | chance 50 % | Drawn scenes, in pairs; five trainings. **Shape has {understand concepts.shape .1f} %, size {understand concepts.size .1f}** (an untrained encoder {understand controls.untrained_0_model.concepts.size.d_accuracy .0f}). With a shuffled context {understand controls.shuffled_context.concepts.*.d_accuracy .0f} %. Single clips: AUROC {understand single_clips.auroc .2f}. | `python scripts/understand_stage.py`, [understand](results/understand.json) |
| Who predicts four steps better: a model of pictures, or of words read from them? (n={words n.episodes d}) | **{words state_error_cm.W.4.mean .2f} cm** | words {words state_error_cm.T-probe.4.mean .2f}; a large model's code on them {words state_error_cm.code claude (probe).4.mean .2f} | Five seeds, earlier recipe. Better, yet {words primary.margin_cm .1f} cm, the margin, is not sure. With true places {words state_error_cm.T-true.4.mean .2f} and {words state_error_cm.code claude (truth).4.mean .2f}. | `armillary compare words --out OUT` ([code](docs/concepts/words.md)), [words](results/words.json) |
| Does it find what was put into real videos? (cuts, mirrors, freezes, pasted things) | **{unusual recordings.flies.events.found d}, {unusual recordings.mouse.events.found d}, {unusual recordings.vtest.events.found d} of {unusual recordings.flies.events.n d}** in three videos | mean change of the picture {unusual recordings.flies.pixel_difference.found d}, {unusual recordings.mouse.pixel_difference.found d}, {unusual recordings.vtest.pixel_difference.found d}; the model's surprise {unusual recordings.flies.surprise.found d}, {unusual recordings.mouse.surprise.found d}, {unusual recordings.vtest.surprise.found d} | Found by rules on pictures, not by the model. False alarms a minute: {unusual recordings.flies.false_alarms_per_minute .1f}, {unusual recordings.mouse.false_alarms_per_minute .1f}, {unusual recordings.vtest.false_alarms_per_minute .1f}. Cameras stand still. | `python scripts/planted_events.py`, [unusual](results/unusual.json) |
| How fast does it train? (64 px, 2 cores) | **{bench_train ratio.lewm_64 .0f} times LeWM** | {bench_train ratio.lewm_64_patch_14 .0f} times with LeWM's default patch | {bench_train frames_per_s.armillary ,.0f} against {bench_train frames_per_s.lewm_64 .0f} frames a second; ratios depend on the processor. LeWM has 18 million parameters. | `armillary bench train`, [train](results/bench_train.json) |
"""  # noqa: E501 - a row of a table is one line

DEMO = """\
| `make demo`, one run | armillary | beside it, on the same episodes |
| --- | --- | --- |
| reaches the place in the goal picture (3 cm, at the end, n = {demo act.model.n d}) | {demo act.model.success %0} ({demo act.model.wilson95.0 p0} to {demo act.model.wilson95.1 p0} %) | random {demo act.random.success %0}, no-op {demo act.noop.success %0}, oracle {demo act.oracle.success %0} |
| pushes the object to its place (4 cm, n = {demo act.push.model.n d}) | {demo act.push.model.success %0} ({demo act.push.model.wilson95.0 p0} to {demo act.push.model.wilson95.1 p0} %) | random {demo act.push.random.success %0}, oracle {demo act.push.oracle.success %0} |
| pusher position, linear R2, held-out episodes | {demo probe.pusher_xy.r2 .3f} | untrained {demo probe.pusher_xy.r2_untrained .2f}, shuffled labels {demo probe.pusher_xy.r2_shuffled .2f} |
| object position, linear R2, held-out episodes | {demo probe.object_xy.r2 .3f} | untrained {demo probe.object_xy.r2_untrained .2f}, shuffled labels {demo probe.object_xy.r2_shuffled .2f} |
"""  # noqa: E501


def _world() -> str:
    """Return the table of the one recipe on appearances of the tabletop."""
    lines = [
        "| the tabletop | reaches the place (n = 100) | pusher R2 | object R2 | skill on moved "
        "objects, 4 steps; ridge; bound | false motion |\n| --- | --- | --- | --- | --- | --- |\n"
    ]
    looks = {
        "tabletop": "as usual",
        "tabletop_long": "as usual, trained for longer",
        "tabletop_grey": "all things one grey, one object",
        "tabletop_textured": "a textured table and floor",
        "tabletop_moving": "a moving background of coloured noise",
    }
    for name, look in looks.items():
        one = f"world worlds.{name}"
        limits = " to ".join(f"{{{one}.wilson95.{at} p0}}" for at in (0, 1))
        skill = " to ".join(f"{{{one}.moved_skill_intervals.4.{at} .2f}}" for at in (0, 1))
        others = f"{{{one}.moved_skill_ridge.4 .2f}}; {{{one}.moved_skill_bound.4 .2f}}"
        cells = [
            look + _earlier(record("world")["worlds"].get(name, {})),
            f"{{{one}.success %0}} ({limits} %)",
            *(f"{{{one}.read_out.{thing}.r2 .3f}}" for thing in ("pusher", "object")),
            f"{{{one}.moved_skill.4 .2f}} ({skill}); {others}",
            f"{{{one}.false_motion_cm .1f}} cm",
        ]
        if name in record("world")["worlds"]:
            lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _earlier(row: dict[str, Any]) -> str:
    """Return the mark of a row that was trained with an earlier recipe than the record's last."""
    return "" if row.get("recipe_sha256") == record("world")["recipe_sha256"] else " †"


def _gym() -> str:
    """Return the table of read-outs in worlds that were not tuned on; empty without a row."""
    lines = [
        "| world | read from the latent | linear R2 (95 %) | skill on its motion, 4 steps; ridge; "
        "bound |\n| --- | --- | --- | --- |\n"
    ]
    worlds = {
        "fetch": "FetchReach",
        "fetch_moving": "FetchReach before a moving background",
        "metaworld": "Meta-World push",
        "pointmaze": "PointMaze",
    }
    for name, called in worlds.items():
        shown = called + _earlier(record("world")["worlds"].get(name, {}))
        for thing in record("world")["worlds"].get(name, {}).get("read_out", {}):
            one = f"world worlds.{name}.read_out.{thing}"
            limits = " to ".join(f"{{{one}.interval.{at} .2f}}" for at in (0, 1))
            skill = _skill(name, thing)
            lines.append(f"| {shown} | {thing} | {{{one}.r2 .2f}} ({limits}) | {skill} |\n")
    return "".join(lines) if len(lines) > 1 else ""


def _skill(name: str, thing: str) -> str:
    """Return a cell with the skill on a thing's motion; a dash where another one was judged."""
    row, one = record("world")["worlds"][name], f"world worlds.{name}"
    if (row.get("moved_stream") or "").rsplit("_", 1)[0] != thing:
        return "-"
    limits = " to ".join(f"{{{one}.moved_skill_intervals.4.{at} .2f}}" for at in (0, 1))
    others = f"{{{one}.moved_skill_ridge.4 .2f}}; {{{one}.moved_skill_bound.4 .2f}}"
    return f"{{{one}.moved_skill.4 .2f}} ({limits}); {others}"


def _trunks() -> str:
    """Return the table of frozen trunks at equal time; empty without a record."""
    if not (ROOT / "results" / "trunks.json").is_file():
        return ""
    shown = {
        "tabletop_textured": {
            "pusher_xy R2": "textured table, pusher R2",
            "object_xy R2": "textured table, object R2",
            "skill on moved objects": "textured table, skill",
        },
        "metaworld": {
            "hand_xyz R2": "Meta-World, hand R2",
            "puck_xyz R2": "Meta-World, puck R2",
            "skill on moved objects": "Meta-World, skill",
        },
        "mouse": {"features, error of the latent alone": "mouse video, error of the latent"},
    }
    lines = [
        "| after 3 minutes of one core, 3 seeds | pixels | random trunk | ImageNet trunk "
        "| ImageNet over pixels (95 %) | ImageNet over random (95 %) |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
    ]
    for world, measures in shown.items():
        for measure, said in measures.items():

            def of(encoder: str, rest: str, w: str = world, m: str = measure) -> str:
                return f"{{trunks worlds.{w}.{encoder}.values.{m}.{rest} .2f}}"

            cells = [of(one, "mean") for one in ("pixels", "mobilenetv2-untrained", "mobilenetv2")]
            for other in ("pixels", "mobilenetv2-untrained"):
                ends = " to ".join(of("mobilenetv2", f"over.{other}.interval95.{n}") for n in "01")
                cells.append(f"{of('mobilenetv2', f'over.{other}.mean')} ({ends})")
            lines.append(f"| {said} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _real_video() -> str:
    """Return the table of predictions of real video; empty without a record."""
    whos = ("copy_last", "mean", "ridge", "place_ridge", "read", "model")
    lines = [
        "| recording | ahead | copy-last | mean | ridge | place ridge | latent of the recipe | "
        "armillary | gain over copy-last (95 %) |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    ]
    for name in ("flies", "mouse", "vtest"):
        for seconds in record("world").get("real_video", {}).get(name, {}).get("horizons", {}):
            one = f"world real_video.{name}.horizons.{seconds}"
            gain = f"{one}.model.gain_over.copy_last"
            errors = " | ".join(f"{{{one}.{who}.mean .2f}}" for who in whos)
            limits = " to ".join(f"{{{gain}.interval95.{at} .2f}}" for at in (0, 1))
            gained = f"{{{gain}.mean .2f}} ({limits})"
            shown = name + _earlier(record("world")["real_video"][name])
            lines.append(f"| {shown} | {seconds} s | {errors} | {gained} |\n")
    return "".join(lines) if len(lines) > 1 else ""


def _unusual() -> str:
    """Return the table of planted events; empty without a record."""
    lines = [
        "| recording | found, of 50 | cuts, mirrored, frozen, pasted | false alarms a minute | the "
        "model's surprise | mean change of the picture |\n| --- | --- | --- | --- | --- | --- |\n"
    ]
    for name in record("unusual")["recordings"]:
        one = f"unusual recordings.{name}"
        limits = " to ".join(f"{{{one}.events.wilson95.{at} p0}}" for at in (0, 1))
        kinds = ", ".join(
            f"{{{one}.events.kinds.{kind}.0 d}} of {{{one}.events.kinds.{kind}.1 d}}"
            for kind in ("cut", "mirror", "freeze", "paste")
        )
        alarms = f"{{{one}.false_alarms d}} in {{{one}.minutes_without_events .1f}} minutes"
        cells = [
            name,
            f"{{{one}.events.found d}} ({limits} %)",
            kinds,
            f"{{{one}.false_alarms_per_minute .1f}} ({alarms})",
            f"{{{one}.surprise.found d}}",
            f"{{{one}.pixel_difference.found d}}",
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _real_distance() -> str:
    """Return the table of predictions of real range and depth; empty without a record."""
    lines = [
        "| recording, steps ahead | copy-last | mean | rigid warp | armillary | latent in full | "
        "gain over copy-last (95 %) | gain over rigid warp |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    ]
    called = {"malaga_loop": "laser", "tsdf_room": "depth camera"}
    rows = record("world").get("real_distance", {})
    pairs = [(name, steps) for name, row in rows.items() for steps in row["horizons"]]
    for name, horizon in pairs:
        digits = 2 if rows[name]["horizons"][horizon]["mean"] > 1 else 4
        one = f"world real_distance.{name}.horizons.{horizon}"
        shown = ("copy_last", "mean", "rigid_warp", "model", "full_latent")
        cells = [f"{{{one}.{who} .{digits}f}}" for who in shown]
        for other in ("copy_last", "rigid_warp"):
            low, high = (f"{{{one}.gain_intervals.0.{other}.{end} .{digits}f}}" for end in (0, 1))
            cells.append(f"{low} to {high}")
        shown = called[name] + _earlier(rows[name])
        lines.append(f"| {shown}, {horizon} | {' | '.join(cells)} |\n")
    return "".join(lines) if len(lines) > 1 else ""


def _ablation() -> str:
    """Return the table of the recipe's terms, each left out; empty without a record."""
    if not (ROOT / "results" / "ablation.json").is_file():
        return ""
    shown = {
        "tabletop": {"r2_object_xy": "tabletop: object R2", "r2_pusher_xy": "pusher R2"},
        "fetch": {
            "r2_hand_xyz": "FetchReach: hand R2",
            "moved_skill_4": "skill",
            "action_top1": "action ranked first",
        },
        "metaworld": {"r2_puck_xyz": "Meta-World: puck R2", "moved_skill_4": "skill"},
        "pointmaze": {"r2_ball_xy": "PointMaze: ball R2", "spearman": "Spearman"},
    }
    heads = [head for measures in shown.values() for head in measures.values()]
    lines = [f"| left out | {' | '.join(heads)} |\n", f"| --- |{' --- |' * len(heads)}\n"]
    for name, part in record("ablation")["parts"].items():
        cells = [
            f"{{ablation parts.{name}.datasets.{data}.mean.{measure} .2f}}"
            for data, measures in shown.items()
            for measure in measures
        ]
        lines.append(f"| {part['said']} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _worlds() -> str:
    """Return the table of environments, and what a search adds; empty without a record."""
    if not (ROOT / "results" / "worlds.json").is_file():
        return ""
    environments = record("worlds")["environments"]
    titles = {
        "direct": "direct",
        "direct_search": "direct and search",
        "search_only": "search alone",
        "random": "random",
        "noop": "no-op",
        "oracle": "oracle",
    }
    rows = [row for one in environments.values() for row in one["offsets"].values()]
    asked = [way for way in titles if any(way in row for row in rows)]
    acting = [way for way in asked if way in ("direct", "direct_search", "search_only")]
    head = ["environment, steps ahead", *(titles[way] for way in asked)]
    head += ["p", "p at any time", "at any time", "ms a decision"]
    lines = [f"| {' | '.join(head)} |\n", f"|{' --- |' * len(head)}\n"]
    for name, environment in environments.items():
        for offset, row in environment["offsets"].items():
            one = f"worlds environments.{name}.offsets.{offset}"
            cells = [f"{name}, {offset} (n = {{{one}.direct.n d}})"]
            for way in asked:
                if way not in row:
                    cells.append("-")
                    continue
                limits = " to ".join(f"{{{one}.{way}.wilson95.{at} p0}}" for at in (0, 1))
                shown = f"{{{one}.{way}.success_final %0}}"
                other = row[way]["n"] != row["direct"]["n"]
                n = f", n = {{{one}.{way}.n d}}" if other else ""
                cells.append(f"{shown} ({limits} %{n})" if way in acting else shown)
            kinds = "search_over_direct", "search_over_direct_first_hit"
            cells.extend(f"{{{one}.paired.{kind}.p_holm .3f}}" for kind in kinds)
            present = [way for way in acting if way in row]
            cells.append(", ".join(f"{{{one}.{way}.success_first_hit %0}}" for way in present))
            cells.append(", ".join(f"{{{one}.{way}.ms_per_decision .0f}}" for way in present))
            lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _latency() -> str:
    """Return the table of numbers of ways that are tried; empty without records."""
    worlds = {
        "latency_push": "pushing on the table",
        "latency_fetch_reach": "FetchReach",
        "latency_dm_reacher": "dm_reacher",
    }
    if not all((ROOT / "results" / f"{name}.json").is_file() for name in worlds):
        return ""
    lines = [
        "| ways that are tried | "
        + " | ".join(f"{shown} (n = {{{name} episodes d}})" for name, shown in worlds.items())
        + " |\n| --- |"
        + " --- |" * len(worlds)
        + "\n"
    ]
    for setting, row in record("latency_push")["settings"].items():
        cells = []
        for name in worlds:
            one = f"{name} settings.{setting}"
            limits = " to ".join(f"{{{one}.wilson95.{at} p0}}" for at in (0, 1))
            times = f"{{{one}.ms_per_world_step .0f}}, {{{one}.ms_per_decision_p95 .0f}} ms"
            cells.append(f"{{{one}.success %0}} ({limits} %); {times}")
        lines.append(f"| {row['planner_settings']['samples']} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _spatial() -> str:
    """Return the table of ways to see the tabletop: goals reached, and the read-out's error."""
    views = "training views | 30 degrees | 60 degrees | 90 degrees"
    heading = f"| the model sees | {views} | new appearance |\n"
    lines = [heading, "| --- | --- | --- | --- | --- | --- |\n"]
    variants = {
        "rgb": "colour",
        "rgb_pose": "colour and camera pose",
        "rgb_depth": "colour, depth as a fourth channel",
        "point_map_camera": "colour, points in the camera frame",
        "point_map_world": "colour, points in the world frame",
        "points": "points in the world frame alone",
    }
    for name, shown in variants.items():
        if name not in record("spatial")["arms"]:
            continue
        cells = [shown]
        for view in ("in_distribution", "view_30", "view_60", "view_90", "appearance"):
            one = f"spatial arms.{name}.seeds.*.{view}"
            cells.append(f"{{{one}.success %0}}, {{{one}.position_error_cm .1f}} cm")
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _concepts() -> str:
    """Return the table of concepts."""
    found = record("understand")
    blank = [found["controls"][f"untrained_{seed}_model"]["concepts"] for seed in range(3)]
    lines = [
        "| concept | right, mean of 5 seeds | without whitening | three untrained encoders |\n",
        "| --- | --- | --- | --- |\n",
    ]
    for name in found["concepts"]:
        aside = " (not in the mean)" if name == "permanence_static" else ""
        shown = name.replace("_", " ") + aside
        cells = f"{{understand concepts.{name} .1f}} % | {{understand plain_concepts.{name} .1f}} %"
        others = ", ".join(f"{one[name]['d_accuracy']:.0f}" for one in blank)
        lines.append(f"| {shown} | {cells} | {others} |\n")
    lines.append("| **mean of 13** | **{understand mean_headline .1f} %** | | |\n")
    return "".join(lines)


def _scale() -> str:
    """Return the table of two processes that train together on one machine."""
    found = record("scale")
    ddp, fsdp = (found["losses"]["losses"][name] for name in ("ddp", "fsdp"))
    close = sum(abs(a / b - 1) <= 1e-6 for a, b in zip(fsdp, ddp, strict=True))
    apart = "losses apart by at most {scale losses.largest_relative_difference."
    rows = {
        "FSDP2 beside DDP, {scale losses.steps d} steps": (
            f"{apart}fsdp_from_ddp .1e}}; {close} of {len(ddp)} within 1e-6"
        ),
        "FSDP2 by two processes, stopped and resumed": _weights(
            found["losses"]["fsdp_resumed_same_bits"]
        ),
        "FSDP2 by two processes, then one, then three": (
            f"{apart}fsdp_2_1_3_from_fsdp .1e}} from two throughout"
        ),
        "DDP by two processes, then one, then three": (
            f"{apart}ddp_2_1_3_from_ddp .1e}} from two throughout"
        ),
        "DDP, rank 1 and then rank 0 killed (SIGKILL), restarted by torchrun": _weights(
            found["elastic"]["ddp"]["identical"]
        ),
        "the same with FSDP2": _weights(found["elastic"]["fsdp"]["identical"]),
        f"checkpoint of FSDP2 (`{found['saving']['model']}`): training stops": (
            "{scale saving.pause_s.median .2f} s, {scale saving.pause_over_written %0} of the "
            "{scale saving.written_at_once_s.median .1f} s in which it is written"
        ),
        "a step while it is written": (
            "{scale saving.step_while_written_s.median .1f} s, else "
            "{scale saving.step_s.median .1f} s"
        ),
    }
    said = {
        "two_apart": "two independent trainings",
        "ddp_weak": "DDP, twice the batch",
        "fsdp_weak": "FSDP2, twice the batch",
        "ddp_strong": "DDP, the same batch",
    }
    for name, shown in said.items():
        one = f"scale speed.over_one_process.{name}"
        ends = " to ".join(f"{{{one}.quartiles.{at} .2f}}" for at in (0, 1))
        rows[f"frames a second over one process: {shown}"] = f"{{{one}.median .2f}} ({ends})"
    for name, checked in found["speed"]["model"]["checked"].items():
        one = f"scale speed.model.checked.{name}"
        within = "within" if checked["within_20_percent"] else "not within"
        rows[f"model of step time over the measured: {said[name]}"] = (
            f"{{{one}.predicted_over_measured .2f}}, {within} 20 %; of the traffic "
            f"{{{one}.bytes_predicted_over_measured .2f}}"
        )
    lines = [f"| {name} | {figure} |\n" for name, figure in rows.items()]
    return "".join(["| two processes of one thread | figure |\n", "| --- | --- |\n", *lines])


def _weights(identical: bool) -> str:
    return "identical weights" if identical else "**other weights**"


def _computed() -> str:
    """Return the tables of what a model of step time says of GPUs."""
    found = record("scale")["computed"]
    at = {(row["size"], row["parallel"], row["gpus"]): n for n, row in enumerate(found["table"])}
    counts = sorted({row["gpus"] for row in found["table"]})
    with_gpus = ", ".join(map(str, counts))

    def cell(size: str, field: str, spec: str, parallel: str = "ddp", gpus: int = 0) -> str:
        chosen = [gpus] if gpus else counts
        paths = [f"scale computed.table.{at[size, parallel, one]}.{field}" for one in chosen]
        return ", ".join(f"{{{path} {spec}}}" for path in paths)

    heads = [
        "size",
        f"frames a second with {with_gpus} GPUs",
        "of perfect scaling",
        "GB of a GPU between steps: DDP; FSDP2 over 8",
        "GB of activations, in so many parts",
        f"hours of a whole run with {with_gpus} GPUs",
        "GPU hours of a whole run",
        "of them fine-tuning",
    ]
    lines = [f"| {' | '.join(heads)} |\n", f"|{' --- |' * len(heads)}\n"]
    for size in found["counted"]:
        one = counts[0]
        cells = [
            f"`{size}`",
            cell(size, "frames_per_s", ",.0f"),
            cell(size, "efficiency", "%0"),
            f"{cell(size, 'state_gb_per_gpu', '.2f', gpus=one)}; "
            f"{cell(size, 'state_gb_per_gpu', '.2f', 'fsdp', one)}",
            f"{cell(size, 'activations_gb_per_gpu', '.0f', gpus=one)}, "
            f"{cell(size, 'parts', 'd', gpus=one)}",
            cell(size, "run_hours", ".2f"),
            cell(size, "gpu_hours_of_a_run", ".1f"),
            cell(size, "of_them_fine_tuning", ".1f"),
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


TRAIN = """\
| training step, two threads | frames/s | armillary is faster by |
| --- | --- | --- |
| armillary, 64 px | {bench_train frames_per_s.armillary ,.0f} | |
| LeWM, 64 px, patches of 8 px | {bench_train frames_per_s.lewm_64 .0f} | {bench_train ratio.lewm_64 .0f} |
| LeWM, 64 px, patches of 14 px (its default) | {bench_train frames_per_s.lewm_64_patch_14 .0f} | {bench_train ratio.lewm_64_patch_14 .0f} |
| LeWM, 224 px (its default) | {bench_train frames_per_s.lewm_224 .0f} | {bench_train ratio.lewm_224 .0f} |
"""  # noqa: E501


def _knowledge() -> str:
    """Return the table of what is known after trainings of several lengths."""
    lines = [
        "| training | object R2 (95 %) | skill on moved objects, 4 steps (95 %) | Spearman of "
        "latent distance with that of the pusher, of the object |\n| --- | --- | --- | --- |\n"
    ]
    for at in range(len(record("bench_train")["minutes_to"]["curve"])):
        one = f"bench_train minutes_to.curve.{at}"
        r2 = " to ".join(f"{{{one}.intervals.object_r2.{end} .2f}}" for end in (0, 1))
        skill = " to ".join(f"{{{one}.intervals.skill.{end} .2f}}" for end in (0, 1))
        cells = [
            f"{{{one}.steps d}} updates, {{{one}.minutes .1f}} minutes",
            f"{{{one}.object_r2 .2f}} ({r2})",
            f"{{{one}.skill .2f}} ({skill})",
            f"{{{one}.spearman.pusher_xy .2f}}, {{{one}.spearman.object_xy .2f}}",
        ]
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


ALSO = """\
| question | armillary | beside it | limits | command, record |
| --- | --- | --- | --- | --- |
| Does it stop a robot when something is wrong? | stops in normal episodes: {guard rows.guard.normal.false_stops d} of {guard rows.guard.normal.n d}; caught: teleport {guard rows.guard.teleport.rate %0}, stuck actuator {guard rows.guard.stuck.rate %0}, knocked camera {guard rows.guard.camera.rate %0} | surprise alone: {guard rows.surprise.teleport.rate %0}, {guard rows.surprise.stuck.rate %0}, {guard rows.surprise.camera.rate %0} | The stuck actuator counts only where it could show ({guard rows.guard.stuck.n d} of 100). Plain pixel difference finds {guard rows.pixel_difference.camera.rate %0} of the knocked cameras. | `armillary guard`, `guard.json` |
| Does it predict a real laser scanner, 1, 3, 5 sweeps ahead? | {lidar_loop real_lidar.horizon.1.model .2f}, {lidar_loop real_lidar.horizon.3.model .2f}, {lidar_loop real_lidar.horizon.5.model .2f} m | rigid warp by odometry {lidar_loop real_lidar.horizon.1.rigid_warp .2f}, {lidar_loop real_lidar.horizon.3.rigid_warp .2f}, {lidar_loop real_lidar.horizon.5.rigid_warp .2f} m; sweeps merged by hand {lidar_loop real_lidar.horizon.1.together .2f}, {lidar_loop real_lidar.horizon.3.together .2f}, {lidar_loop real_lidar.horizon.5.together .2f} m | One loop of {lidar_loop data.sweeps d} sweeps. Over merging by hand the gain is small, and nothing sure at 1 sweep. | `armillary bench lidar`, `lidar_loop.json` |
| How many random clips a second does it load? | {bench_loader clips_per_s.armillary ,.0f} | `stable-worldmodel` {bench_loader clips_per_s.lance ,.0f} (Lance), {bench_loader clips_per_s.hdf5 ,.0f} (HDF5) | From a decoded cache in memory, one process. | `armillary bench loader`, `bench_loader.json` |
| How many decisions a second does it plan? | {bench_plan decisions_per_s.armillary .1f} | LeWM {bench_plan decisions_per_s.lewm .3f} | The same search on one thread. One LeWM decision is good for 25 world steps, ours for one. | `armillary bench plan --threads 1`, `bench_plan.json` |
| What does depth cost? | training at {bench_sensors ratio .2f} of colour's speed | | 100,000 points take {bench_sensors patches_ms .1f} ms to cut into patches. {bench_sensors ingest_frames_per_s .0f} RGB-D frames are ingested a second, {bench_sensors ingest_encoded_frames_per_s .0f} where they are encoded anew. | `armillary bench sensors`, `bench_sensors.json` |
| How much memory takes a video of {streaming long_video.hours .0f} hours? | {streaming long_video.ingest.peak_gb .2f} GB to ingest, {streaming long_video.prepare.peak_gb .2f} GB to prepare | | A synthetic video of 160 x 120 pixels, {streaming long_video.frames ,.0f} frames; the memory of Python and torch is included. | `python scripts/measure_streaming.py OUT --parts long_video`, `streaming.json` |
| Does a robot's own client get the same actions? | {serve episodes_with_equal_actions d} of {serve n d} episodes, to the bit | in process: {serve solved_in_process d} solved, served: {serve solved_through_the_server d} | `openpi-client` 0.1.2 on the tabletop, a second client beside it; median {serve client_ms.0.5 .0f} ms and 99th percentile {serve client_ms.0.99 .0f} ms, two cores for world, server and clients. | `python scripts/measure_serving.py`, `serve.json` |
| Does LeRobot get the same episodes? | {lerobot lerobot.model.episodes_with_equal_records d} of {lerobot n d}, to the bit; a saved policy {lerobot lerobot.saved.episodes_with_equal_records d} | in process: {lerobot in_process.model.solved d} solved, in LeRobot: {lerobot lerobot.model.solved d} | LeRobot 0.4.4 on the tabletop, goals 3 cm; random {lerobot in_process.random.solved d}. | `python scripts/measure_lerobot.py zoo:tabletop LEROBOT_BIN`, `lerobot.json` |
| Do rude clients hold up a robot? | 99th percentile of an honest client: {abuse rows.alone.honest_ms.0.99 .0f} ms alone, {abuse rows.fuzz.honest_ms.0.99 .0f} in ten minutes of fuzz ({abuse rows.fuzz.honest_decisions d} decisions), {abuse rows.slow_clients.honest_ms.0.99 .0f} beside 200 slow clients | at most {abuse rows.largest.memory_growth_mb .0f} MB more memory; no traceback sent | Twice as long was the aim, which fuzz misses by a hair. Seven clients with valid requests of 6.8 MB make it {abuse rows.largest.honest_ms.0.99 .0f} ms. All on one machine, the server on a core of its own. | `python scripts/measure_abuse.py zoo:tabletop`, `abuse.json` |
| How quickly does the play page answer a key? | {play cases.tabletop.usual.key_to_frame_ms.0.5 .0f} ms in the median to the drawn frame, at {play cases.tabletop.usual.frames_per_s .0f} frames a second | at most {play cases.tabletop.as_fast_as_it_goes.frames_per_s .0f} frames a second | Tabletop, pictures of {play picture_px d} pixels, the server on one core, headless Chromium on the same machine. With a goal {play cases.tabletop.with_a_goal.key_to_frame_ms.0.5 .0f} ms. | `python scripts/measure_play.py`, `play.json` |
| Does an exported model decide as the model does? | apart by {export largest_difference .0e} at most, in {export models.tabletop.inputs.real ,.0f} real and as many random inputs of each graph, in 7 worlds | torch takes {export models.tabletop.decisions.torch_over_onnx .1f} times as long | ONNX graphs without the search, one thread each, on the tabletop: median {export models.tabletop.decisions.cpu_ms.onnx.0.5 .1f} ms of the processor, torch {export models.tabletop.decisions.cpu_ms.torch.0.5 .1f} ms. In one world a whole decision differs by {export decisions_largest_difference .1e}, and torch's own by {export models.dm_point_mass.decisions.torch_batched_largest_difference .1e} where 50 are made at once. Goals reached: {export acting.solved_through_the_runner d} of {export acting.n d}, in process {export acting.solved_in_process d}. | `python scripts/measure_export.py`, `export.json` |
"""  # noqa: E501

# Numbers of README's table that no record holds, and where they come from.
QUOTED = {
    "3 cm": "success rule of the task, tabletop-reach",
    "90 degrees": "the task",
    "13 concepts": "the concepts that count in the mean",
    "chance 50 %": "one of two videos of a pair",
    "64 px, 2 cores": "settings and machine of the record",
    "18 million parameters": "results/bench_train.json, lewm.lewm_64.parameters: 17,921,582",
}


@cache
def _zoo() -> str:
    """Return the table of the models that travel with the package."""
    index = json.loads((ROOT / "src/armillary/zoo/index.json").read_text())
    lines = ["| model | it | goals reached | beside it | size |\n| --- | --- | --- | --- | --- |\n"]
    for name, model in index.items():
        rows = model["numbers"].get("rows", {})
        cells = {who: _of_all(row) for who, row in rows.items()}
        floors = ", ".join(f"{who} {rows[who]['success']:.0%}" for who in cells if who != "model")
        folder = ROOT / "src/armillary/zoo" / name
        size = sum((folder / file).stat().st_size for file in model["files"]) / 1e6
        reached = cells.get("model", "-")
        line = (
            f"| `zoo:{name}` | {model['about']} | {reached} | {floors or '-'} | {size:.1f} MB |\n"
        )
        lines.append(line)
    return "".join(lines)


def _of_all(row: dict[str, Any]) -> str:
    low, high = row["wilson95"]
    return f"**{row['success']:.1%}** of {row['n']} ({low:.0%} to {high:.0%})"


def record(name: str) -> Any:
    """Return a record of results/."""
    return json.loads((ROOT / "results" / f"{name}.json").read_text())


def number(name: str, path: str) -> float:
    """Return the number at a path of a record; keys may hold dots (``1.0``).

    Raises:
        KeyError: nothing is there.
    """
    return _at(record(name), path.split("."), f"{name} {path}")


def _at(value: Any, keys: list[str], where: str) -> float:
    if not keys:
        return float(value)
    if keys[0] == "*":
        every = value.values() if isinstance(value, dict) else value
        return statistics.fmean(_at(one, keys[1:], where) for one in every)
    if isinstance(value, list):
        return _at(value[int(keys[0])], keys[1:], where)
    for length in range(1, len(keys) + 1):  # the shortest name that is there
        name = ".".join(keys[:length])
        if name in value:
            return _at(value[name], keys[length:], where)
    raise KeyError(where)


def shown(value: float, spec: str) -> str:
    """Return a number as the tables write it: ``%1`` and ``p1`` percentages, ``d`` a count.

    The sign follows in ``%1`` alone; whatever else is Python's own format.
    """
    if spec.startswith("p"):
        return f"{100 * value:.{int(spec[1:])}f}"
    if spec.startswith("%"):
        return f"{100 * value:.{int(spec[1:])}f} %"
    return f"{value:,.0f}" if spec == "d" else format(value, spec)


def filled(template: str) -> str:
    """Return a table with all numbers in it."""
    return PLACEHOLDER.sub(lambda one: shown(number(one[1], one[2]), one[3]), template)


def tables() -> dict[tuple[str, str], str]:
    """Return every table, by its page and the name of its marks."""
    results = "docs/results.md"
    return {
        ("README.md", "results"): README,
        (results, "demo"): DEMO,
        (results, "world"): _world(),
        (results, "gym"): _gym(),
        (results, "real_video"): _real_video(),
        (results, "unusual"): _unusual(),
        (results, "real_distance"): _real_distance(),
        (results, "worlds"): _worlds(),
        (results, "latency"): _latency(),
        (results, "ablation"): _ablation(),
        (results, "trunks"): _trunks(),
        (results, "spatial"): _spatial(),
        (results, "concepts"): _concepts(),
        (results, "train"): TRAIN,
        (results, "knowledge"): _knowledge(),
        (results, "also"): ALSO,
        ("docs/how-to/growing.md", "scale"): _scale(),
        ("docs/how-to/growing.md", "computed"): _computed(),
        ("docs/how-to/zoo.md", "zoo"): _zoo(),
    }


def main() -> int:
    """Write or compare."""
    wrong = []
    for (page, mark), template in tables().items():
        path = ROOT / page
        text = path.read_text()
        begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        new = before + begin + filled(template) + end + after
        if new != text and "--check" in sys.argv:
            wrong.append(f"{page} ({mark})")
        elif new != text:
            path.write_text(new)
    if wrong:
        sys.stderr.write(f"{', '.join(wrong)}: run python tools/result_tables.py\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
