import pytest

from chest_xray.typed_settings import SettingError
from chest_xray_ops.edge.settings import EdgeSettings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("LISTEN", "127.0.0.1:80, [::1]:80", ("127.0.0.1:80", "[::1]:80")), ("RATE_PER_S", "7", 7),
     ("KEYLESS_ORIGINAL", "TRUE", True), ("CORS_ORIGINS", "", ())],
)  # fmt: skip
def test_the_environment_comes_last(name, text, value):
    settings = EdgeSettings.load({name.lower(): value}, {f"CHEST_XRAY_EDGE_{name}": text})
    assert getattr(settings, name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("LISTEN", "0.0.0.0:80"), ("LISTEN", "8443"), ("LISTEN", ""), ("RATE_PER_S", "0"),
     ("RATE_PER_S", "many"), ("KEYLESS_ORIGINAL", "1"), ("CERTIFICATE", "/some.pem"),
     ("CORS_ORIGINS", "viewer.example.org"), ("CORS_ORIGINS", 'https://a" "";}'),
     ("SERVER_NAMES", "a;b"), ("CERTIFICATE", "/a b.pem"), ("LISTENS", "127.0.0.1:80"),
     ("RATE", "7"), ("LISTEN", "999.0.0.1:80"), ("LISTEN", "127.0.0.1:99999"),
     ("LISTEN", "localhost:80"), ("LISTEN", "[::1%lo{}]:80"), ("LISTEN", "[::]:80")],
)  # fmt: skip
def test_wrong_settings_name_the_setting(name, text):
    with pytest.raises(SettingError, match=f"(?i){name}"):
        EdgeSettings.load({}, {f"CHEST_XRAY_EDGE_{name}": text})


def test_beyond_loopback_with_a_certificate_or_a_proxy_in_front():
    everywhere = {"listen": ["0.0.0.0:443", "[::]:443"]}
    certificate = {"certificate": "/a.pem", "certificate_key": "/a.key"}
    for allowed in (certificate, {"plain_http": True}):
        assert EdgeSettings.load(everywhere | allowed, {}).listen == ("0.0.0.0:443", "[::]:443")
    assert EdgeSettings.load(everywhere, {}, **certificate).certificate == "/a.pem"


@pytest.mark.parametrize(
    ("text", "message"),
    [("rate_pre_s: 5\n", "unknown edge setting rate_pre_s; did you mean rate_per_s?"),
     ("rate_per_s: {", "edge.yaml: invalid YAML: "),
     ("- 5\n", "edge.yaml: expected names with values, got [5]"),
     ("listen: 5\n", "edge setting listen: expected a list")],
)  # fmt: skip
def test_a_wrong_file(tmp_path, text, message):
    (tmp_path / "edge.yaml").write_text(text)
    with pytest.raises(SettingError) as error:
        EdgeSettings.read(tmp_path / "edge.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
