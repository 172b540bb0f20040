"""Certificates, names, and TLS that never begins."""

import ssl

import pytest
import trustme

from support.fetching import code_of, drip, fetcher_for, get, keep_alive, once


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
