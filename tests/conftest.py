"""Settings of all tests."""

import asyncio
import importlib.util
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jaxtyping
import pytest
import shapes
import torch
from hypothesis import settings

# Folders of `make test-runs`: most of their tests are whole runs, from a recording or a claim to a
# result. Tests elsewhere that take more than about five seconds are marked so, too, and say why.
# Shapes are checked where the parts are tested; here that would double the time.
WHOLE_RUNS = (
    *("benchmark", "browser", "docs", "examples", "experiments"),
    *("export", "proof", "recipes", "services"),
)

# Before anything of armillary is imported: only what has a shape is wrapped.
jaxtyping.jaxtyped = shapes.where_shaped

# Machines are shared: how long one example takes says nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is a whole run, and what is a part of ``make check``."""
    for item in items:
        if item.path.parent.name in WHOLE_RUNS:
            item.add_marker("runs")
        if item.path.parent.name == "architecture":
            item.add_marker("checks")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes in this test, or not."""
    whole = item.get_closest_marker("runs") is not None
    jaxtyping.config.update("jaxtyping_disable", whole)


@pytest.fixture
def run_async() -> Iterator[Callable[..., Any]]:
    """Run a coroutine to its end in a thread of its own.

    The driver of the browser holds an event loop in the main thread until the last test, and
    a second loop cannot run in the same thread.
    """
    with ThreadPoolExecutor(1) as thread:
        yield lambda coroutine: thread.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="module")
def local_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let two actors of Ray run on this machine, which can import the test's own file."""
    if importlib.util.find_spec("ray") is None:  # not imported: it reads the environment then
        pytest.skip("Ray is an extra and is not installed")
    from armillary.core.on_ray import connected

    # Ray's own processes and sockets end after the test that made them
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(request.path.parent), prepend=os.pathsep)
        with connected(None, 2):
            yield


def _keep_to_own_cores() -> None:
    """Give every process that shares the tests cores of its own, where there are enough.

    Threads wait for each other by spinning: a training on all cores beside one that does the same
    takes many times as long as both on half of them.
    """
    worker, workers = (os.environ.get(f"PYTEST_XDIST_WORKER{more}") for more in ("", "_COUNT"))
    if worker is None or workers is None or not hasattr(os, "sched_setaffinity"):
        return
    cores, count = sorted(os.sched_getaffinity(0)), int(workers)
    if len(cores) >= count:
        own = cores[int(worker.removeprefix("gw")) % count :: count]
        os.sched_setaffinity(0, own)
        torch.set_num_threads(len(own))


def _settle_arithmetic() -> None:
    """Let torch choose its kernels now: MKL and oneDNN read their settings at their first product.

    Some tests set those settings for a while; had the first product come then, it would have
    stayed so in this process, and no child of it would have agreed to the last bit.
    """
    some = torch.ones(32, 32)
    torch.nn.functional.linear(some, some)
    torch.nn.functional.linear(some.bfloat16(), some.bfloat16())
    torch.nn.functional.conv2d(some[None, None], some[None, None, :3, :3])
    torch.linalg.eigh(some)


_keep_to_own_cores()
_settle_arithmetic()
