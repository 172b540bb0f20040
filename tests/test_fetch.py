import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chest_xray.errors import InputError
from chest_xray.fetch import fetch
from chest_xray.settings import Settings

SETTINGS = Settings(fetch_timeout_s=1.0, max_image_bytes=1000)


def code_of(url):
    with pytest.raises(InputError) as caught:
        fetch(url, SETTINGS)
    assert "127.0.0.1" not in caught.value.message
    return caught.value.code


def test_body(web):
    assert fetch(web.add("/film.png", b"x" * 1000), SETTINGS) == b"x" * 1000


def test_a_server_that_closes_without_saying_so(web):
    url = web.add("/closes", b"x")
    with ThreadPoolExecutor(8) as executor:
        assert set(executor.map(lambda _: fetch(url, SETTINGS), range(400))) == {b"x"}


def test_redirects_up_to_three(web):
    url = web.add("/0", b"film")
    for hop in range(1, 4):
        url = web.add(f"/{hop}", b"", 302, Location=url)
    assert fetch(url, SETTINGS) == b"film"
    assert code_of(web.add("/4", b"", 302, Location=url)) == "upstream_failed"


def test_a_redirect_may_be_relative(web):
    web.add("/film", b"film")
    assert fetch(web.add("/here", b"", 302, Location="/film"), SETTINGS) == b"film"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/film"])
def test_redirect_to_another_scheme(web, target):
    assert code_of(web.add("/scheme", b"", 302, Location=target)) in (
        "upstream_failed",
        "invalid_url",
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "image_not_found"), (410, "image_not_found"), (403, "upstream_failed"),
     (500, "upstream_failed"), (204, "upstream_failed")],
)  # fmt: skip
def test_status(web, status, code):
    assert code_of(web.add(f"/status/{status}", b"", status)) == code


def test_declared_and_real_size(web):
    assert code_of(web.add("/large", b"x" * 1001)) == "image_too_large"
    assert code_of(web.add("/huge", b"", Content_Length="999999999")) == "image_too_large"


@pytest.mark.parametrize("length", ["-1", "many", "1, 2"])
def test_nonsense_length_is_ignored_or_the_servers_fault(web, length):
    try:
        assert fetch(web.add("/nonsense", b"film", Content_Length=length), SETTINGS) == b"film"
    except InputError as error:
        assert error.code == "upstream_failed"


def test_body_shorter_than_declared(web):
    assert code_of(web.add("/short", b"x", Content_Length="500")) == "upstream_failed"


def test_slow_drip_ends_on_time(web):
    start = time.monotonic()
    assert code_of(web.add_drip("/drip", seconds=6)) == "upstream_timeout"
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    "url",
    ["", "film.png", "file:///etc/passwd", "ftp://example.org/x", "http://", "https:///x",
     "http://[::1", "javascript:alert(1)", "http://exa mple.org/", "http://example.org:99999/",
     "http://\udcff/", "\x00", f"http://{'a' * 64}.org/"],
)  # fmt: skip
def test_no_url(url):
    assert code_of(url) == "invalid_url"


def test_nothing_listens():
    assert code_of("http://127.0.0.1:9/film.png") == "upstream_failed"
