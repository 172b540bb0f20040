"""Real sockets on loopback, trusted on purpose where a fetch is meant to succeed."""

import gzip
import os
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
import trustme

from chest_xray.errors import InputError
from chest_xray.fetch import Fetcher
from chest_xray.settings import Settings
from support import hostile_urls
from support.hostile_urls import fill
from support.waiting import on_time

LIMIT = 100_000
TIMEOUT = 1.0


def fetcher_for(*hosts, **settings):
    settings = {"fetch_timeout_s": TIMEOUT, "max_image_bytes": LIMIT, **settings}
    return closing(Fetcher(Settings(allowed_hosts=hosts, **settings)))


def get(fetcher, url):
    return fetcher.fetch(url, time.monotonic() + TIMEOUT)


@pytest.fixture(scope="module")
def fetcher(web):
    with fetcher_for(web.host) as made:
        yield made


def code_of(fetcher, url):
    """The code of the error, on time and without a word of the URL."""
    with on_time(TIMEOUT), pytest.raises(InputError) as caught:
        get(fetcher, url)
    assert "127.0.0.1" not in caught.value.message
    return caught.value.code


class RawServer:
    """Answers every connection by a function of the socket; counts connections."""

    def __init__(self, talk, context=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}/"
        self.connections = 0
        self.names = []
        self._talk, self._context = talk, context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._answer, args=[sock], daemon=True).start()

    def _answer(self, sock):
        with suppress(OSError), sock:
            if self._context is None:
                self._talk(sock)
            else:
                with self._context.wrap_socket(sock, server_side=True) as tls:
                    self._talk(tls)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def serve():
    servers = []

    def start(talk, **options):
        servers.append(RawServer(talk, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def request_of(sock):
    """Read one request's head; False once the other side is gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = sock.recv(4096)
        if not part:
            return b""
        head += part
    return head


def once(answer):
    def talk(sock):
        request_of(sock)
        sock.sendall(answer)

    return talk


def drip(first, piece, pause=0.05):
    """``first``, then ``piece`` again and again."""

    def talk(sock):
        request_of(sock)
        sock.sendall(first)
        while True:
            time.sleep(pause)
            sock.sendall(piece)

    return talk


def keep_alive(sock):
    while request_of(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfilm")


@pytest.fixture
def resolver(monkeypatch):
    """Names resolve as a test says; every question is counted."""
    real = socket.getaddrinfo
    answers, questions = dict(hostile_urls.NAMES), []

    def getaddrinfo(host, port, *args, flags=0, **options):
        if flags & socket.AI_NUMERICHOST or host not in answers:
            return real(host, port, *args, flags=flags | socket.AI_NUMERICHOST, **options)
        questions.append(host)
        found = answers[host]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, 1, 6, "", (address, port))
            for address in (found() if callable(found) else found)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    getaddrinfo.answers, getaddrinfo.questions = answers, questions
    return getaddrinfo


def test_body(web, fetcher):
    assert get(fetcher, web.add("/film.png", b"x" * LIMIT)) == b"x" * LIMIT


# What may not be reached


def hostile(table, code):
    return [pytest.param(url, code, id=f"{reason}: {url[:40]!r}") for url, reason in table.items()]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        *hostile(hostile_urls.NOT_PUBLIC, "url_not_allowed"),
        *hostile(hostile_urls.NO_URL, "invalid_url"),
        *hostile(hostile_urls.OTHER_PORTS, "url_not_allowed"),
    ],
)
def test_hostile_urls(alone, resolver, url, code):
    with fetcher_for(allowed_ports=(alone.port,)) as fetcher:
        assert code_of(fetcher, fill(url, alone.port)) == code
    assert alone.connections == 0


def test_the_table_is_long():
    tables = (hostile_urls.NOT_PUBLIC, hostile_urls.NO_URL, hostile_urls.OTHER_PORTS)
    assert sum(len(table) for table in tables) >= 150


def test_rebinding_gets_nothing(alone, resolver):
    """First a public address for the judge, then loopback for whoever asks again."""
    turns = iter([[hostile_urls.PUBLIC]] + [["127.0.0.1"]] * 9)
    resolver.answers["rebind.example"] = lambda: next(turns)
    with fetcher_for(allowed_ports=(alone.port,)) as fetcher:
        assert code_of(fetcher, f"http://rebind.example:{alone.port}/") in (
            "upstream_failed",
            "upstream_timeout",
        )
        assert resolver.questions == ["rebind.example"]
        assert code_of(fetcher, f"http://rebind.example:{alone.port}/") == "url_not_allowed"
    assert alone.connections == 0


def test_a_kept_connection_is_judged_anew(serve, resolver):
    server = serve(keep_alive)
    turns = iter([["127.0.0.1"], ["127.0.0.2"]])
    resolver.answers["films.test"] = lambda: next(turns)
    url = f"http://films.test:{server.port}/"
    with fetcher_for(f"films.test:{server.port}") as fetcher:
        assert get(fetcher, url) == b"film"
        assert code_of(fetcher, url) == "upstream_failed"  # nobody is at the new address
    assert server.connections == 1


def test_redirect_maze(web, fetcher, alone, resolver):
    for index, url in enumerate([*hostile_urls.NOT_PUBLIC, *hostile_urls.NO_URL]):
        if not url.isascii() or not url.strip() or "\r" in url or url.startswith("/"):
            continue  # no header can say that, or it means the redirecting server itself
        start = web.add(f"/maze/{index}", b"", 302, Location=fill(url, alone.port))
        code = code_of(fetcher, start)
        assert code in ("url_not_allowed", "upstream_failed", "image_not_found"), url
    assert alone.connections == 0


def test_a_redirect_to_the_untrusted_port_of_a_trusted_host(web, fetcher, alone):
    start = web.add("/aside", b"", 307, Location=f"http://127.0.0.1:{alone.port}/")
    assert code_of(fetcher, start) == "url_not_allowed"
    assert alone.connections == 0


def test_redirects_up_to_three(web, fetcher):
    url = web.add("/0", b"film")
    for hop, status in enumerate((301, 302, 308), 1):
        url = web.add(f"/{hop}", b"", status, Location=url)
    assert get(fetcher, url) == b"film"
    assert code_of(fetcher, web.add("/4", b"", 303, Location=url)) == "upstream_failed"


def test_a_redirect_may_be_relative(web, fetcher):
    web.add("/film", b"film")
    assert get(fetcher, web.add("/here", b"", 302, Location="/film")) == b"film"


def test_no_proxy_no_netrc_no_cookies(web, fetcher, monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen = []

    def page(request):
        seen.append(dict(request.headers))
        request.send_response(302 if len(seen) == 1 else 200)
        request.send_header("Set-Cookie", "a=b")
        request.send_header("Location", "/cookie")
        request.send_header("Content-Length", "0")
        request.end_headers()

    web.pages["/cookie"] = page
    assert get(fetcher, web.url + "/cookie") == b""
    assert len(seen) == 2
    assert {name.lower() for each in seen for name in each} == {
        "host", "user-agent", "accept", "accept-encoding",
    }  # fmt: skip


# Servers that do not behave


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


# Connections


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


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority, serve, resolver, monkeypatch, tmp_path):
    """A server with a certificate for these names, reachable as films.test."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    resolver.answers["films.test"] = ["127.0.0.1"]

    def start(*names, issuer=authority, talk=keep_alive):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert(*names).configure_cert(context)
        server = serve(talk, context=context)
        context.sni_callback = lambda sock, name, context: server.names.append(name)
        return server

    return start


def test_certificate_and_sni_go_by_name(tls):
    server = tls("films.test")
    with fetcher_for(f"films.test:{server.port}") as fetcher:
        for _ in range(3):
            assert get(fetcher, f"https://films.test:{server.port}/") == b"film"
    assert server.names == ["films.test"]


def test_certificate_of_an_address(tls):
    server = tls("127.0.0.1")
    with fetcher_for(server.host) as fetcher:
        assert get(fetcher, f"https://{server.host}/") == b"film"


@pytest.mark.parametrize("name", ["other.test", "*.films.test", "127.0.0.1"])
def test_certificate_of_another_name(tls, name):
    server = tls(name)
    with fetcher_for(f"films.test:{server.port}") as fetcher:
        assert code_of(fetcher, f"https://films.test:{server.port}/") == "upstream_failed"


def test_unknown_authority(tls):
    server = tls("films.test", issuer=trustme.CA())
    with fetcher_for(f"films.test:{server.port}") as fetcher:
        assert code_of(fetcher, f"https://films.test:{server.port}/") == "upstream_failed"


def test_https_to_a_server_without_tls(serve):
    server = serve(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with fetcher_for(server.host) as fetcher:
        assert code_of(fetcher, f"https://{server.host}/") == "upstream_failed"


def test_https_never_falls_to_http(tls, web):
    answer = f"HTTP/1.1 302 Found\r\nLocation: {web.url}/film.png\r\nContent-Length: 0\r\n\r\n"
    server = tls("films.test", talk=once(answer.encode()))
    with fetcher_for(f"films.test:{server.port}", web.host) as fetcher:
        assert code_of(fetcher, f"https://films.test:{server.port}/") == "url_not_allowed"


def test_slow_drip_under_tls(tls):
    server = tls("films.test", talk=drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"))
    with fetcher_for(f"films.test:{server.port}") as fetcher:
        assert code_of(fetcher, f"https://films.test:{server.port}/") == "upstream_timeout"


def test_slow_handshake(serve):
    server = serve(drip(b"", b""))
    with fetcher_for(server.host) as fetcher:
        assert code_of(fetcher, f"https://{server.host}/") == "upstream_timeout"
