"""nginx's configuration as a function of what it is made from."""

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from chest_xray_ops.edge.configuration import callers, render
from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.edge.routes import ROUTES
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.torchserve.instance import Instance


def rendered(settings=None, authorization="Bearer first", **options):
    return render(
        settings or EdgeSettings(),
        Instance.from_environment(),
        directory=Path("/run/edge"),
        sockets=Path("/run/sockets"),
        authorization=authorization,
        **options,
    )


@pytest.mark.parametrize(
    "settings",
    [
        EdgeSettings(),
        EdgeSettings(
            listen=("0.0.0.0:443", "[::]:443"),
            server_names=("films.example.org", "*.clinic.example"),
            certificate="/etc/films.pem",
            certificate_key="/etc/films.key",
            cors_origins=("https://viewer.example.org",),
            keyless_original=True,
            access_log=True,
        ),
    ],
    ids=["defaults", "everything"],
)
@pytest.mark.parametrize("authorization", ["Bearer first", "", None])
def test_every_placeholder_is_filled_in(settings, authorization):
    text = rendered(settings, authorization)
    assert "{{" not in text
    assert "}}" not in text
    assert "None" not in text
    assert text == rendered(settings, authorization)
    for route in ROUTES:
        assert text.count(f"(?<path>{route.pattern})") == 2


def test_settings_arrive_where_they_belong():
    text = rendered(
        EdgeSettings(
            listen=("127.0.0.1:1", "127.0.0.1:2"), max_body_bytes=1000, rate_per_s=7, rate_burst=8,
            connections_per_key=9, client_timeout_s=10, answer_timeout_s=11,
            server_names=("a.example",), cors_origins=("https://b.example",),
        )
    )  # fmt: skip
    for line in (
        "listen 127.0.0.1:1;", "listen 127.0.0.1:2;", "client_max_body_size 1000;",
        "client_body_buffer_size 1250;", "rate=7r/s;", "burst=8 nodelay;", "connections 9;",
        "send_timeout 10s;", "proxy_read_timeout 11s;", 'a.example "";',
        '"https://b.example" "https://b.example";', "access_log off;",
        "auth_basic_user_file /run/edge/callers;", "server unix:/run/sockets/inner.sock;",
    ):  # fmt: skip
        assert line in text
    assert "ssl" not in text


def test_tls_is_on_every_address():
    settings = EdgeSettings(
        listen=("0.0.0.0:443", "[::]:443"), certificate="/a.pem", certificate_key="/a.key"
    )
    text = rendered(settings)
    assert re.findall(r"listen (\S+) ssl http2;", text) == ["0.0.0.0:443", "[::]:443"]
    assert "ssl_certificate /a.pem;" in text
    assert "ssl_certificate_key /a.key;" in text
    assert "Strict-Transport-Security max-age=31536000 always;" in text


def upstream(text):
    return re.search(r"upstream torchserve \{\n(.*?)keepalive", text, re.DOTALL)[1].split("\n")


def test_nobody_is_asked_while_the_server_is_away():
    away = rendered(authorization=None)
    assert [line.strip() for line in upstream(away)] == [
        "server unix:/run/sockets/nobody.sock;",
        "",
    ]
    assert 'Authorization "";' in away
    for authorization in ("Bearer first", ""):
        text = rendered(authorization=authorization)
        assert f'Authorization "{authorization}";' in text
        assert [line.strip() for line in upstream(text)] == [
            *["server 127.0.0.1:8080 max_fails=0;"] * 3,
            "server unix:/run/sockets/nobody.sock backup;",
            "",
        ]


def test_only_root_names_a_user():
    assert "\nuser root;\n" in rendered(as_root=True)
    assert "\nuser " not in rendered(as_root=False)


def test_callers_are_the_valid_keys(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    valid, _ = keys.create("valid", timedelta(days=2))
    keys.create("expires first", timedelta(hours=1))
    revoked, _ = keys.create("revoked", timedelta(days=2))
    keys.revoke(revoked.id)
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    assert callers(keys.read(), tomorrow) == f"{valid.id}:{valid.hash}\n"
    assert callers([], tomorrow) == ""
