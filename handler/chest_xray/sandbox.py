"""DICOM decoding in a process of its own: damaged files abort the decoders' C++ code.

The worker starts one process at its first DICOM file and keeps it. That process forks; the fork
decodes within limits of time and memory, and answers. What goes wrong in it, from a crash to an
endless loop, is one damaged image to the worker, and neither its memory nor its log sees anything
of the file. After a file that other people's C++ has read, or that is damaged, the fork ends and
another takes its place, so that no file finds what another may have left; files that are not
compressed are read by Python alone, and come one after the other, since a fork takes longer.
"""

import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from chest_xray.errors import InputError
from chest_xray.image import Picture
from chest_xray.settings import Settings

_ROOT = Path(__file__).resolve().parent.parent
"""Where this package lies: in a clone, an installed wheel or an unpacked archive."""
_START = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from chest_xray import sandbox
sandbox.main()
"""
_WAITING, _DECODING, _ANSWERING = range(3)
"""What a fork was doing when it ended."""


class DicomDecoder:
    """The worker's end; several threads take turns."""

    def __init__(self, settings: Settings) -> None:
        self._limits = {
            "max_pixels": settings.max_image_pixels,
            "seconds": settings.dicom_timeout_s,
            "memory": settings.dicom_memory_bytes,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._turn = threading.Lock()

    def decode(self, data: bytes) -> Picture:
        """As :func:`chest_xray.dicom.decode_dicom`, and whatever stops the process is damage.

        Raises:
            InputError: see there.
            OSError, EOFError: there is no such process and none can be started.
        """
        with self._turn:
            try:
                return self._ask(data)
            except (OSError, EOFError):
                self.close()  # somebody ended the process, which no file can: another one decodes
                return self._ask(data)

    def _ask(self, data: bytes) -> Picture:
        pipe = self._connected()
        pipe.send_bytes(data)
        answer = json.loads(pipe.recv_bytes())
        if "code" in answer:
            raise InputError(answer["code"], answer["message"])
        gray = np.frombuffer(pipe.recv_bytes(), np.uint8).reshape(answer["shape"])
        return Picture(gray, tuple(answer["warnings"]))

    def close(self) -> None:
        """End the process, if there is one."""
        if self._pipe:
            self._pipe.close()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = self._pipe = None

    def _connected(self) -> Connection:
        if self._pipe and self._process and self._process.poll() is None:
            return self._pipe
        self.close()
        self._pipe, theirs = Pipe()
        with theirs:
            given = [str(_ROOT), str(theirs.fileno()), json.dumps(self._limits)]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, *given],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print pieces of damaged files
                # numpy's threads would not survive a fork.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._pipe


def _serve(pipe: Connection, limits: dict[str, Any]) -> None:
    """The other end: one fork after the other answers, until the worker hangs up."""
    import chest_xray.dicom  # noqa: F401  here, so that the worker is spared its memory

    phase = mmap.mmap(-1, 1)  # which a fork shares
    while True:
        phase[0] = _WAITING
        if (fork := os.fork()) == 0:
            _answer(pipe, limits, phase)
        if os.waitpid(fork, 0)[1] == 0:
            continue
        if phase[0] != _DECODING:
            return  # the worker has gone; or who knows how much was said: it starts another process
        _send(pipe, _error(_damaged()))


def _answer(pipe: Connection, limits: dict[str, Any], phase: mmap.mmap) -> None:
    """Decode and answer, in a fork, for as long as Python alone has read what was sent; ends the
    process in any case."""
    from chest_xray.dicom import decode_dicom, is_plain

    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        plain = True
        while plain:
            data = pipe.recv_bytes()
            phase[0] = _DECODING
            signal.setitimer(signal.ITIMER_REAL, limits["seconds"])  # kills, even inside C code
            try:
                picture = decode_dicom(data, limits["max_pixels"])
                plain = is_plain(data)
                answer = {"shape": picture.gray.shape, "warnings": picture.warnings}
                parts = [json.dumps(answer).encode(), picture.gray.tobytes()]
            except InputError as error:
                plain = False
                parts = [_error(error)]
            signal.setitimer(signal.ITIMER_REAL, 0)
            phase[0] = _ANSWERING
            _send(pipe, *parts)
            phase[0] = _WAITING
        status = 0
    except (EOFError, OSError):
        pass  # the worker has hung up
    finally:
        os._exit(status)


def _send(pipe: Connection, *parts: bytes) -> None:
    for part in parts:
        pipe.send_bytes(part)


def _error(error: InputError) -> bytes:
    return json.dumps({"code": error.code, "message": error.message}).encode()


def _damaged() -> InputError:
    return InputError("corrupt_image", "The DICOM file is damaged or cut off.")


def main() -> None:
    """Serve the pipe whose descriptor is the first argument, within the limits of the second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to answer
    with suppress(OSError):
        _serve(Connection(int(sys.argv[1])), json.loads(sys.argv[2]))
