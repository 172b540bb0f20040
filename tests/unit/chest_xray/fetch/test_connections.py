"""Connections are kept while they can be used again, and never left open."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from support.fetching import code_of, drip, fetcher_for, get, keep_alive, once, request_of


def test_connections_are_kept(serve):
    server = serve(keep_alive)
    with fetcher_for(server.host) as fetcher:
        for _ in range(5):
            assert get(fetcher, server.url) == b"film"
    assert server.connections == 1


def test_a_server_that_closes_without_saying_so(serve):
    server = serve(once(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
    with fetcher_for(server.host) as fetcher, ThreadPoolExecutor(8) as executor:
        bodies = executor.map(lambda _: get(fetcher, server.url), range(400))
        assert set(bodies) == {b"x"}


def test_a_kept_connection_that_is_dropped_on_use(serve):
    """It looks alive until the second request is on its way."""

    def talk(sock):
        request_of(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        request_of(sock)

    server = serve(talk)
    with fetcher_for(server.host) as fetcher:
        assert [get(fetcher, server.url) for _ in range(4)] == [b"x"] * 4
    assert server.connections == 4


def test_a_failed_answer_is_not_kept(serve):
    server = serve(once(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
    with fetcher_for(server.host) as fetcher:
        assert [code_of(fetcher, server.url) for _ in range(2)] == ["upstream_failed"] * 2
    assert server.connections == 2


def test_nothing_is_left_open(serve):
    server = serve(drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000, 0))
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        with fetcher_for(server.host) as fetcher:
            assert code_of(fetcher, server.url) == "image_too_large"
    time.sleep(0.2)
    after = len(os.listdir("/proc/self/fd")), threading.active_count()
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2
