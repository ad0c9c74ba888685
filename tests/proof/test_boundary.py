"""What a policy process does wrong costs its own episodes; records are those of the policy here."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import armillary
from armillary.core.errors import ConfigError
from armillary.core.values import ActionBounds, Observation, WorldSpec
from armillary.evaluation import NoOpPolicy, NoOpSpec, RandomSpec, evaluate, make_manifest
from armillary.proof import sandbox
from armillary.proof.grader import RemoteSpec
from armillary.proof.interleaving import Part, interleave, interleaved_records
from armillary.proof.lockdown import ENFORCEABLE, Limits
from armillary.proof.sandbox import PolicyProcessError, Sandbox, boundary_label, system_label
from armillary.proof.wire import Message, encode

ROOT = str(Path(armillary.__file__).parents[1])
NAUGHTY = str(Path(__file__).with_name("naughty.py"))
LIMITS = Limits(decision_s=20.0, start_s=30.0, memory_bytes=512 << 20, message_bytes=1 << 20)
RULES = make_manifest("two_rooms", "reach", 4, 3, settings={"image_size": 16}, budget=5)
FIFTH = ((1, 0), (1, 1), (0, 0), (0, 1), (1, 2), (1, 3))
SILENT = ("hang", "spin", "trickle")
LOCKABLE = sys.platform.startswith("linux")
needs_locks = pytest.mark.skipif(not LOCKABLE, reason="only Linux has the locks")


def naughty(mode: str, *more: str) -> RemoteSpec:
    command = (sys.executable, "-I", NAUGHTY, ROOT, mode, *more)
    # Machines are shared: only who never answers gets little time.
    limits = replace(LIMITS, decision_s=2.0) if mode in SILENT else LIMITS
    return RemoteSpec(NoOpSpec(), limits, command)


def world(**changes) -> WorldSpec:
    bounds = ActionBounds(np.full(2, -0.1), np.full(2, 0.1))
    spec = WorldSpec("w", bounds, 0.1, ("reach",), 5, 0.1, "m", {"rgb": "rgb"})
    return replace(spec, **changes)


@pytest.fixture(scope="module")
def honest():
    records = evaluate(RULES, naughty("honest"))
    assert {record.outcome for record in records} <= {"success", "failure"}
    return records


def broken(records, honest) -> list[str]:
    """Check that nothing but whole episodes broke and return their sentences."""
    sentences = []
    for record, good in zip(records, honest, strict=True):
        if record.outcome in ("crash", "timeout"):
            assert record.actions == good.actions[: record.steps] and record.steps == 2
            sentences.append(record.error)
        else:
            assert replace(record, policy=good.policy) == good
    assert 0 < len(sentences) < len(honest)
    return sentences


MISDEEDS = {
    "hang": "The policy stopped: The policy process did not answer within 2 s.",
    "spin": "did not answer within 2 s.",
    "trickle": "did not answer within 2 s.",
    "flood": r"did not send a message: A message begins with b'arw1'; b'\x00\x00\x00\x00' came.",
    "announce": "announces 10 + 1152921504606846976 bytes; at most 65536 + 1048576 are allowed.",
    "deep": "A message's head is not JSON (maximum recursion depth exceeded",
    "twice": "The policy process spoke before it was asked.",
    "lying": "model_steps is a whole number from 0 to 2^53; something else came.",
    "nan": "The policy's action is not finite: [nan, nan]; check the model's weights.",
    "silent exit": "The policy process ended (exit code 0).",
    "exit": "The policy process ended (exit code 3).",
    "segfault": "The policy process was ended by SIGSEGV.",
    "garbage": r"A message begins with b'arw1'; b'\x93NUM' came.",
    "pickle": r"A message begins with b'arw1'; b'\x80\x04co' came.",
}


@pytest.mark.parametrize("mode", sorted(MISDEEDS))
def test_a_misdeed_costs_its_own_episodes_only(mode, honest):
    if mode == "twice":  # the second answer is noticed at the next step
        sentences = [r.error for r in evaluate(RULES, naughty(mode)) if r.outcome == "crash"]
        assert 0 < len(sentences) < len(honest)
    else:
        sentences = broken(evaluate(RULES, naughty(mode)), honest)
    assert all(MISDEEDS[mode] in sentence for sentence in sentences), sentences


def test_a_policy_that_hangs_is_late_and_did_not_crash(honest):
    outcomes = {record.outcome for record in evaluate(RULES, naughty("hang"))}
    assert "timeout" in outcomes and "crash" not in outcomes


REFUSED = {
    "file": "PermissionError: [Errno 1] Operation not permitted: '/etc/passwd'",
    "write": "PermissionError: [Errno 1] Operation not permitted: '/tmp/armillary-naughty'",
    "list": "PermissionError",
    "stat": "PermissionError",
    "memory file": "PermissionError",
    "socket": "PermissionError",
    "unix socket": "PermissionError",
    "fork": "PermissionError",
    "exec": "PermissionError",
    "run": "Error",
    "kill": "PermissionError",
    "memory": "MemoryError",
}


@needs_locks
@pytest.mark.parametrize("mode", sorted(REFUSED))
def test_what_is_locked_is_refused_and_costs_its_own_episodes_only(mode, honest):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        sentences = broken(evaluate(RULES, naughty(mode, port)), honest)
        server.settimeout(0.0)
        with pytest.raises(BlockingIOError):  # nobody came
            server.accept()
    assert all(REFUSED[mode] in sentence for sentence in sentences), sentences
    assert all(sentence.isprintable() for sentence in sentences)
    assert not Path("/tmp/armillary-naughty").exists()


@needs_locks
def test_this_system_enforces_everything():
    assert system_label() == ENFORCEABLE
    assert boundary_label(system_label()) == "enforced: files, memory, network, processes, time"
    assert (
        boundary_label(["time"])
        == "enforced: time; not enforced: files, memory, network, processes"
    )
    assert boundary_label([]).startswith("enforced: nothing; not enforced: files")


@needs_locks
def test_locks_are_tried_not_assumed():
    with pytest.raises(PolicyProcessError) as caught:
        naughty("unlocked")(world())
    assert str(caught.value).startswith(
        "The policy process is not kept from files, memory, processes, time, which this system"
    )


NOBODY = """
import os, resource, sys  # before: they may lie where nobody may read
sys.path.insert(0, {root!r})
from armillary.proof import lock_probe
os.setgroups([]); os.setgid(65534); os.setuid(65534)
lock_probe.main()
"""


@needs_locks
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can drop it")
def test_a_user_without_rights_is_locked_as_well_as_root():
    command = [sys.executable, "-I", "-c", NOBODY.format(root=ROOT)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert tuple(found.stdout.split()) == ENFORCEABLE


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("stillborn", r"The policy process ended \(exit code 4\)"),
        ("speechless", "did not answer within 0.5 s"),
    ],
)
def test_a_process_that_does_not_start_is_one_sentence(mode, sentence):
    spec = naughty(mode)
    with pytest.raises(PolicyProcessError, match=sentence):
        replace(spec, limits=replace(LIMITS, start_s=0.5 if mode == "speechless" else 30.0))(
            world()
        )


def test_what_may_not_be_seen_is_refused_before_anything_is_played():
    with pytest.raises(ConfigError, match="asks for 'state', which w does not give to policies"):
        naughty("peeping")(world())


def test_nothing_but_what_is_seen_goes_over(monkeypatch, honest):
    sent: list[bytes] = []
    ask = Sandbox.ask

    def tapped(self, message: Message, answer: str, seconds: float) -> Message:
        sent.append(encode(message))
        assert message.arrays.keys() <= {"rgb", "low", "high"}
        return ask(self, message, answer, seconds)

    monkeypatch.setattr(Sandbox, "ask", tapped)
    evaluate(RULES, naughty("honest"))
    everything = b"".join(sent)
    secrets = [RULES.world, RULES.task, RULES.sha256, "image_size", "success"]
    secrets += [text for one in RULES.episodes for text in (one.id, str(one.seed))]
    secrets += [str(one.goal_seed) for one in RULES.episodes]
    assert len(sent) == 1 + 4 * (1 + RULES.budget)
    assert [one for one in secrets if one.encode() in everything] == []


def test_the_environment_does_not_go_over(monkeypatch):
    monkeypatch.setenv("TASK_NAME", "two_rooms")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    errors = {record.error for record in evaluate(RULES, naughty("environment"))} - {""}
    (said,) = errors
    names = set(said.replace("The policy stopped: ValueError: ", "").split())
    assert {"MKL_CBWR", "OMP_NUM_THREADS"} <= names
    assert not {"TASK_NAME", "PATH", "HOME", "USER", "PYTHONPATH"} & names


def test_a_policy_plays_one_episode_at_a_time():
    policy = naughty("honest")(world())
    goal = {"rgb": np.zeros((4, 4, 3), np.uint8)}
    seen = Observation(goal)
    first = policy.init(seen, 2)
    _, later = policy.act(seen, first)
    with pytest.raises(ConfigError, match="plays one episode at a time, step after step"):
        policy.act(seen, first)
    policy.act(seen, later)
    policy.init(seen, 4)
    with pytest.raises(ConfigError, match="plays one episode at a time, step after step"):
        policy.act(seen, later)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_ends_with_its_policy():
    policy = naughty("honest")(world())
    pid = policy.pid
    assert pid is not None and alive(pid)
    del policy
    gc.collect()
    assert not alive(pid)


PARENT = """
import sys, time
sys.path.insert(0, {root!r})
from armillary.proof.lockdown import Limits
from armillary.proof.sandbox import Sandbox
from armillary.proof.wire import Message
import numpy as np
setup = Message("setup", {{}}, {{"low": np.zeros(2)}})
box = Sandbox(setup, Limits(), {command!r})
print(box.pid, flush=True)
time.sleep(1000)
"""


@needs_locks
def test_a_process_ends_with_its_grader_even_if_that_is_killed():
    code = PARENT.format(root=ROOT, command=naughty("hang").command)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid) or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_the_identity_says_whose_policy_it_is_and_what_is_enforced():
    own = RemoteSpec(RandomSpec()).identity()
    assert own == f"random behind a boundary ({boundary_label(system_label())})"
    assert naughty("honest").identity().startswith("noop behind a boundary by another command (")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decision_s": 0.0}, "decision_s and start_s must be above 0 seconds; got 0.0 and 180.0."),
        ({"memory_bytes": 0}, "memory_bytes, message_bytes and cpu_s must be at least 1; got 0, "),
    ],
)
def test_limits_that_cannot_be(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Limits(**changes)


def test_tasks_take_turns_in_an_order_that_the_seed_names():
    every = {(place, at) for place in range(2) for at in range(3)}
    orders = {interleave((3, 3), seed) for seed in range(40)}
    assert all(len(order) == 6 and set(order) == every for order in orders)
    assert len(orders) > 10  # of 20
    for order in orders:  # a task's own episodes stay in order
        assert [at for place, at in order if place == 0] == [0, 1, 2]
    # fixed for ever: verifiers must find the same
    assert interleave((2, 4), 5) == FIFTH


def both_tasks() -> list:
    return [
        make_manifest("two_rooms", task, 3, 1, settings={"image_size": 16}, budget=4)
        for task in ("reach", "cross")
    ]


def test_locks_that_cannot_be_tried_are_not_taken_for_none(monkeypatch):
    monkeypatch.setattr(sandbox, "_PROBE_S", 0.001)
    sandbox.system_label.cache_clear()
    with pytest.raises(PolicyProcessError, match="locks of this system could not be tried"):
        sandbox.system_label()


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_in_one_row_give_the_records_that_they_give_alone(workers):
    actor, manifests = naughty("honest"), both_tasks()
    parts = [Part(manifest, actor, actor.identity()) for manifest in manifests]
    got = list(interleaved_records(parts, 5, workers, done={(0, 1)}))
    places = [place for place, _ in got]
    assert len(got) == 5 and places != sorted(places)  # really mixed, and not what is there already
    for place, manifest in enumerate(manifests):
        mine = {record.id: record for at, record in got if at == place}
        alone = {record.id: record for record in evaluate(manifest, actor)}
        assert mine == {name: alone[name] for name in mine}


def test_only_tasks_that_look_and_are_played_alike_share_a_policy():
    made = []

    class Counting(NoOpPolicy):
        def __init__(self, spec: WorldSpec) -> None:
            super().__init__(spec.bounds)
            made.append(spec.name)

    def other(spec: WorldSpec) -> Counting:
        return Counting(spec)

    wide = make_manifest("two_rooms", "reach", 1, 0, settings={"image_size": 32}, budget=4)
    rows = [(one, Counting) for one in both_tasks()]  # one policy for both
    rows += [(wide, Counting), (both_tasks()[0], other)]  # one each
    assert len(list(interleaved_records([Part(*row, "noop") for row in rows], 0))) == 10
    assert len(made) == 3
