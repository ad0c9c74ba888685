r"""Check by hand that armillary and the official LeRobot package read each other's datasets.

The two cannot share an environment (lerobot 0.4.4 caps torch), so the check has three steps:

    python scripts/check_lerobot_reader.py write OUT     # armillary's python
    $LEROBOT scripts/check_lerobot_reader.py read OUT    # reads ours, writes one of its own
    python scripts/check_lerobot_reader.py check OUT     # armillary reads that one

An environment for the middle step, where lerobot's decoder finds FFmpeg in PyAV's wheel, so that
nothing has to be installed on the system:

    python3 -m venv lr && lr/bin/pip install --no-deps lerobot==0.4.4
    lr/bin/pip install "torch<=2.13" "torchvision<=0.28" "torchcodec==0.13.*" "datasets>=4,<5" \
        huggingface_hub packaging "av==18.1.*" pandas draccus accelerate deepdiff einops jsonlines
    S=$(lr/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    mkdir lr/ffmpeg && for f in $S/av.libs/lib{av,sw}*; do b=$(basename $f)
        ln -s $f lr/ffmpeg/${b%%-*}.so.$(echo $b | sed 's/.*[.]so[.]\([0-9]*\).*/\1/'); done
    LEROBOT="env HF_HUB_OFFLINE=1 LD_LIBRARY_PATH=lr/ffmpeg:$S/av.libs lr/bin/python"

Frames agree up to the codec's error; depth is 8-bit for LeRobot, which reads every camera as
colour; everything else agrees to the bit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

EPISODES, STEPS, SIDE, FPS = 3, 24, 64, 10


def main() -> None:
    """Run one step."""
    step, out = sys.argv[1], Path(sys.argv[2])
    {"write": write_ours, "read": read_ours_write_theirs, "check": check_theirs}[step](out)


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")


def pictures(episode: int) -> np.ndarray:
    """Return smooth moving pictures [T H W 3], each different from all others."""
    y, x = np.mgrid[:SIDE, :SIDE]
    moved = [
        [np.sin((x + 3 * t + 20 * episode) / (9 + c)) + np.cos(y / (7 + c)) for c in range(3)]
        for t in range(STEPS)
    ]
    return np.moveaxis(128 + 55 * np.array(moved), 1, -1).astype(np.uint8)


def numbers(episode: int, width: int) -> np.ndarray:
    """Return [T width] numbers that say which episode, step and column they are."""
    return (100 * episode + np.arange(STEPS)[:, None] + np.arange(width) / 8).astype(np.float32)


def write_ours(out: Path) -> None:
    """Write a dataset with armillary."""
    from armillary.core.values import Episode, Stream
    from armillary.data import DatasetWriter, verify

    writer = DatasetWriter(out / "ours", FPS, "toy", "push the box")
    for index in range(EPISODES):
        rgb = pictures(index)
        streams = {
            "rgb": Stream("rgb", rgb),
            "depth": Stream("depth", rgb[..., 0].astype(np.float32) / 100, "m", "camera"),
            "proprio": Stream("proprio", numbers(index, 3), "m", "world"),
            "pusher_xy": Stream("truth", numbers(index, 2), "m", "world"),
            "height_m": Stream("truth", numbers(index, 1), "m", "world"),
        }
        time_ns = np.arange(STEPS, dtype=np.int64) * 100_000_000
        writer.write(index, Episode(streams, time_ns, numbers(index, 2)[:-1]))
    writer.finalize()
    say(f"armillary wrote {out / 'ours'}; verify: {verify(out / 'ours')}")


def read_ours_write_theirs(out: Path) -> None:
    """Read armillary's dataset with lerobot, then write one with lerobot."""
    import lerobot
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/ours", root=out / "ours")
    assert (dataset.num_episodes, len(dataset)) == (EPISODES, EPISODES * STEPS)
    worst = 0.0
    for index in range(len(dataset)):
        episode, step = divmod(index, STEPS)
        item = dataset[index]
        assert item["task"] == "push the box"
        assert (int(item["episode_index"]), int(item["frame_index"])) == (episode, step)
        assert int(item["index"]) == index
        for key, width in (("observation.state", 3), ("truth.pusher_xy", 2), ("truth.height_m", 1)):
            assert np.array_equal(item[key].numpy().reshape(-1), numbers(episode, width)[step]), key
        if step < STEPS - 1:
            assert np.array_equal(item["action"].numpy(), numbers(episode, 2)[step])
        rgb = item["observation.images.rgb"].numpy().transpose(1, 2, 0) * 255
        worst = max(worst, float(np.abs(rgb - pictures(episode)[step]).mean()))
        depth = item["observation.images.depth"].numpy()[0] * 65535 / 1000
        shade = pictures(episode)[step][..., 0] / 100
        assert np.corrcoef(depth.ravel(), shade.ravel())[0, 1] > 0.99
    assert worst < 3, worst
    say(
        f"lerobot {lerobot.__version__} ({dataset.video_backend}) read {len(dataset)} frames of "
        f"armillary's dataset; numbers equal, largest mean colour error {worst:.2f} of 255"
    )
    clip = LeRobotDataset(
        "local/ours", root=out / "ours", delta_timestamps={"observation.images.rgb": [-0.2, 0.0]}
    )[STEPS + 5]["observation.images.rgb"]
    say(f"lerobot read a clip of it: {tuple(clip.shape)}; features: {sorted(dataset.features)}")
    _write_theirs(out, LeRobotDataset)


def _write_theirs(out: Path, dataset_class: type) -> None:
    names = ["height", "width", "channels"]
    camera = {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": names}
    features = {
        "observation.images.wrist": camera,
        "observation.images.top": camera,
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["u", "v"]},
    }
    theirs = dataset_class.create(
        "local/theirs", fps=FPS, features=features, root=out / "theirs", robot_type="arm"
    )
    for episode in range(EPISODES):
        for step in range(STEPS):
            frame = {
                "observation.images.wrist": pictures(episode)[step],
                "observation.images.top": 255 - pictures(episode)[step],
                "observation.state": numbers(episode, 3)[step],
                "action": numbers(episode, 2)[step],
                "task": "push the box",
            }
            theirs.add_frame(frame)
        theirs.save_episode()
    theirs.finalize()
    files = sorted(str(f.relative_to(out)) for f in (out / "theirs").rglob("*") if f.is_file())
    say(f"lerobot wrote {files}")


def check_theirs(out: Path) -> None:
    """Read lerobot's dataset with armillary."""
    from armillary.data import describe, ingest, open_dataset, verify

    dataset = open_dataset(out / "theirs")
    worst = 0.0
    for index in range(EPISODES):
        episode = dataset.read(index)
        assert episode.actions is not None
        assert np.array_equal(episode.actions, numbers(index, 2)[:-1])
        assert np.array_equal(episode.streams["proprio"].values, numbers(index, 3))
        for name, want in (("rgb", pictures(index)), ("top", 255 - pictures(index))):
            got = episode.streams[name].values.astype(np.float64)
            worst = max(worst, float(np.abs(got - want).mean((1, 2, 3)).max()))
            nearest = np.abs(got[:, None] - want[None]).mean((2, 3, 4)).argmin(1)
            assert np.array_equal(nearest, np.arange(STEPS)), name
    assert worst < 8, worst
    codec = dataset.features["observation.images.top"]["info"]["video.codec"]
    say(
        f"armillary read {len(dataset)} episodes of lerobot's dataset ({codec}): numbers equal, "
        f"every frame in its place, largest mean colour error {worst:.2f} of 255"
    )
    say(f"verify: {verify(out / 'theirs')}")
    say(f"streams: {sorted(describe(out / 'theirs')['streams'])}")
    say(f"ingested: {ingest(out / 'theirs', out / 'again')}")


if __name__ == "__main__":
    main()
