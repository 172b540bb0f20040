"""Egress tests say what trusted hosts let pass; here is how they are read."""

import pytest

from chest_xray.hosts import TrustedHost, is_trusted_host


@pytest.mark.parametrize(
    ("text", "host", "suffix", "port"),
    [
        ("pacs.local", "pacs.local", False, None),
        ("PACS.local.", "pacs.local", False, None),
        ("pacs.local:8042", "pacs.local", False, 8042),
        ("*.images.example.org", "images.example.org", True, None),
        ("10.1.2.3:8042", "10.1.2.3", False, 8042),
        ("::1", "::1", False, None),
        ("[0:0::1]:80", "::1", False, 80),
    ],
)
def test_one_spelling(text, host, suffix, port):
    assert TrustedHost.parse(text) == TrustedHost(host, suffix, port)
    assert is_trusted_host(text)


@pytest.mark.parametrize("text", ["", "http://pacs.local", "pacs.local:0", "*.10.0.0.1", "a b"])
def test_what_is_not_a_host(text):
    with pytest.raises(ValueError, match=r"."):
        TrustedHost.parse(text)
    assert not is_trusted_host(text)
