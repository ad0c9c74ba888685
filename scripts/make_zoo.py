"""Put a trained model into the zoo that travels with the package, and measure it there.

    python scripts/make_zoo.py pack tabletop out/demo/run
    python scripts/make_zoo.py pack flies out/real/flies/RUN --clip ../shared/data/flies_120s.mp4
    python scripts/make_zoo.py judge push_t out/zoo/push_t --episodes 200
    python scripts/make_zoo.py judge flies out/real_video.json

``pack`` stores the weights as float16, which halves the file, and the digest of every file.
``judge`` acts with the stored model in its environment of ``armillary bench worlds`` and writes
success, interval and floors into the index and the card. A model of a recording is judged by
``scripts/real_video.py --seeds 1``, whose result is copied.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
from safetensors.torch import load_file

from armillary.benchmark.machine import core_count, provenance
from armillary.cli.progress import bar
from armillary.core.errors import ArmillaryError, ConfigError, unknown_name
from armillary.core.files import read_json, replacing_folder, write_json
from armillary.core.hashing import file_sha256
from armillary.data import IngestOptions, ingest
from armillary.experiments.worlds.run import ANY, ENVIRONMENTS
from armillary.models import load_model
from armillary.models.checkpoint import write_tensors
from armillary.models.goal_policy_file import load_goal_policy, save_goal_policy
from armillary.services.acting import ActConfig, act
from armillary.zoo.finding import find_model
from armillary.zoo.index import INDEX, MODEL, RECORDING, ROOT, ZooModel, zoo_model

CLIP_S = (100.0, 115.0)  # of the part of the flies' video that is held out (84 to 120 s)
CLIP_PX = 128
APACHE = "Apache-2.0, as armillary"


@dataclass(frozen=True)
class Plan:
    """What a model of the zoo is.

    Attributes:
        about: a sentence for the list.
        data: what it was trained on.
        command: that trained it.
        environment: of ``armillary bench worlds``; empty for a model of a recording.
        offset: steps from start to goal.
        licence: of weights and data.
    """

    about: str
    data: str
    command: str
    environment: str = ""
    offset: str = ANY
    licence: str = APACHE


PLANS = {
    "tabletop": Plan(
        "reaches places on a table, and pushes an object",
        "2,000 episodes of 24 steps of the simulated tabletop, recorded by the demo",
        "make demo",
        "tabletop_reach",
    ),
    "push_t": Plan(
        "pushes a T-shaped block to where a picture shows it",
        "1,000 episodes of 100 steps of stable-worldmodel's Push-T, scripted strokes",
        "armillary bench worlds push_t --offset 25",
        "push_t",
        "25",
    ),
    "rooms": Plan(
        "crosses a door between two rooms whose walls it has not seen",
        "2,000 episodes of 128 steps of two rooms with random walls",
        "armillary bench worlds rooms_eb",
        "rooms_eb",
    ),
    "flies": Plan(
        "predicts two fruit flies, filmed from above; has no actions",
        "the first 84 s of flies_120s.mp4 (talmolab/sleap 7785f660); 15 of the other 36 s travel "
        "with the model",
        "python scripts/real_video.py out/real --only flies --seeds 1",
        licence=f"weights {APACHE}; video BSD-3-Clause-Clear (LICENSE-flies-video.txt)",
    ),
}


def pack(name: str, run: Path, commit: str, clip: Path | None) -> None:
    """Write the folder of a model, and its entry of the index.

    Args:
        name: of the model.
        run: run folder or model folder.
        commit: of the code that trained it.
        clip: video of which a part is stored beside the model.

    Raises:
        ArmillaryError: no model is there, or the disk refuses.
    """
    source, plan = find_model(run), PLANS[name]
    with replacing_folder(ROOT / name) as beside:
        folder = beside / MODEL
        folder.mkdir()
        shutil.copyfile(source / "config.json", folder / "config.json")
        shutil.copyfile(source / "normalizer.safetensors", folder / "normalizer.safetensors")
        weights = load_file(source / "model.safetensors")
        write_tensors(
            folder / "model.safetensors", {key: value.half() for key, value in weights.items()}
        )
        policy = load_goal_policy(source, load_model(source))
        if policy is not None:
            save_goal_policy(policy.half(), folder)
        if clip is not None:
            _store_clip(clip, beside / RECORDING)
    environment = ENVIRONMENTS.get(plan.environment)
    made = ZooModel(plan.about, plan.data, plan.licence, plan.command, commit)
    if environment is not None:
        judged = dict(environment.judged)
        settings = {**environment.settings, **judged.get("world_settings", {})}
        task = environment.tasks[plan.offset]
        made = replace(made, world=environment.world, settings=settings, task=task)
    _enter(name, made)


def judge(name: str, out: Path, episodes: int, workers: int) -> None:
    """Act with a model of the zoo, and write the success rates into the index.

    Args:
        name: of the model.
        out: folder of the records; of a model of a recording, the result of ``real_video.py``.
        episodes: held-out goals.
        workers: processes.

    Raises:
        ArmillaryError: the model or its world is not there.
    """
    plan, known = PLANS[name], zoo_model(name)
    if not plan.environment:
        _enter(name, replace(known, numbers=_ahead(name, out)))
        return
    environment = ENVIRONMENTS[plan.environment]
    config = ActConfig(
        episodes=episodes, task=known.task, workers=workers, world_settings=environment.settings
    )
    config = replace(config, **environment.judged)
    with bar(f"acting {name}") as progress:
        found = act(f"zoo:{name}", environment.world, out, config, progress)
    rows = {
        who: {
            "n": row.n,
            "success": row.success,
            "wilson95": list(row.wilson95),
        }
        for who, row in found.rows.items()
    }
    numbers = {"task": known.task, "rows": rows, **provenance(_command(), core_count())}
    _enter(name, replace(known, numbers=numbers))


def _ahead(name: str, file: Path) -> dict[str, Any]:
    """Return the errors of predictions on the held-out part of a video, by seconds ahead.

    Raises:
        ConfigError: the result is of several trainings, so it is not of one model.
    """
    found = read_json(file)["real_video"][name]
    if len(found["horizons"]["0.2"]["model"]["seeds"]) != 1:
        raise ConfigError(f"{file}: is of several seeds. Run real_video.py with --seeds 1.")
    # `read` is the model's own: `model` of that result may be a rule that never saw its latent
    who = ("read", "copy_last", "mean", "ridge")
    errors = {
        seconds: {one: round(row[one]["mean"], 3) for one in who}
        for seconds, row in found["horizons"].items()
    }
    origin = {key: found[key] for key in ("command", "commit", "date", "machine")}
    return {"task": "prediction", "errors": errors, **origin}


def _store_clip(video: Path, folder: Path) -> None:
    """Write a part of a video as a small dataset."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "clip.mp4"
        with av.open(video) as read, av.open(path, "w") as written:
            seen = read.streams.video[0]
            rate = seen.average_rate
            made = written.add_stream("libx264", rate=rate, options={"crf": "10"})
            made.width = made.height = CLIP_PX
            made.pix_fmt = "yuv444p"
            for frame in read.decode(seen):
                if frame.time is not None and CLIP_S[0] <= frame.time < CLIP_S[1]:
                    picture = frame.reformat(CLIP_PX, CLIP_PX, "rgb24").to_ndarray()
                    written.mux(made.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            written.mux(made.encode())
        ingest(path, folder, options=IngestOptions(license="BSD-3-Clause-Clear"))


def _enter(name: str, model: ZooModel) -> None:
    """Write card, digests and entry."""
    folder = ROOT / name
    (folder / MODEL / "README.md").write_text(_card(name, model), encoding="utf-8")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {str(path.relative_to(folder)): file_sha256(path) for path in paths}
    index = read_json(ROOT / INDEX) if (ROOT / INDEX).is_file() else {}
    write_json(ROOT / INDEX, {**index, name: asdict(replace(model, files=files))})
    size_mb = sum(path.stat().st_size for path in paths) / 1e6
    sys.stderr.write(f"zoo:{name}: {size_mb:.1f} MB in {folder}\n")


def _card(name: str, model: ZooModel) -> str:
    """Return the card of a model: what it is, from what, and what was measured."""
    lines = [
        f"# zoo:{name}",
        "",
        f"A world model of armillary. It {model.about}.",
        "",
        f"- Trained on {model.data}.",
        f"- By `{model.command}`, at commit {model.commit[:10]}. Weights are stored as float16.",
        f"- Licence: {model.licence}.",
    ]
    if model.world:
        lines.append(f"- World: {model.world}, task {model.task}.")
    lines += ["", *_said(model.numbers), "", f"    armillary play zoo:{name}", ""]
    return "\n".join(lines)


def _said(numbers: Mapping[str, Any]) -> list[str]:
    """Return what was measured, as lines of Markdown."""
    if not numbers:
        return ["Nothing was measured with these files."]
    where = f"Measured with `{numbers['command']}` on {numbers['date'][:10]} at commit "
    where += f"{numbers['commit'][:10]}. One training, one seed."
    if "errors" in numbers:
        said = [
            f"- {seconds} s ahead: {row['read']}; last picture copied {row['copy_last']}, "
            f"mean {row['mean']}, ridge {row['ridge']}"
            for seconds, row in numbers["errors"].items()
        ]
        return [
            "Error of frozen features read from its predicted latent, last 30 % of the video:",
            "",
            *said,
            "",
            where,
        ]
    rows = numbers["rows"]
    said = {
        who: f"{row['success']:.1%} ({row['wilson95'][0]:.0%} to {row['wilson95'][1]:.0%})"
        for who, row in rows.items()
    }
    first = f"Goals reached at the end, of {rows['model']['n']}: **{said['model']}**, "
    rest = ", ".join(f"{who} {text}" for who, text in said.items() if who != "model")
    return [first + rest + ".", "", where]


def _whole(commit: str) -> str:
    """Return the whole name of a commit of this repository."""
    asked = ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def _command() -> str:
    return "python " + shlex.join(sys.argv)


def main() -> int:
    """Pack or judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pack", "judge"))
    parser.add_argument("name")
    parser.add_argument("folder", type=Path, help="run folder, or folder of the records")
    parser.add_argument("--commit", default="HEAD", help="that trained the model")
    parser.add_argument("--clip", type=Path, help="video of which a part is stored, too")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    try:
        if given.name not in PLANS:
            raise unknown_name("model of the zoo", given.name, PLANS)
        if given.what == "pack":
            pack(given.name, given.folder, _whole(given.commit), given.clip)
        else:
            judge(given.name, given.folder, given.episodes, given.workers)
    except ArmillaryError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
