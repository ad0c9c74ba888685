"""Written simulators: what they may say, what they may not, and what a wrong one counts as."""

from __future__ import annotations

import numpy as np
import pytest

from armillary.core.errors import FormatError
from armillary.words.written_code import WrittenSimulator

HERE = (0.0, 0.0, 90.0, 90.0)
STATE = (100.0, 100.0, 130.0, 100.0)


def _step(body: str) -> tuple[float, ...]:
    return WrittenSimulator.read(f"def step(before, now, action):\n{body}").step(
        HERE, STATE, (200.0, 0.0)
    )


def test_it_means_what_python_means() -> None:
    text = """Here it is:
```python
import math
WIDE, TALL = 2.5, [4, 5]
def clamp(x, low=0, high=499):
    "Keep x on the table."
    return max(low, min(high, x))
def step(before, now, action):
    px, py, *_ = now if False else (now[0], now[1])
    return 1, 2, 3, 4
```
"""
    with pytest.raises(FormatError, match="an assignment"):
        WrittenSimulator.read(text).step(HERE, STATE, (0.0, 0.0))
    text = text.replace(
        "px, py, *_ = now if False else (now[0], now[1])\n    return 1, 2, 3, 4",
        """\
px, py = now[:2]
    total, n = 0, 7 // 2
    for i in range(5):
        if i == 1:
            continue
        if i > 3:
            break
        total += i ** 2
    while n > 0:
        n = n - 1
    far = math.hypot(now[2] - px, now[3] - py)
    near = True if far < 50 and not far == 0 else False
    both = sum([abs(a - b) for a, b in zip(now, before) if a > b])
    return clamp(-5), clamp(px + 0.1 * action[0], high=110), total + n + WIDE * TALL[-1], \\
        both if near else 0""",
    )
    assert WrittenSimulator.read(text).step(HERE, STATE, (200.0, 0.0)) == (
        0.0, 110.0, 13 + 12.5, 250.0,
    )  # fmt: skip
    assert WrittenSimulator.read(text + "\nstep(1, 2)\nprint('x')\n").constants["WIDE"] == 2.5


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("  return __import__('os').system('id'), 0, 0, 0", "Constant|a call of"),
        ("  return open", "the unknown name open"),
        ("  return now.__class__", "Attribute"),
        ("  import os\n  return now", "Import"),
        ("  global x\n  return now", "Global"),
        ("  return f'{now}', 0, 0, 0", "JoinedStr"),
        ("  return (lambda: 1)(), 0, 0, 0", "a call of"),
        ("  return [0] * 10 ** 9", "arithmetic with tuple"),
        ("  while True:\n    pass", "more than 5,000 steps"),
        ("  return step(before, now, action)", "call each other so deeply"),
        ("  for i in range(10 ** 9):\n    pass", "more than 1,000 items"),
        ("  return 9.0 ** 9 ** 9, 0, 0, 0", "out of range"),
        ("  return (-8) ** 0.5, 0, 0, 0", "arithmetic with complex"),
        ("  return 1 / 0, 0, 0, 0", "Line 2 .*division by zero"),
        ("  return now[9], 0, 0, 0", "out of range"),
        ("  return 1, 2, 3", "something else than four places"),
        ("  return 1, 2, 3, math.inf", "something else than four places"),
        ("  pass", "something else than four places"),
        ("  return round(True, -10 ** 9), 0, 0, 1e7", "something else than four places"),
        ("  while 1:\n    " + "a = " * 3000 + "1", "more than 5,000 steps"),
        ("  x = [range(900) for i in range(900)]", "more than 5,000 steps"),
        ("  x = range(1000)\n  y = [x[1:] for i in x]", "more than 5,000 steps"),
        ("  break", "break or continue outside"),
        ("  return step(1)", "other parameters than it has"),
        ("  return " + "-" * 400 + "1, 0, 0, 0", ""),
    ],
)
def test_what_is_refused(body: str, said: str) -> None:
    if not said:
        assert _step(body) == (1.0, 0.0, 0.0, 0.0)
        return
    with pytest.raises(FormatError, match=said):
        _step(body)


def test_defaults_and_constants_have_bounds_too() -> None:
    with pytest.raises(FormatError, match="division by zero"):
        WrittenSimulator.read("def step(b, n, a, k=1 / 0): return n").step(HERE, STATE, (0.0, 0.0))
    many = "".join(f"a{at} = [range(1000) for i in range(9)]\n" for at in range(300))
    text = many + "def step(before, now, action): return a0"
    with pytest.raises(FormatError, match="the unknown name a0"):
        WrittenSimulator.read(text).step(HERE, STATE, (0.0, 0.0))


def test_shared_lists_take_no_time() -> None:
    doubling = "  x = y = (1, 1)\n  for i in range(60):\n    x, y = (x, x), (y, y)\n"
    for last in (
        "return x",
        "return x == y, 0, 0, 0",
        "return max(x, y), 0, 0, 0",
        "return sum(x)",
    ):
        with pytest.raises(FormatError):
            _step(f"{doubling}  {last}")


def test_what_cannot_be_read() -> None:
    for text, said in (
        ("x = 1", "needs a function step"),
        ("def step(", "is no Python"),
        ("def step(a, b, c): return " + "-" * 15_000 + "1", "is no Python|so deeply"),
        ("#" * 20_001, "may have 20,000 characters"),
    ):
        with pytest.raises(FormatError, match=said):
            WrittenSimulator.read(text).step(HERE, STATE, (0.0, 0.0))


def test_a_failure_ends_the_prediction() -> None:
    text = "def step(before, now, action):\n  return now[0] + 100 / (now[0] - 300), 0, 9, 9"
    text = text.replace("now[0] + 100 / (now[0] - 300)", "(now[0] + 10) / (1 - (now[0] > 265))")
    states = np.zeros((1, 4, 4))  # the pusher is at 250 mm from the corner
    predicted = WrittenSimulator.read(text).ahead(states, np.zeros((1, 5, 2)))
    np.testing.assert_allclose(predicted[0, :2, 0], [0.01, 0.02])
    assert np.isnan(predicted[0, 2:]).all()
