"""Servers that are slow, endless, absent or wrong: every fetch ends on time, as their fault."""

import gzip
import socket
import threading
import time

import pytest

from chest_xray.errors import InputError
from support.fetching import (
    LIMIT,
    code_of,
    drip,
    fetcher_for,
    get,
    keep_alive,
    once,
)


@pytest.mark.parametrize(
    "talk",
    [
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02),
        drip(b"", b"H"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"", b""),
    ],
    ids=["body", "body with length", "chunks", "a chunk's size", "a header", "headers",
         "status line", "continue", "nothing"],
)  # fmt: skip
def test_slow_drips_end_on_time(serve, talk):
    server = serve(talk)
    with fetcher_for(server.host) as fetcher:
        assert code_of(fetcher, server.url) in ("upstream_timeout", "upstream_failed")


def test_nobody_answers_in_time(serve):
    """A full backlog: connections are neither accepted nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        with fetcher_for(f"127.0.0.1:{port}") as fetcher:
            assert code_of(fetcher, f"http://127.0.0.1:{port}/") == "upstream_timeout"
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize(
    "head", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 9999999999\r\n"]
)
def test_endless_bodies_end_at_the_limit(serve, head):
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if b"chunked" in head else b"x" * 65_536
    server = serve(drip(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n", piece, 0))
    with fetcher_for(server.host) as fetcher:
        assert code_of(fetcher, server.url) == "image_too_large"


def test_endless_headers(serve):
    server = serve(drip(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 60_000 + b"\r\n", 0))
    with fetcher_for(server.host) as fetcher:
        assert code_of(fetcher, server.url) == "upstream_failed"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x"])
def test_bombs_are_not_unpacked(web, fetcher, encoding):
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < LIMIT
    url = web.add("/bomb", bomb, Content_Encoding=encoding)
    assert code_of(fetcher, url) == "upstream_failed"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\nx",
        b"HTTP/1.1 200\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_nonsense_is_the_servers_fault(serve, answer):
    server = serve(once(answer))
    with fetcher_for(server.host) as fetcher:
        assert code_of(fetcher, server.url) == "upstream_failed"


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "image_not_found"), (410, "image_not_found"), (403, "upstream_failed"),
     (500, "upstream_failed"), (204, "upstream_failed"), (304, "upstream_failed")],
)  # fmt: skip
def test_status(web, fetcher, status, code):
    assert code_of(fetcher, web.add(f"/status/{status}", b"", status)) == code


def test_declared_and_real_size(web, fetcher):
    assert code_of(fetcher, web.add("/large", b"x" * (LIMIT + 1))) == "image_too_large"
    url = web.add("/huge", b"", Content_Length="999999999")
    assert code_of(fetcher, url) == "image_too_large"


@pytest.mark.parametrize("length", ["-1", "many", "1, 2"])
def test_nonsense_length_is_ignored_or_the_servers_fault(web, fetcher, length):
    try:
        assert get(fetcher, web.add("/nonsense", b"film", Content_Length=length)) == b"film"
    except InputError as error:
        assert error.code in ("upstream_failed", "upstream_timeout")


def test_a_body_longer_than_declared_is_cut(web, fetcher):
    url = web.add("/long", b"filmfilm", Content_Length="4")
    assert [get(fetcher, url) for _ in range(3)] == [b"film"] * 3


def test_nothing_listens():
    with fetcher_for("127.0.0.1:9") as fetcher:
        assert code_of(fetcher, "http://127.0.0.1:9/film.png") == "upstream_failed"


def test_a_resolver_that_does_not_answer(monkeypatch):
    release = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, flags=0, **options):
        if not flags & socket.AI_NUMERICHOST:
            release.wait(30)
        return (
            real("127.0.0.1", *args, flags=flags, **options)
            if host == "x"
            else real(host, *args, flags=flags | socket.AI_NUMERICHOST, **options)
        )

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with fetcher_for() as fetcher:
        assert code_of(fetcher, "http://slow.example/") == "upstream_timeout"
    release.set()


def test_an_unknown_name(resolver):
    with fetcher_for() as fetcher:
        assert code_of(fetcher, "http://unknown.example/") == "upstream_failed"


def test_the_next_address_is_tried(serve, resolver):
    server = serve(keep_alive)
    resolver.answers["films.test"] = ["127.0.0.3", "127.0.0.1"]
    with fetcher_for(f"films.test:{server.port}") as fetcher:
        assert get(fetcher, f"http://films.test:{server.port}/") == b"film"
