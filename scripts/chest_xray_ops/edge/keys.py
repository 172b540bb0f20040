"""The keys of callers at the edge, and the file that holds them."""

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from chest_xray.files import write_atomically
from chest_xray_ops.settings import OperatorSettings
from chest_xray_ops.torchserve.instance import Instance

_NAME = r"[\w.@ -]{1,64}"
_ID_BYTES = 5  # an id, a colon and a secret are 54 characters: base64 without padding
_SECRET_BYTES = 32
_SALT_BYTES = 8


@dataclass(frozen=True)
class Key:
    """What is kept of a caller's key; times are ISO 8601 in UTC."""

    id: str
    name: str
    hash: str
    """Salted SHA-1 of the secret, in the form that nginx reads (RFC 2307). SHA-1 is enough: 256
    random bits cannot be guessed, and collisions are of no use to anybody."""
    created: str
    expires: str
    revoked: str | None = None

    @property
    def expires_at(self) -> datetime:
        return datetime.fromisoformat(self.expires)

    def state(self, now: datetime) -> str:
        """The key is ``valid``, ``expired`` or ``revoked``."""
        if self.revoked:
            return "revoked"
        return "valid" if now < self.expires_at else "expired"

    def public(self) -> dict[str, Any]:
        """What may be shown: the key without its hash, but with its state as of now."""
        fields = {**asdict(self), "state": self.state(_now())}
        del fields["hash"]
        return fields


class Keys:
    """The file that keys are kept in. Changes are safe from several processes at the same time.

    Every method raises OSError if the file cannot be read or written, and ValueError, TypeError or
    KeyError if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_this_place(cls) -> "Keys":
        """The file that all servers of this runs folder share."""
        chosen = OperatorSettings.from_environment().keys
        runs = Instance.from_environment().directory.parent
        return cls(Path(chosen) if chosen else runs / "keys.json")

    def read(self) -> list[Key]:
        """Every key ever made; an empty list if there is no file yet.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            return [Key(**row) for row in json.loads(text)["keys"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from None

    def create(self, name: str, life: timedelta) -> tuple[Key, str]:
        """Make a key that is valid for ``life``.

        Returns:
            The key, and the text that the caller sends, which is kept nowhere.

        Raises:
            ValueError: the name is not one.
        """
        if not re.fullmatch(_NAME, name):
            expected = "1 to 64 letters, digits, spaces and any of .@_-"
            raise ValueError(f"invalid name {name!r}: expected {expected}")
        with self._change() as keys:
            key, token = _new(name, life)
            keys.append(key)
        return key, token

    def revoke(self, id: str) -> Key:
        """End a key now; a key that was revoked before keeps its time.

        Raises:
            ValueError: there is no such key.
        """
        with self._change() as keys:
            place = _place(keys, id)
            keys[place] = replace(keys[place], revoked=keys[place].revoked or _text(_now()))
            return keys[place]

    def rotate(self, id: str, grace: timedelta) -> tuple[Key, str]:
        """Make a key of the same name and length of life; the old one ends after the grace.

        Returns:
            The new key, and the text that the caller sends, which is kept nowhere.

        Raises:
            ValueError: there is no such key, or it is no longer valid.
        """
        with self._change() as keys:
            place = _place(keys, id)
            old = keys[place]
            if (state := old.state(_now())) != "valid":
                raise ValueError(f"key {id} is {state}; create a new one")
            key, token = _new(old.name, old.expires_at - datetime.fromisoformat(old.created))
            keys[place] = replace(old, expires=_text(min(old.expires_at, _now() + grace)))
            keys.append(key)
        return key, token

    @contextmanager
    def _change(self) -> Iterator[list[Key]]:
        """All keys, to be changed under a lock; they are written as a whole at the end."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = self.read()
            yield keys
            text = json.dumps({"keys": list(map(asdict, keys))}, indent=2) + "\n"
            write_atomically(self.path, text, mode=0o600, durable=True)
        finally:
            os.close(lock)


def _new(name: str, life: timedelta) -> tuple[Key, str]:
    """A key, and the text that the caller sends."""
    id = secrets.token_hex(_ID_BYTES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = hashlib.sha1(secret.encode() + salt, usedforsecurity=False).digest()
    now = _now()
    key = Key(id, name, "{SSHA}" + _base64(digest + salt), _text(now), _text(now + life))
    return key, "cxr_" + _base64(f"{id}:{secret}".encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _place(keys: list[Key], id: str) -> int:
    """Where in the list the key is."""
    for place, key in enumerate(keys):
        if key.id == id:
            return place
    raise ValueError(f"there is no key {id}")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
