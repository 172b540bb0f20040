"""What a fetch may reach, by whatever URL, name, redirect or proxy."""

import pytest

from support import hostile_urls
from support.fetching import LIMIT, code_of, fetcher_for, get, keep_alive
from support.hostile_urls import fill


def test_body(web, fetcher):
    assert get(fetcher, web.add("/film.png", b"x" * LIMIT)) == b"x" * LIMIT


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
