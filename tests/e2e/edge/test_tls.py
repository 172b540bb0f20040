"""Protocols, ciphers, HTTP/2, and a new certificate."""

import json
import shutil
import socket
import ssl
import subprocess

import pytest

from chest_xray_ops.edge.certificate import self_signed
from support.raw_http import parsed


def test_tls(edge):
    def version(least, most, ciphers="ALL:@SECLEVEL=0"):
        context = ssl.create_default_context(cafile=edge.certificate)
        context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = least, most
        with (
            socket.create_connection(("127.0.0.1", edge.port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            return wrapped.version()

    modern = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    for one in modern:
        assert version(one, one) == one.name.replace("_", ".")
    with pytest.warns(DeprecationWarning, match="TLS"), pytest.raises((ssl.SSLError, OSError)):
        version(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    for weak in ("AES128-SHA", "ECDHE+SHA", "aNULL:@SECLEVEL=0", "AES256-GCM-SHA384"):
        with pytest.raises((ssl.SSLError, OSError)):
            version(modern[0], modern[0], weak)
    # Plain HTTP at the TLS port.
    with socket.create_connection(("127.0.0.1", edge.port), 10) as plain:
        plain.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, body = parsed(plain.recv(65536))
    assert (status, json.loads(body)["code"]) == (400, "bad_request")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_http2_and_no_tickets(edge):
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.port}", "-alpn", "h2", "-tls1_2"],
        input="", capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert "ALPN protocol: h2" in run.stdout
    assert "session ticket" not in run.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_http2(edge, token, film, tmp_path):
    (tmp_path / "film.png").write_bytes(film)
    run = subprocess.run(
        ["curl", "-s", "--http2", "--cacert", edge.certificate,
         "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: image/png",
         "--data-binary", f"@{tmp_path}/film.png",
         "-w", "\n%{http_version}", f"{edge.url}/predictions/chest-xray"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    body, _, version = run.stdout.rpartition("\n")
    assert "label" in json.loads(body)
    assert version == "2"


def test_a_new_certificate_is_taken_over(before, tmp_path):
    (tmp_path / "tls").mkdir()
    settings = self_signed(tmp_path / "tls")
    edge = before(**settings)
    edge.certificate = settings["certificate"]

    def serial():
        context = ssl.create_default_context(cafile=edge.certificate)
        try:
            with (
                socket.create_connection(("127.0.0.1", edge.port), 10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as wrapped,
            ):
                return wrapped.getpeercert()["serialNumber"]
        except ssl.SSLError:  # still the old one
            return None

    first = serial()
    self_signed(tmp_path / "tls")
    edge.wait_for(lambda: serial() not in (first, None))
