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
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chest_xray.errors import InputError
from chest_xray.request import Headers
from chest_xray.worker.contract import ACCESS_LOG, AUDIT_LOG, PROBE_VARIABLE
from chest_xray.worker.metrics import Metrics

if TYPE_CHECKING:  # they need torch
    from chest_xray.batch import Outcome, Row

_MOST_BYTES = 100_000_000


class Records:
    """Keeps them for one worker of one model version."""

    def __init__(self, version: str, folder: Path | None, audit: bool) -> None:
        """``folder``: of the logs; None keeps counts alone."""
        self._version = version
        self._probe = os.environ.get(PROBE_VARIABLE, "")
        self._metrics = Metrics(version)
        self._access = LineFile(folder / ACCESS_LOG, _MOST_BYTES) if folder else None
        self._audit = LineFile(folder / AUDIT_LOG) if folder and audit else None

    def keep(
        self,
        ids: Sequence[str],
        headers: Sequence[Headers],
        rows: Sequence["Row"],
        outcomes: Sequence["Outcome"],
        handler_s: float,
    ) -> None:
        """One batch, answered just now.

        Args:
            ids: of the requests, as their callers got them.
            handler_s: seconds for the whole batch.
        """
        now = time.time()
        kept = [not (self._probe and sent.probe == self._probe) for sent in headers]
        if not any(kept):
            return
        self._metrics.batch(len(rows))
        self._metrics.stage("handler", handler_s)
        if read := [row.inference_s for row in rows if row.inference_s is not None]:
            self._metrics.stage("inference", max(read))
        access, audit = [], []
        for request_id, sent, row, outcome in compress(
            zip(ids, headers, rows, outcomes, strict=True), kept
        ):
            stages = {
                "queue": sent.waited_s,
                "fetch": row.fetch_s,
                "decode": row.decode_s,
                "inference": row.inference_s,
            }
            found = self._found(outcome)
            line = {"time": _text(now), "request_id": request_id, "version": self._version, **found}
            for stage, seconds in stages.items():
                if seconds is not None:
                    line[f"{stage}_ms"] = round(1000 * seconds, 1)
                    if stage != "inference":
                        self._metrics.stage(stage, seconds)
            line["bytes"] = row.size
            if row.host:
                line["host"] = _hidden(row.host)
            access.append(line)
            if self._audit:
                who = {"key": sent.key, "sha256": row.sha256}
                audit.append({**line, **who, "probability": _probability(outcome)})
        if self._access:
            self._access.write(access)
        if self._audit:
            self._audit.write(audit)

    def _found(self, outcome: "Outcome") -> dict[str, Any]:
        if isinstance(outcome, InputError):
            status = outcome.status.value
            self._metrics.answered(status, None, None, outcome.code)
            return {"status": status, "code": outcome.code}
        self._metrics.answered(200, outcome.label, outcome.probability, None)
        return {"status": 200, "label": outcome.label}


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


def _probability(outcome: "Outcome") -> float | None:
    return None if isinstance(outcome, InputError) else outcome.probability


def _hidden(host: str) -> str:
    """12 hex digits of its SHA-256 tell an operator which of the hosts he knows it was."""
    return hashlib.sha256(host.encode(errors="replace")).hexdigest()[:12]


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
