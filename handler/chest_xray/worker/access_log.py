"""What is kept of an answer: counts for monitoring, a line in the access log and, if asked, one in
the audit trail. Never an image, a URL, an address or a header as it was sent."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chest_xray.errors import InputError
from chest_xray.request import Headers
from chest_xray.worker.contract import ACCESS_LOG, AUDIT_LOG, PROBE_VARIABLE
from chest_xray.worker.metrics import Metrics

if TYPE_CHECKING:  # they need torch
    from chest_xray.batch import Image, Outcome

_MOST_BYTES = 100_000_000


class AccessLog:
    """Keeps what one worker of one model version answers."""

    def __init__(
        self, version: str, labels: Sequence[str], folder: Path | None, audit: bool
    ) -> None:
        """
        Args:
            labels: that the version can give.
            folder: of the logs; None keeps counts alone.
            audit: keep the audit trail, too.
        """
        self._version = version
        self._probe = os.environ.get(PROBE_VARIABLE, "")
        self._metrics = Metrics(version, labels)
        self._access = LineFile(folder / ACCESS_LOG, _MOST_BYTES) if folder else None
        self._audit = LineFile(folder / AUDIT_LOG) if folder and audit else None

    def keep(
        self, headers: Sequence[Headers], outcomes: Sequence["Outcome"], handler_s: float
    ) -> None:
        """Note one batch, which has just been answered.

        Args:
            headers: of the requests, in the order of the outcomes.
            handler_s: seconds for the whole batch.
        """
        kept = [
            (sent, outcome)
            for sent, outcome in zip(headers, outcomes, strict=True)
            if not (self._probe and sent.probe == self._probe)
        ]
        if not kept:
            return
        self._metrics.batch(len(outcomes))
        self._metrics.stage("handler", handler_s)
        images = [outcome.image for outcome in outcomes if outcome.image]
        if read := [image.inference_s for image in images if image.inference_s is not None]:
            self._metrics.stage("inference", max(read))
        now = _text(time.time())
        lines = [self._line(now, sent, outcome) for sent, outcome in kept]
        if self._access:
            self._access.write(lines)
        if self._audit:
            self._audit.write(
                [
                    {**line, **_audited(sent, outcome)}
                    for line, (sent, outcome) in zip(lines, kept, strict=True)
                ]
            )

    def _line(self, now: str, sent: Headers, outcome: "Outcome") -> dict[str, Any]:
        """Count one answer; its line of the access log."""
        answer, image = outcome.answer, outcome.image
        line: dict[str, Any] = {
            "time": now,
            "request_id": sent.request_id,
            "version": self._version,
        }
        if isinstance(answer, InputError):
            status = answer.status.value
            self._metrics.answered(status, None, None, answer.code)
            line |= {"status": status, "code": answer.code}
        else:
            self._metrics.answered(200, answer.label, answer.probability, None)
            line |= {"status": 200, "label": answer.label}
        for stage, seconds in _stages(sent, image).items():
            if seconds is not None:
                line[f"{stage}_ms"] = round(1000 * seconds, 1)
                if stage != "inference":  # which is counted once for the batch
                    self._metrics.stage(stage, seconds)
        line["bytes"] = image.size if image else 0
        if image and image.host:
            line["host"] = _hidden(image.host)
        return line


class LineFile:
    """A file of JSON lines that several processes append to and that someone else rotates."""

    def __init__(self, path: Path, most_bytes: int | None = None) -> None:
        """``most_bytes``: at which the file makes way for a new one if nobody has rotated it; the
        one before is lost."""
        self._path, self._most_bytes = path, most_bytes
        self._file = -1
        self._open()

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """All at once, so that those of several processes do not mix. A full disk loses lines, not
        answers."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        with suppress(OSError):
            if not self._is_current():
                self._open()
            os.write(self._file, text.encode())
            if self._most_bytes and os.fstat(self._file).st_size > self._most_bytes:
                self._make_way()

    def _make_way(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)  # of the writers of this very file, one moves it
        if self._is_current():
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def _open(self) -> None:
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            opened = os.open(self._path, flags, 0o640)
            if self._file >= 0:
                os.close(self._file)
            self._file = opened

    def _is_current(self) -> bool:
        """Whether the file still has its name; rotation takes it away."""
        try:
            there, ours = os.stat(self._path), os.fstat(self._file)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _stages(sent: Headers, image: "Image | None") -> dict[str, float | None]:
    """Seconds of every stage that one request went through."""
    return {
        "queue": sent.waited_s,
        "fetch": image.fetch_s if image else None,
        "decode": image.decode_s if image else None,
        "inference": image.inference_s if image else None,
    }


def _audited(sent: Headers, outcome: "Outcome") -> dict[str, Any]:
    """What a line of the audit trail says besides."""
    answer = outcome.answer
    return {
        "key": sent.key,
        "sha256": outcome.image.sha256 if outcome.image else "",
        "probability": None if isinstance(answer, InputError) else answer.probability,
    }


def _hidden(host: str) -> str:
    """12 hex digits of its SHA-256 tell an operator which of the hosts he knows it was."""
    return hashlib.sha256(host.encode(errors="replace")).hexdigest()[:12]


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
