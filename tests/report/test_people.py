"""The page for people shows clips to the pixel, and loads nothing from anywhere."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from armillary.core.errors import ConfigError
from armillary.report.people import clip_uri
from armillary.services.asking_people import ask_people


def test_a_clip_is_kept_to_the_pixel():
    clip = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    data = base64.b64decode(clip_uri(clip).partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 5
        for step in range(5):
            image.seek(step)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), clip[step])


def test_the_page_asks_every_concept_and_loads_nothing(tmp_path):
    text = ask_people(tmp_path / "people.html", each=1).read_text()
    questions = json.loads(re.search(r"const questions = (.*);", text)[1])
    assert len(questions) == 13 and {q["impossible"] for q in questions} == {"left", "right"}
    assert all(q["left"] != q["right"] for q in questions)
    assert not re.search(r"(src|href)=.https?:", text)
    with pytest.raises(ConfigError, match="1 to 48 pairs"):
        ask_people(tmp_path / "people.html", each=0)
