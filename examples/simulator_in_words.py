"""A simulator of the table, as a large language model wrote it from the text of ``compare ask``.

The language model is the one that develops armillary (Claude), on 2026-12-01. It read the request
with three recorded pushes, and did not open the world's source in that session. It may know the
source from earlier ones, so this is the strongest form of "a model that reads", and no fair one.

    armillary compare ask out/words/judged --out out/code --code examples/simulator_in_words.py
"""

import math

DELAY = 0.1  # share of the velocity that is still the one before
REACH = 51.0  # distance of the centres when they touch
COAST = 0.2  # share of its motion that the object keeps, once nothing pushes it
PARTS = 8


def step(before, now, action):  # noqa: ANN001, ANN201, D103  # as it was written and judged
    px, py, ox, oy = now
    dx = (1 - DELAY) * 0.1 * action[0] + DELAY * (px - before[0])
    dy = (1 - DELAY) * 0.1 * action[1] + DELAY * (py - before[1])
    slid_x, slid_y = ox - before[2], oy - before[3]
    reach = REACH
    distance = math.hypot(ox - px, oy - py)
    if math.hypot(slid_x, slid_y) > 2 and distance < 1.15 * REACH:
        reach = min(distance, 1.1 * REACH)  # they touch now, so this is how large they are
    ox = ox + COAST * slid_x
    oy = oy + COAST * slid_y
    for _ in range(PARTS):
        px = px + dx / PARTS
        py = py + dy / PARTS
        distance = math.hypot(ox - px, oy - py)
        if 0 < distance < reach:
            ox = px + (ox - px) / distance * reach
            oy = py + (oy - py) / distance * reach
    return px, py, ox, oy
