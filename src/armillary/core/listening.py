"""Listening: for whom a server of ours may listen."""

from __future__ import annotations

from armillary.core.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
LEAST_KEY = 16


def check_address(host: str, port: int, key: str, harm: str) -> None:
    """Check where a server shall listen.

    Args:
        host: address.
        port: 0 takes a free one.
        key: that clients must show; empty for none.
        harm: what somebody without a key could do, as the end of "so that not everybody ...".

    Raises:
        ConfigError: an address that can be reached from outside without a key, a key that is
            short, or a port that cannot be.
    """
    if host not in LOOPBACK and not key:
        raise ConfigError(
            f"{host} can be reached from outside. Give --key-file, so that not everybody {harm}, "
            "or stay on 127.0.0.1."
        )
    if key and len(key) < LEAST_KEY:
        raise ConfigError(f"A key has at least {LEAST_KEY} characters; got {len(key)}.")
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"A port is 0 to 65535; got {port}.")
