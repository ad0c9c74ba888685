"""Wrong use of Slurm, Ray and several processes is one sentence, and nothing is half-done.

The exit code is 2, and 3 where an extra is not installed. The commands run in this process, as a
user would type them.
"""

from __future__ import annotations

import shutil
import socket
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors import SafetensorError

from armillary.cli.main import main
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.worlds import record

SHORT = ["--steps", "2", "--batch-size", "4", "--checkpoint-every", "1", "--threads", "1"]
SHORT += ["--finetune.steps", "0"]
# every command that takes --on, with {data}, {model} and {out} to be filled in
ON_RAY = {
    "record": "record tabletop --episodes 2 --steps 8 --out {out}",
    "act": "act {model} two_rooms --episodes 2 --out {out}",
    "understand": "understand {model} --count 2 --out {out}",
    "bench worlds": "bench worlds tabletop_reach --steps 2 --recorded 2 --out {out}",
    "sweep": "sweep --data {data} --grid optimizer.lr=1e-3 --steps 2 --out {out}",
}
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A recording, a model that the quadruplets and two_rooms fit, and a finished training."""
    folder = tmp_path_factory.mktemp("beyond")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(folder / "cache"))
        record("two_rooms", folder / "data", 2, 15, workers=1)
        words = ["train", "world", "--data", folder / "data", "--out", folder / "run", *SHORT]
        assert main([str(word) for word in words]) == 0
    encoder = EncoderConfig(patch=32, patch_hidden=8, patch_width=8, hidden=8, tokens=2, width=4)
    model = JEPAConfig(("rgb",), encoder, PredictorConfig(8, 8), action_width=2)
    save_model(untrained(model, 0), folder / "model")
    return {name: folder / name for name in ("data", "model", "run", "cache")}


@pytest.fixture
def refused(places, tmp_path, monkeypatch, capsys) -> Refused:
    """Run a command that must be refused; return its sentence."""
    monkeypatch.setenv("ARMILLARY_CACHE", str(places["cache"]))

    def run(words: str, *more: str, code: int = 2) -> str:
        capsys.readouterr()
        filled = words.format(**places, out=tmp_path / "out").split()
        assert main([*filled, *more]) == code
        out, err = capsys.readouterr()
        assert out == ""
        sentences = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(sentences) == 1 and "Traceback" not in err, err
        assert err.endswith(sentences[0] + "\n"), err  # no line follows it
        assert not list(tmp_path.rglob("*.part"))
        return sentences[0].removeprefix("error: ")

    return run


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of something that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def fake_ray(**more) -> types.ModuleType:
    """Return a module that stands for Ray, so that these tests need none."""
    module = types.ModuleType("ray")
    vars(module).update(is_initialized=lambda: False, remote=lambda **_: lambda kind: kind, **more)
    return module


@pytest.mark.parametrize("name", ON_RAY)
def test_without_ray_the_install_line_is_said(name, refused, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(ON_RAY[name], "--on", "ray", code=3)
    assert said == "ray is needed to run on Ray. Install it with: pip install 'armillary[ray]'"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ON_RAY)
@pytest.mark.parametrize("on", ["rya", "slurm", "ray://head", "ray://head:x", "ray:/h:1"])
def test_a_misspelled_address_is_refused(name, on, refused, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "ray", fake_ray())
    said = refused(ON_RAY[name], "--on", on)
    assert said == f"--on takes ray or ray://HOST:PORT, got {on!r}."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ON_RAY)
def test_an_address_where_nothing_answers_is_refused(name, refused, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "ray", fake_ray())
    said = refused(ON_RAY[name], "--on", "ray://127.0.0.1:1")
    assert said.startswith("No Ray answers at 127.0.0.1:1 (")
    assert said.endswith("Start a head there with: ray start --head")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ON_RAY)
def test_without_the_token_the_sentence_says_where_it_belongs(
    name, refused, listening, monkeypatch
) -> None:
    class AuthenticationError(Exception):
        """As Ray's own is called."""

    def init(**options):
        raise AuthenticationError("Token authentication is enabled\nbut there is no token")

    monkeypatch.setitem(sys.modules, "ray", fake_ray(init=init))
    said = refused(ON_RAY[name], "--on", f"ray://{listening}")
    assert f"Ray at {listening} asks for a token" in said
    assert "RAY_AUTH_TOKEN_PATH" in said


@pytest.mark.parametrize("name", ON_RAY)
@pytest.mark.parametrize("on", [[], ["--on", "ray"]])
@pytest.mark.parametrize(
    ("workers", "end"),
    [("0", ", 1 or more; got 0."), ("-2", ", 1 or more; got -2."), ("two", "; got 'two'.")],
)
def test_a_number_of_workers_that_cannot_be_is_refused(
    name, on, workers, end, refused, tmp_path
) -> None:
    said = refused(ON_RAY[name], *on, "--workers", workers)
    assert said.startswith(f"--workers takes a whole number{end}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("understand {model} --workers 3", "--workers has no effect for the quadruplets"),
        ("understand --make-set --on ray", "--on has no effect with --make-set"),
        ("understand --self-test --on ray", "--on has no effect with --self-test"),
        ("understand --ask-people --on ray", "--on has no effect with --ask-people"),
        (
            "understand {model} --suite grasp --data {data} --on ray",
            "--on has no effect with --suite grasp",
        ),
    ],
)
def test_options_of_ray_that_mean_nothing_are_refused(words, said, refused) -> None:
    assert refused(words) == f"{said}; leave it out."


def test_without_slurm_a_sentence_says_what_to_do(refused, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refused("launch slurm --time 60 -- train world --data {data} --out {out}")
    assert said.startswith("There is no Slurm here: sbatch is not on the PATH.")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rank", ["0", "2"])
def test_processes_that_do_not_divide_the_batch_are_refused(
    rank, refused, monkeypatch, tmp_path
) -> None:
    for name, value in {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "RANK": rank}.items():
        monkeypatch.setenv(name, value)
    said = refused("train world --data {data} --out {out}", *SHORT)
    assert said == "batch_size (4) must be divisible by the number of processes (3)."
    assert not (tmp_path / "out").exists()


def test_another_model_than_that_of_the_checkpoint_is_refused(refused, places, tmp_path) -> None:
    shutil.copytree(places["run"], tmp_path / "out", symlinks=True)
    words = "train world --data {data} --out {out} --resume"
    said = refused(words, *SHORT, "--model.encoder.width", "8")
    assert said == (
        f"{tmp_path / 'out' / 'checkpoints' / '000002'}: was made with other settings or other "
        "data; resume with the same, or choose a new --out."
    )


def test_a_checkpoint_of_another_model_is_refused(refused, places, tmp_path) -> None:
    other = [*SHORT, "--model.encoder.width", "8"]
    words = ["train", "world", "--data", places["data"], "--out", tmp_path / "out", *other]
    assert main([str(word) for word in words]) == 0
    shutil.rmtree(tmp_path / "out" / "checkpoints")
    shutil.copytree(places["run"] / "checkpoints", tmp_path / "out" / "checkpoints", symlinks=True)
    said = refused("train world --data {data} --out {out} --resume", *other)
    assert said.startswith(f"{tmp_path / 'out' / 'checkpoints' / '000002'}: was made with other")


def test_a_full_shared_disk_keeps_the_older_checkpoint(refused, monkeypatch, tmp_path) -> None:
    from armillary.models import checkpoint

    write = checkpoint.save_file

    def full_at_the_second(tensors, path, *more):
        if "000002" in str(path):
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        return write(tensors, path, *more)

    monkeypatch.setattr(checkpoint, "save_file", full_at_the_second)
    said = refused("train world --data {data} --out {out}", *SHORT)
    assert said.startswith(f"{tmp_path / 'out' / 'checkpoints'}")
    assert said.endswith(": the disk is full; free some space and run the command again.")
    kept = tmp_path / "out" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["000001", "last"]
