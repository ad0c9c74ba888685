"""Rosbridge: the connection to a robot, which ends only when the last action was passed on.

Four things about a rosbridge server and its client shape this file:

- The server reads messages in one thread and queues them for another. When a client leaves, what is
  still in the queue is thrown away. So the connection is kept until the server has answered a
  service call, which it reads after the last action.
- Up to 2.1.0, a server that queues pictures for a subscriber (``queue_length`` above 0) sends one
  that is left in the queue again and again once the subscriber leaves, until its memory is full.
- ``roslibpy`` sends in a thread of its own, which ends with the process. So ``close`` waits.
- ``roslibpy`` keeps what is published without a connection, and sends all of it after the next one.
  Old actions must not be sent, so a connection that was lost stays lost.

Axes: A action.
Source: rosbridge_suite 2.1.0 (``websocket_handler.IncomingQueue.finish``,
``subscription_modifiers.QueueMessageHandler.run``), roslibpy 2.1.0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.core.errors import ConfigError, FormatError, MissingExtraError, WorldError
from armillary.serve.ros import Topics, message_of, stream_of

_CONNECT_S = 10.0
_ANSWER_S = 2.0
_CLOSE_S = 6.0  # roslibpy gives the server 5 s for its part of the closing handshake
# the launch file of rosbridge starts it; where it is missing, the server says so, in order, too
_ASKED = ("/rosapi/get_time", "rosapi_msgs/srv/GetTime")


class Rosbridge:
    """A robot behind a rosbridge server.

    Args:
        address: ``ws://HOST:PORT`` or ``wss://``.
        topics: what is read and sent.

    Raises:
        ConfigError: the address is none of a websocket.
        MissingExtraError: roslibpy is not installed.
        WorldError: nobody answers at the address.
    """

    def __init__(self, address: str, topics: Topics) -> None:
        try:
            import roslibpy
        except ImportError as error:
            raise MissingExtraError(
                "Driving a robot of ROS needs roslibpy. Install it with: pip install "
                "'armillary[ros]'"
            ) from error
        self.address, self.topics, self._lock = address, topics, threading.Lock()
        self._latest: dict[str, tuple[np.ndarray, float]] = {}
        self._broken = ""
        self._closed, self._sent = threading.Event(), False
        try:
            self._ros = roslibpy.Ros(address)
        except ValueError as error:
            raise ConfigError(
                f"--address is ws://HOST:PORT or wss://HOST:PORT; got {address!r}."
            ) from error
        try:
            self._ros.run(timeout=_CONNECT_S)
        except roslibpy.core.RosTimeoutError as error:
            self._ros.call_later(0, self._stop_trying)
            raise WorldError(
                f"No rosbridge answers at {address}. Start one on the robot: ros2 launch "
                "rosbridge_server rosbridge_websocket_launch.xml"
            ) from error
        self._ros.on("close", self._ended)
        self._message = roslibpy.Message
        self._ask = roslibpy.Service(self._ros, *_ASKED)
        self._question = roslibpy.ServiceRequest()
        self._action = roslibpy.Topic(
            self._ros, topics.action, topics.action_type, reconnect_on_close=False
        )
        self._action.advertise()
        self._read = []
        for stream, (name, kind) in topics.streams.items():
            # no queue: the server would send what is left in it for ever after we leave
            topic = roslibpy.Topic(self._ros, name, kind, queue_length=0, reconnect_on_close=False)
            topic.subscribe(self._keeper(stream, name, kind))
            self._read.append(topic)

    def latest(self) -> Mapping[str, tuple[np.ndarray, float]]:
        """Return the newest array of each stream, and its age in seconds.

        Raises:
            FormatError: a message was damaged.
        """
        with self._lock:
            if self._broken:
                raise FormatError(self._broken)
            now = time.monotonic()
            return {name: (values, now - at_s) for name, (values, at_s) in self._latest.items()}

    def send(self, action: Float[np.ndarray, " A"]) -> None:
        """Send an action, now or never.

        Raises:
            WorldError: the connection was lost.
        """
        if self._closed.is_set():
            raise WorldError(
                f"The connection to {self.address} was lost, so the robot was not told to rest. "
                "It has to stop by itself when no command arrives."
            )
        self._action.publish(self._message(message_of(self.topics.action_type, action)))
        self._sent = True

    def close(self) -> bool:
        """Leave the topics and the server, after it has passed on what was sent.

        Returns:
            Whether the server confirmed that it has read the last action.
        """
        confirmed = not self._sent or self._confirmed()
        if not self._closed.is_set():
            for topic in self._read:
                topic.unsubscribe()
            self._action.unadvertise()
            self._ros.close()
            self._closed.wait(_CLOSE_S)
        return confirmed

    def _confirmed(self) -> bool:
        answered = threading.Event()
        if not self._closed.is_set():
            self._ask.call(self._question, lambda _: answered.set(), lambda _: answered.set())
            answered.wait(_ANSWER_S)
        return answered.is_set()

    def _ended(self, protocol: Any) -> None:
        self._closed.set()
        self._stop_trying()

    def _stop_trying(self) -> None:
        """Let roslibpy make no new connection by itself."""
        stop = getattr(self._ros.factory, "stopTrying", None)  # of its usual transport
        if stop is not None:
            stop()

    def _keeper(self, stream: str, topic: str, kind: str) -> Callable[[Mapping[str, Any]], None]:
        def keep(message: Mapping[str, Any]) -> None:
            try:
                values = stream_of(stream, kind, message, topic)
            except FormatError as error:
                with self._lock:
                    self._broken = str(error)
                return
            with self._lock:
                self._latest[stream] = values, time.monotonic()

        return keep
