"""DICOM decoding in a process of its own: damaged files abort the decoders' C++ code.

The worker starts one process at its first DICOM file and keeps it. For every file that process
forks once: the fork decodes within limits of time and memory, answers and ends. What goes wrong in
it, from a crash to an endless loop, is one damaged image to the worker, and neither its memory nor
its log sees anything of the file.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from chest_xray.errors import InputError
from chest_xray.image import Picture
from chest_xray.settings import Settings


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
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), json.dumps(self._limits)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print pieces of damaged files
                # numpy's threads would not survive a fork.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._pipe


def _serve(pipe: Connection, limits: dict[str, Any]) -> None:
    """The other end: a fork per file, until the worker hangs up."""
    from chest_xray.dicom import decode_dicom  # here, so that the worker is spared its memory

    with suppress(EOFError, OSError):
        while True:
            data = pipe.recv_bytes()
            fork = os.fork()
            if fork == 0:
                _answer(pipe, partial(decode_dicom, data, limits["max_pixels"]), limits)
            if os.waitpid(fork, 0)[1] != 0:
                _send_error(pipe, _damaged())


def _answer(pipe: Connection, decode: Callable[[], Picture], limits: dict[str, Any]) -> None:
    """Decode and answer, in the fork; ends the process in any case."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.setitimer(signal.ITIMER_REAL, limits["seconds"])  # kills, even inside C code
        try:
            picture = decode()
        except InputError as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _send_error(pipe, error)
        else:
            body = picture.gray.tobytes()
            signal.setitimer(signal.ITIMER_REAL, 0)
            answer = {"shape": picture.gray.shape, "warnings": picture.warnings}
            pipe.send_bytes(json.dumps(answer).encode())
            pipe.send_bytes(body)
        status = 0
    finally:
        os._exit(status)


def _send_error(pipe: Connection, error: InputError) -> None:
    pipe.send_bytes(json.dumps({"code": error.code, "message": error.message}).encode())


def _damaged() -> InputError:
    return InputError("corrupt_image", "The DICOM file is damaged or cut off.")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to answer
    _serve(Connection(int(sys.argv[1])), json.loads(sys.argv[2]))
