"""Keys: Ed25519, as files that only their owner can read.

A key's id is the SHA-256 of its 32 public bytes. ``NAME`` holds the private key (PKCS 8, PEM),
``NAME.pub`` the public one. A signature says who, never that it is true.

Source of the points of small order: RFC 8032, 5.1; libsodium, ``ge25519_has_small_order``.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from armillary.core.errors import ConfigError, FormatError
from armillary.core.files import replacing
from armillary.proof.canonical import read_bytes

_MAX_BYTES = 4096
_OTHERS = 0o077
_PRIME = 2**255 - 19
# y of the two pairs of points of order 8; the others of small order have y 0, 1 and -1.
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = {0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8}


@dataclass(frozen=True)
class PublicKey:
    """What anybody may know.

    Attributes:
        raw: 32 bytes.
    """

    raw: bytes

    @property
    def id(self) -> str:
        """Its name: SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def hex(self) -> str:
        """The bytes as hexadecimal."""
        return self.raw.hex()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key signed the message; a key of small order signed nothing."""
        if small_order(self.raw):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """A private key and what belongs to it."""

    secret: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message."""
        return self.secret.sign(message)


def public_key(text: str) -> PublicKey:
    """Return the public key that 64 hexadecimal digits spell.

    Raises:
        FormatError: they spell none, or one of small order.
    """
    try:
        raw = bytes.fromhex(text)
        Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise FormatError(f"{text[:80]!r} is not an Ed25519 public key in hexadecimal.") from error
    return _checked(raw, repr(text[:80]))


def small_order(raw: bytes) -> bool:
    """Tell whether 32 bytes spell a point of order 1, 2, 4 or 8, in any of its spellings.

    For such a key anybody can write a signature that holds for every message.
    """
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    return y % _PRIME in _SMALL_ORDER


def _checked(raw: bytes, where: str) -> PublicKey:
    if small_order(raw):
        raise FormatError(
            f"{where}: a key of small order, for which anybody can sign; make one with: armillary "
            "proof keygen"
        )
    return PublicKey(raw)


def make_key(path: Path) -> SigningKey:
    """Draw a key and write ``path`` (mode 0600) and ``path.pub``.

    Raises:
        ConfigError: one of the files exists; a key is never overwritten.
        StorageError: the disk is full or not writable.
    """
    beside = public_path(path)
    for file in (path, beside):
        if file.exists() or file.is_symlink():
            raise ConfigError(f"{file}: exists already; a key is never overwritten. Name another.")
    key = SigningKey(Ed25519PrivateKey.generate())
    private = key.secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_secret(path, private)
    with replacing(beside) as part:
        part.write_bytes(public)
    return key


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, in one step; it never exists otherwise.

    Raises:
        StorageError: the disk is full or not writable.
    """
    with replacing(path) as part:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(data)


def load_key(path: Path) -> SigningKey:
    """Read a private key.

    Raises:
        ConfigError: others could read the file.
        FormatError: it holds no Ed25519 private key.
    """
    data = read_bytes(path, _MAX_BYTES)
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise ConfigError(f"{path}: others may read this private key; run: chmod 600 {path}")
    try:
        secret = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FormatError(
            f"{path}: not an Ed25519 private key; make one with: armillary proof keygen"
        ) from error
    if not isinstance(secret, Ed25519PrivateKey):
        raise FormatError(f"{path}: a private key of another kind; Ed25519 was expected.")
    return SigningKey(secret)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key (PEM).

    Raises:
        FormatError: it holds no Ed25519 public key, or one of small order.
    """
    try:
        found = load_pem_public_key(read_bytes(path, _MAX_BYTES))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"{path}: not an Ed25519 public key; give the .pub file.") from error
    if not isinstance(found, Ed25519PublicKey):
        raise FormatError(f"{path}: a public key of another kind; Ed25519 was expected.")
    return _checked(found.public_bytes(Encoding.Raw, PublicFormat.Raw), str(path))


def public_path(path: Path) -> Path:
    """Return where the public half of a key file stands."""
    return path.with_name(path.name + ".pub")
