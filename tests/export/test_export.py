"""An exported model computes what the model computes, and a folder that was changed is refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from armillary.cli.main import main
from armillary.core.errors import CheckFailedError, ConfigError, ShapeError
from armillary.core.values import ActionBounds, Latent, Observation
from armillary.evaluation import ModelSpec, WorldFactory
from armillary.evaluation.seeing import encode_observation
from armillary.models import JEPAConfig, PredictorConfig, load_model, save_model, untrained
from armillary.models.encoder import EncoderConfig
from armillary.models.goal_policy import GoalPolicyConfig, untrained_goal_policy
from armillary.models.goal_policy_file import POLICY_FILE, save_goal_policy
from armillary.planning import Planning

why = "the extra 'export' is not installed"
pytest.importorskip("onnx", reason=why)
pytest.importorskip("onnxscript", reason=why)
pytest.importorskip("onnxruntime", reason=why)

from armillary.export import exporter  # noqa: E402
from armillary.export.exporter import TOLERANCE, Robot, export_model  # noqa: E402
from armillary.export.graphs import check_sensors, inverse_3x3  # noqa: E402
from armillary.export.ports import random_values, sensor_ports  # noqa: E402
from armillary.export.runner import MANIFEST, MOST_MANIFEST_BYTES, ExportError, Runner  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # torch.export takes minutes where others work, too

WORLD, SETTINGS = "two_rooms", {"image_size": 16}
STEPS = 12
SMALL = EncoderConfig(image_size=16, patch_hidden=16, hidden=32, keypoints=4, width=16)
FLAT = PredictorConfig(memory=8, hidden=16, layers=2)
NONE = PredictorConfig(memory=0, hidden=16)
BLOCKS = PredictorConfig(memory=4, hidden=16, depth=1, heads=2)
FAN = {"azimuths_rad": tuple(np.linspace(-1, 1, 21).tolist()), "scan_patch": 4}
ROBOT = {"action_width": 4, "frame_skip": 2}
MODELS = {
    "acting": JEPAConfig(("rgb",), SMALL, FLAT, **ROBOT),
    "video": JEPAConfig(
        ("depth", "pose", "proprio"),
        replace(SMALL, reads="places"),
        NONE,
        action_width=0,
        proprio_width=3,
    ),
    "blocks": JEPAConfig(
        ("rgb", "points_camera"), replace(SMALL, depth=1, heads=2), BLOCKS, **ROBOT
    ),
    "beams": JEPAConfig(("rgb", "points", "scan"), SMALL, FLAT, **ROBOT, **FAN),
}
TOKENS = {"name": "tokens", "dtype": "float32", "shape": ["batch", 4, 16]}
# In a process of its own: torch.export reads the source of what it exports, and cannot read the
# checks of shapes that this one has.
RUN = """
import contextlib, io, json, sys
from armillary.cli.main import main
told = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        told.append([main(words), out.getvalue()])
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Exports:
    """Model folders, what was exported of each, and what the command said."""

    models: Path
    folders: Path
    said: dict[str, str]


def saved(name: str, out: Path) -> None:
    config = MODELS[name]
    model = untrained(config, 0)
    model.step_s = 0.2
    with torch.no_grad():
        for scale in model.normalizer.buffers():
            scale.add_(0.3)
    save_model(model, out)
    if name != "acting":
        return
    made = untrained_goal_policy(GoalPolicyConfig(config.latent_width, 4, hidden=16, layers=1), 0)
    made.farthest.fill_(8.0)
    made.action_std.fill_(0.2)
    save_goal_policy(made, out)


@pytest.fixture(scope="module")
def exports(tmp_path_factory, worker_id) -> Exports:
    base = tmp_path_factory.getbasetemp()
    # it takes most of a minute, so processes that share the tests share it, too
    root = (base if worker_id == "master" else base.parent) / "exports"
    root.mkdir(exist_ok=True)
    with FileLock(root / "lock"):
        if not (root / "said.json").is_file():
            (root / "said.json").write_text(json.dumps(made_in(root)))
    return Exports(root / "models", root / "out", json.loads((root / "said.json").read_text()))


def made_in(root: Path) -> dict[str, str]:
    more = {
        "acting": [WORLD, "--setting", "image_size=16", "--steps", str(STEPS)],
        "beams": ["--low", "-1", "-1", "--high", "1", "1", "--steps", "9", "--json"],
    }
    words = []
    for name in MODELS:
        saved(name, root / "models" / name)
        words.append(["export", str(root / "models" / name), *more.get(name, [])])
        words[-1] += ["--out", str(root / "out" / name)]
    made = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(words), capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert [code for code, _ in told] == [0] * len(MODELS), made.stderr
    assert made.stderr == ""
    return dict(zip(MODELS, (said for _, said in told), strict=True))


@pytest.fixture(scope="module")
def folder(exports) -> Path:
    return exports.models / "acting"


@pytest.fixture(scope="module")
def exported(exports) -> Path:
    return exports.folders / "acting"


@pytest.fixture(scope="module")
def world():
    made = WorldFactory(WORLD, SETTINGS)()
    yield made
    made.close()


@pytest.fixture
def copied(exported, tmp_path) -> Path:
    return shutil.copytree(exported, tmp_path / "export")


def changed(folder: Path, **values) -> Path:
    """Change the manifest, a value by its path with two underscores between the names."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for path, value in values.items():
        *names, last = path.split("__")
        inner = manifest
        for name in names:
            inner = inner[name]
        inner[last] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def rewritten(folder: Path, name: str, data: bytes) -> Path:
    """Put another file in place of a graph, and into the manifest, as an attacker would."""
    (folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": len(data), "sha256": digest}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_every_sensor_is_encoded_as_torch_does(exports, name):
    model, runner = load_model(exports.models / name), Runner.load(exports.folders / name)
    ports = sensor_ports(model.config)
    values = random_values(ports, 4, np.random.default_rng(7))
    streams = dict(zip([port.name for port in ports], values, strict=True))
    together = runner.graphs["encoder"](streams)[0]
    for row in range(4):
        seen = {name: value[row] for name, value in streams.items()}
        wanted = encode_observation(model, Observation(seen), 16)[0].numpy()
        np.testing.assert_allclose(runner.encode(seen), wanted, atol=TOLERANCE)
        np.testing.assert_allclose(together[row], wanted[0], atol=TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_every_predictor_predicts_as_torch_does(exports, name):
    model, runner = load_model(exports.models / name), Runner.load(exports.folders / name)
    config, rng = model.config, np.random.default_rng(0)
    tokens = rng.normal(size=(1, config.encoder.tokens, config.encoder.width)).astype(np.float32)
    shape = 3, config.frame_skip, config.action_width // config.frame_skip
    plan = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    with torch.no_grad():
        latent = Latent(torch.from_numpy(tokens)[None])
        wanted = model.rollout(latent, plan.flatten(1)[None, None])[0, 0].numpy()
    memory = None
    for step in range(3):
        action = plan[step].numpy() if config.action_width else None
        tokens, memory = runner.predict(tokens, action, memory)
        np.testing.assert_allclose(tokens[0], wanted[step], atol=TOLERANCE)
        assert (memory is None) == (config.predictor.memory == 0)


def test_an_inverse_by_cofactors_is_the_inverse():
    matrices = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse_3x3(matrices), torch.linalg.inv(matrices))


def test_the_runner_acts_as_the_policy_does_in_process(folder, exported, world):
    direct = ModelSpec(folder, Planning(planner="direct"))
    policy = direct(replace(world.spec, budget=STEPS))
    runner = Runner.load(exported)
    now = world.reset(3)
    goal = world.draw_goal("reach", np.random.default_rng(1)).observation
    state, tokens = policy.init(goal, 0), runner.encode(goal.streams)
    for step in range(STEPS):
        wanted, state = policy.act(now, state)
        chunk = runner.decide(runner.encode(now.streams), tokens, steps_left=STEPS - step)
        np.testing.assert_allclose(chunk[0], wanted, atol=TOLERANCE)
        assert chunk.shape == (2, 2)
        assert (chunk >= world.spec.bounds.low).all() and (chunk <= world.spec.bounds.high).all()
        now = world.step(wanted)


def test_actions_are_clipped_where_there_are_limits(folder, exported, tmp_path, world):
    runner, free = Runner.load(exported), tmp_path / "free"
    seen = world.reset(0).streams
    tight = changed(
        shutil.copytree(exported, free), action__low=[-1e-6] * 2, action__high=[0.0] * 2
    )
    assert np.abs(Runner.load(tight).act(seen, seen, 4)).max() <= 1e-6
    changed(free, action__low=None, action__high=None)
    meant = Runner.load(free).act(seen, seen, 4)
    low, high = world.spec.bounds.low, world.spec.bounds.high
    np.testing.assert_array_equal(runner.act(seen, seen, 4), np.clip(meant, low, high))


def test_the_folder_runs_without_torch_and_without_armillary(exported, world, tmp_path):
    seen = world.reset(0).streams["rgb"]
    np.save(tmp_path / "seen.npy", seen)
    code = (
        "import sys, numpy as np; sys.modules['torch'] = sys.modules['armillary'] = None; "
        "from runner import Runner; r = Runner.load('.'); "
        f"x = {{'rgb': np.load({str(tmp_path / 'seen.npy')!r})}}; print(r.act(x, x, 5).tolist())"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, check=True
    )
    wanted = Runner.load(exported).act({"rgb": seen}, {"rgb": seen}, 5)
    assert json.loads(made.stdout) == wanted.tolist()


def test_the_manifest_says_what_a_robot_must_know(exported, folder):
    manifest = json.loads((exported / MANIFEST).read_text())
    assert (manifest["frame_skip"], manifest["step_s"], manifest["control_hz"]) == (2, 0.1, 10.0)
    assert manifest["action"]["width"] == 2 and manifest["action"]["low"] is not None
    assert manifest["model"]["files"].keys() >= {"model.safetensors", POLICY_FILE}
    assert manifest["largest_difference"] < TOLERANCE
    assert manifest["graphs"]["encoder"]["inputs"][0]["shape"] == ["batch", 16, 16, 3]
    data = (exported / "encoder.onnx").read_bytes()
    assert b"location" not in data and b".py" not in data


def test_without_a_goal_policy_encoder_and_predictor_are_exported(exports):
    assert "no goal policy, so only encoder and predictor were exported" in exports.said["blocks"]
    assert not (exports.folders / "blocks" / "policy.onnx").exists()
    runner = Runner.load(exports.folders / "blocks")
    tokens = np.zeros((1, 4, 16), np.float32)
    with pytest.raises(ExportError, match="no goal policy"):
        runner.decide(tokens, tokens)


def test_limits_of_a_robot_are_in_the_manifest(exports):
    told = json.loads(exports.said["beams"])
    assert told["action"]["high"] == [1.0, 1.0] and told["steps"] == 9
    assert [*told["graphs"]] == ["encoder", "predictor"]


def test_graphs_that_differ_from_torch_are_not_written(exports, folder, tmp_path, monkeypatch):
    def another(network, given, later):
        name = {"tokens": "encoder", "next_tokens": "predictor"}.get(later[0].name, "policy")
        return (other / f"{name}.onnx").read_bytes()

    other = exports.folders / "acting"
    changed = shutil.copytree(folder, tmp_path / "model")
    model = load_model(folder)
    with torch.no_grad():
        next(model.encoder.parameters()).add_(0.1)
    save_model(model, changed)
    monkeypatch.setattr(exporter, "onnx_bytes", another)
    with pytest.raises(CheckFailedError, match="differ from torch by"):
        export_model(changed, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    old = (other / "encoder.onnx").read_bytes()
    monkeypatch.setattr(exporter, "onnx_bytes", lambda *more: old[: len(old) // 2])
    with pytest.raises(CheckFailedError, match="onnxruntime cannot load it"):
        export_model(folder, tmp_path / "out")
    monkeypatch.setattr(exporter, "onnx_bytes", another)
    manifest = export_model(folder, tmp_path / "out")  # the same graphs are right for this one
    assert manifest["action"]["low"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere_at_all"], "there is no folder nowhere_at_all here"),
        (["MODEL", "--low", "-1"], "low below high; got [-1.0] and []"),
        (["MODEL", "--low", "1", "1", "--high", "0", "2"], "low below high"),
        (["MODEL", "--low", "-1", "--high", "1"], "this world has 2"),
        (["MODEL", "two_rooms", "--low", "-1", "--high", "1"], "not both"),
        (["MODEL", "--steps", "-2"], "--steps takes a whole number"),
        (["MODEL", "no_such_world"], "no_such_world"),
    ],
)
def test_wrong_use_is_one_sentence(folder, tmp_path, capsys, words, said):
    words = [str(folder) if word == "MODEL" else word for word in words]
    assert main(["export", *words, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["export", str(folder), "--out", str(tmp_path)]) == 2
    assert "is there and not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(folder, tmp_path, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 3
    assert f"{module} is needed to export a model" in (told := capsys.readouterr().err)
    assert "pip install 'armillary[export]'" in told


@pytest.mark.parametrize("sensor", ["cloud", "depth_cloud", "filled_cloud"])
def test_a_sensor_that_cannot_be_exported_is_named(tmp_path, sensor):
    save_model(untrained(JEPAConfig(("rgb", sensor), SMALL), 0), tmp_path / "model")
    with pytest.raises(ConfigError, match=f"sees {sensor}, which cannot be exported"):
        export_model(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_limits_of_another_width_or_without_end_are_refused(folder, tmp_path):
    for width, high, error in ((3, 1.0, ShapeError), (2, np.inf, ConfigError)):
        bounds = ActionBounds(np.full(width, -1.0), np.full(width, high))
        with pytest.raises(error):
            export_model(folder, tmp_path / "out", Robot(bounds))


def test_a_graph_that_was_changed_is_refused(copied):
    data = bytearray((copied / "policy.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copied / "policy.onnx").write_bytes(data)
    with pytest.raises(ExportError, match=r"policy\.onnx: is not the file that was exported"):
        Runner.load(copied)


def test_data_outside_of_the_folder_are_refused(copied):
    import onnx
    from onnx.external_data_helper import set_external_data

    (copied.parent / "secret").write_bytes(bytes(1 << 20))
    model = onnx.load(copied / "policy.onnx")
    weights = model.graph.initializer[0]
    set_external_data(weights, "../secret", offset=0, length=len(weights.raw_data))
    weights.ClearField("raw_data")
    rewritten(copied, "policy.onnx", model.SerializeToString())
    with pytest.raises(ExportError, match="takes data from outside of the file"):
        Runner.load(copied)


def test_a_link_instead_of_a_graph_is_refused(copied, exported):
    (copied / "policy.onnx").unlink()
    (copied / "policy.onnx").symlink_to(exported / "policy.onnx")
    with pytest.raises(ExportError, match="is a link"):
        Runner.load(copied)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"format": "armillary-export/0"}, "the format armillary-export/1 was expected"),
        ({"graphs__policy__file": "../policy.onnx"}, r"not policy\.onnx"),
        ({"graphs__policy__file": "predictor.onnx"}, r"not policy\.onnx"),
        ({"graphs__policy__outputs": [TOKENS]}, "other inputs or outputs"),
        ({"graphs": {}}, "lacks the graph 'encoder'"),
        ({"graphs__other": {}}, "'other', which nobody knows"),
        ({"files": {}}, "not a manifest"),
        ({"files__policy.onnx__sha256": "0"}, "no SHA-256"),
        ({"files__policy.onnx__bytes": 1 << 40}, "whole number"),
        ({"frame_skip": 0}, "whole number"),
        ({"frame_skip": True}, "whole number"),
        ({"action__low": [0.0, "x"]}, "limits of actions|not a manifest"),
        ({"action__low": [2.0, 2.0]}, "limits of actions"),
        ({"action": None}, "not a manifest"),
        ({"graphs__encoder__inputs": []}, "inputs and outputs"),
        (
            {"graphs__encoder__inputs": [{"name": "rgb", "dtype": "object", "shape": []}]},
            "not read",
        ),
    ],
    ids=[str(number) for number in range(16)],
)
def test_a_manifest_that_is_wrong_is_one_sentence(copied, values, said):
    with pytest.raises(ExportError, match=said):
        Runner.load(changed(copied, **values))


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", " " * (MOST_MANIFEST_BYTES + 1), "\xff"])
def test_a_manifest_that_is_no_manifest_is_refused(copied, text):
    (copied / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(ExportError, match=r"export\.json"):
        Runner.load(copied)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ExportError, match="a folder that armillary export wrote"):
        Runner.load(tmp_path / "nowhere")


def test_what_a_graph_does_not_take_is_refused(exported):
    runner = Runner.load(exported)
    for picture in (np.zeros((8, 8, 3), np.uint8), np.zeros((16, 16, 3), np.float32)):
        with pytest.raises(ExportError, match="at the model's size"):
            runner.encode({"rgb": picture})
    with pytest.raises(ExportError, match="'rgb' is missing"):
        runner.encode({"depth": np.zeros((16, 16), np.float32)})
    with pytest.raises(ExportError, match="'action' is missing"):
        runner.predict(runner.encode({"rgb": np.zeros((16, 16, 3), np.uint8)}))


def test_a_model_with_a_trunk_is_refused():
    config = JEPAConfig(sensors=("rgb",), trunk="mobilenetv2", trunk_channels=96)
    with pytest.raises(ConfigError, match="trunk mobilenetv2, which is no part of it and cannot"):
        check_sensors(config)
