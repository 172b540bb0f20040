import pytest
from hypothesis import given
from hypothesis import strategies as st

from chest_xray.egress import Egress, is_public
from chest_xray.errors import InputError
from chest_xray.settings import Settings


def code_of(url, **settings):
    with pytest.raises(InputError) as caught:
        Egress(Settings(**settings)).target(url)
    return caught.value.code


@pytest.mark.parametrize(
    ("url", "rebuilt"),
    [
        ("https://Example.ORG/a/../b?q=1#fragment", "https://example.org/b?q=1"),
        ("http://example.org", "http://example.org/"),
        ("HTTP://example.org.:80/", "http://example.org/"),
        ("https://example.org:443/ä b".replace(" ", "%20"), "https://example.org/%C3%A4%20b"),
        ("http://münchen.de/", "http://xn--mnchen-3ya.de/"),
        ("http://[2606:4700:0:0::1]/", "http://[2606:4700::1]/"),
        ("https://example.org?q", "https://example.org/?q"),
    ],
)
def test_one_reading(url, rebuilt):
    target = Egress(Settings()).target(url)
    assert target.url == rebuilt
    assert Egress(Settings()).target(target.url) == target


@given(st.text(max_size=60) | st.from_regex(r"https?://[^ ]{0,40}", fullmatch=True))
def test_any_text_is_refused_or_has_one_reading(text):
    egress = Egress(Settings())
    try:
        target = egress.target(text)
    except InputError as error:
        assert error.code in ("invalid_url", "url_not_allowed")
        return
    assert egress.target(target.url) == target
    assert target.url.isascii()
    assert target.url.isprintable()
    assert not set("@\\ %") & set(target.host)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1",
     "169.253.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
     "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::5efe:808:808"],
)  # fmt: skip
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "::1%lo", "2606:4700::1%eth0"])
def test_what_is_no_address_is_not_public(address):
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_no_more_public_when_wrapped(inner):
    bits = int(inner)
    for outer in (
        f"::ffff:{inner}",
        f"64:ff9b::{inner}",
        f"2002:{bits >> 16:x}:{bits & 0xFFFF:x}::1",
        f"2001:0:0808:0808:0:0:{(bits >> 16) ^ 0xFFFF:x}:{(bits & 0xFFFF) ^ 0xFFFF:x}",
        f"2606:4700::5efe:{bits >> 16:x}:{bits & 0xFFFF:x}",
    ):
        assert is_public(outer) == is_public(str(inner)), outer


@given(st.ip_addresses())
def test_no_more_is_public_than_python_thinks(address):
    if is_public(str(address)) and not getattr(address, "ipv4_mapped", None):
        wrapped = getattr(address, "sixtofour", None) or getattr(address, "teredo", None)
        nat64 = str(address).startswith("64:ff9b::")
        assert (address.is_global and not address.is_multicast) or wrapped or nat64


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("pacs.local", "http://pacs.local/", True),
        ("pacs.local", "http://PACS.local./", True),
        ("pacs.local", "https://pacs.local/", True),
        ("pacs.local", "http://pacs.local:8042/", False),
        ("pacs.local", "http://a.pacs.local/", False),
        ("pacs.local", "http://pacs.local.evil.example/", False),
        ("pacs.local:8042", "http://pacs.local:8042/wado", True),
        ("pacs.local:8042", "http://pacs.local/", False),
        ("*.example.org", "http://a.example.org/", True),
        ("*.example.org", "http://a.b.example.org/", True),
        ("*.example.org", "http://example.org/", False),
        ("*.example.org", "http://evilexample.org/", False),
        ("*.example.org:8443", "https://a.example.org:8443/", True),
        ("10.1.2.3:8042", "http://10.1.2.3:8042/", True),
        ("127.0.0.1:8042", "http://2130706433:8042/", False),
        ("[::1]:8042", "http://[0::1]:8042/", True),
        ("::1", "http://[::1]/", True),
        ("münchen.de", "http://xn--mnchen-3ya.de/", True),
    ],
)
def test_allowed_hosts(entry, url, allowed):
    settings = {"allowed_hosts": (entry,), "allowed_hosts_only": True}
    if allowed:
        egress = Egress(Settings(**settings))
        egress.judge(egress.target(url), ["127.0.0.1", "10.0.0.1"])
    else:
        assert code_of(url, **settings) == "url_not_allowed"


@pytest.mark.parametrize(
    "entry",
    ["*", "*.", "http://pacs.local", "pacs.local/", "a b", "user@pacs.local", "pacs.local:0",
     "pacs.local:99999", "*.10.0.0.1", "[::1", "a..b", "pacs.*", "%31.example", "*.*.example"],
)  # fmt: skip
def test_no_host(entry):
    with pytest.raises(ValueError, match="allowed_hosts"):
        Egress(Settings(allowed_hosts=(entry,)))


def test_https_only():
    assert code_of("http://example.org/", https_only=True) == "url_not_allowed"
    Egress(Settings(https_only=True)).target("https://example.org/")


def test_ports():
    assert code_of("http://example.org:8080/") == "url_not_allowed"
    Egress(Settings(allowed_ports=(8080,))).target("http://example.org:8080/")


@pytest.mark.parametrize(
    ("location", "code"),
    [("http://other.example/", "url_not_allowed"), ("//user@other.example/", "upstream_failed"),
     ("ftp://other.example/", "upstream_failed"),
     ("https://other.example:22/", "url_not_allowed"),
     ("/a b", "upstream_failed"), ("https://[::1", "upstream_failed"),
     ("\\\\x", "upstream_failed")],
)  # fmt: skip
def test_redirects_are_judged(location, code):
    egress = Egress(Settings())
    with pytest.raises(InputError) as caught:
        egress.redirected(egress.target("https://example.org/"), location)
    assert caught.value.code == code


def test_redirects_may_be_relative():
    egress = Egress(Settings())
    target = egress.redirected(egress.target("https://example.org/a/b"), "../c?d#e")
    assert target.url == "https://example.org/c?d"
