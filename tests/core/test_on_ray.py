"""Ray: which words name it, what is said without it, and real actors that die."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import types
from pathlib import Path

import psutil
import pytest

from armillary.core.errors import ConfigError, MissingExtraError, ShapeError, WorldError
from armillary.core.on_ray import connected, ray_address, run_on_ray


@pytest.mark.parametrize(
    ("on", "address"),
    [("ray", None), ("ray://head:6379", "head:6379"), ("ray://[::1]:6379", "[::1]:6379")],
)
def test_ray_is_here_or_at_an_address(on, address, monkeypatch):
    asked = []
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.setattr("socket.create_connection", lambda *where: asked.append(where) or Ear())
    assert ray_address(on) == address
    assert asked == ([] if address is None else [((address[:-5].strip("[]"), 6379), 10.0)])


@pytest.mark.parametrize("on", ["Ray", "slurm", "ray://", "ray://head", "ray://head:x", "ray:/h:1"])
def test_other_words_are_refused(on):
    with pytest.raises(ConfigError, match="--on takes ray or ray://HOST:PORT, got"):
        ray_address(on)


def test_without_ray_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'armillary\[ray\]'"):
        ray_address("ray")
    with pytest.raises(MissingExtraError):
        list(run_on_ray(None, squares, [1], 2))


def test_nothing_to_do_asks_for_no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(run_on_ray(None, squares, [], 2)) == []


@pytest.mark.parametrize("port", [1, 99999999])
def test_where_no_ray_answers_is_one_sentence(port, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    with pytest.raises(ConfigError, match=f"No Ray answers at 127.0.0.1:{port} .*ray start --head"):
        ray_address(f"ray://127.0.0.1:{port}")


def test_a_missing_token_is_one_sentence(monkeypatch):
    class AuthenticationError(Exception):
        """Ray's own has this name, and lines of advice on its other tools."""

    def init(**how):
        raise AuthenticationError("Token authentication is enabled\nbut no token was found")

    fake = types.ModuleType("ray")
    vars(fake).update(init=init, is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "ray", fake)
    said = r"Ray at head:6379 asks for a token, .* RAY_AUTH_TOKEN_PATH\.$"
    with pytest.raises(ConfigError, match=said), connected("head:6379", 1):
        pass


def test_tasks_are_taken_when_an_actor_is_free(monkeypatch):
    taken = []

    class Kind:
        """Ray's class of actors, whose tasks are done at once."""

        def __init__(self, *made):
            self.run = self

        def remote(self, *made):
            return made[0] if len(made) and isinstance(made[0], int) else Kind()

    fake = types.ModuleType("ray")
    vars(fake).update(
        is_initialized=lambda: True,
        remote=lambda **how: lambda kind: Kind(),
        wait=lambda running: ([running[0]], running[1:]),
        get=lambda done: done,
        exceptions=types.SimpleNamespace(RayTaskError=OSError, RayActorError=OSError),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    tasks = (taken.append(task) or task for task in range(9))
    found = run_on_ray(None, squares, tasks, 2)
    assert next(found) == 0 and taken == [0, 1, 2, 3]
    assert next(found) == 1 and taken == [0, 1, 2, 3, 4]
    assert [0, 1, *found] == taken == [*range(9)]


class Ear:
    def close(self):
        pass


def squares():
    return lambda task: task**2


def deadly(folder: Path, task: int) -> int:
    """Die the first time that task 3 is asked for."""
    seen = folder / "seen"
    if task == 3 and not seen.exists():
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def always_dead(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def refusing(task: int) -> int:
    raise ShapeError(f"Task {task} has no shape.")


def broken(task: int) -> int:
    return 1 // 0


def opened(function):
    return function


def closed():
    raise ShapeError("There is no model.")


@pytest.mark.runs  # Ray takes seconds to start
@pytest.mark.filterwarnings("ignore")
class TestRealRay:
    def test_its_servers_listen_on_the_loopback_alone(self, local_ray):
        import ray

        assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        heard = []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # an actor of another test, just ended
                heard += [
                    one.laddr.ip.removeprefix("::ffff:")
                    for one in process.net_connections()
                    if one.status == psutil.CONN_LISTEN
                ]
        assert {*heard} == {"127.0.0.1"}

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_every_task_is_done(self, local_ray):
        assert sorted(run_on_ray(None, squares, range(7), 2)) == [n**2 for n in range(7)]

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_more_actors_than_cores_do_every_task(self, local_ray):
        assert sorted(run_on_ray(None, squares, range(20), 5)) == [n**2 for n in range(20)]

    def test_what_a_dead_actor_had_is_done_again(self, local_ray, tmp_path):
        opener = functools.partial(opened, functools.partial(deadly, tmp_path))
        assert sorted(run_on_ray(None, opener, range(8), 2)) == list(range(8))
        assert (tmp_path / "seen").exists()

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_one_that_always_dies_ends_the_work(self, local_ray):
        with pytest.raises(WorldError, match="died more than 3 times"):
            list(run_on_ray(None, functools.partial(opened, always_dead), [1], 1))

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_an_error_of_ours_keeps_its_kind_and_sentence(self, local_ray):
        with pytest.raises(ShapeError, match=r"^Task 5 has no shape\.$"):
            list(run_on_ray(None, functools.partial(opened, refusing), [5], 1))

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_so_does_one_of_the_opener(self, local_ray):
        with pytest.raises(ShapeError, match=r"^There is no model\.$"):
            list(run_on_ray(None, closed, [5], 1))

    @pytest.mark.slow  # actors of Ray take seconds to start
    def test_any_other_error_is_named(self, local_ray):
        with pytest.raises(WorldError, match="A Ray actor raised ZeroDivisionError"):
            list(run_on_ray(None, functools.partial(opened, broken), [5], 1))
