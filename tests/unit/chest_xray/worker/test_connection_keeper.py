"""What TorchServe sees of a worker that is killed."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from chest_xray.worker.connection_keeper import ConnectionKeeper
from support.waiting import wait_until

WORKER = """
import socket, sys, time
from contextlib import nullcontext
from chest_xray.worker.connection_keeper import ConnectionKeeper
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print(flush=True)
    connection = listener.accept()[0]
    keeper = ConnectionKeeper(float(sys.argv[3]))
    with keeper.at_work():
        pass
    with keeper.at_work() if sys.argv[2] == "at-work" else nullcontext():
        connection.sendall(b".")
        time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """A worker that waits or is at work, and TorchServe's end of its connection."""
    started = []

    def start(state, longest_s=60):
        address = str(tmp_path / "socket")
        command = [sys.executable, "-c", WORKER, address, state, str(longest_s)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert worker.stdout.readline()
        connection = socket.socket(socket.AF_UNIX)
        started.append((worker, connection))
        connection.settimeout(20)
        connection.connect(address)
        assert connection.recv(1) == b"."
        return worker, connection

    yield start
    for worker, connection in started:
        worker.kill()
        worker.communicate()
        connection.close()


def kill(worker):
    worker.send_signal(signal.SIGKILL)
    worker.wait()


def wait_for_its_end(connection):
    """Which is a reset where something was left unread."""
    start = time.monotonic()
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""
    return time.monotonic() - start


def keepers():
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"connection_keeper.py" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_killed_at_work(start):
    worker, connection = start("at-work")
    kill(worker)
    wait_for_its_end(connection)


def test_killed_while_a_batch_is_collected(start):
    worker, connection = start("waiting")
    kill(worker)
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(20)
    connection.sendall(b"a batch")
    wait_for_its_end(connection)


def test_killed_while_nobody_asks(start):
    worker, connection = start("waiting", 0.5)
    kill(worker)
    assert wait_for_its_end(connection) > 0.2


def test_killed_before_it_has_read_all(start):
    worker, connection = start("waiting")
    connection.sendall(b"a batch")
    kill(worker)
    wait_for_its_end(connection)


def test_nothing_stays_behind(start):
    """TorchServe scales down, or ends: it hangs up, and kills."""
    before = set(keepers())
    worker, connection = start("waiting")
    wait_until(lambda: set(keepers()) - before, 20)
    connection.close()
    kill(worker)
    wait_until(lambda: not set(keepers()) - before, 20)


def test_without_torchserve():
    """As in tests and scripts that use the handler alone."""
    before = keepers()
    with ConnectionKeeper().at_work():
        assert keepers() == before
