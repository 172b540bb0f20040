"""Settings of the edge: the file, the environment, and wrong ones."""

import pytest
import yaml

from chest_xray_ops.edge.settings import EdgeSettings
from support.paths import ROOT

CONFIG = ROOT / "config" / "edge.yaml"


def test_the_file_states_the_defaults():
    assert EdgeSettings.load(CONFIG, {}) == EdgeSettings()
    assert set(yaml.safe_load(CONFIG.read_text())) == set(vars(EdgeSettings()))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("LISTEN", "127.0.0.1:80, [::1]:80", ("127.0.0.1:80", "[::1]:80")), ("RATE_PER_S", "7", 7),
     ("KEYLESS_ORIGINAL", "TRUE", True), ("CORS_ORIGINS", "", ())],
)  # fmt: skip
def test_the_environment_comes_last(name, text, value):
    settings = EdgeSettings.load(CONFIG, {f"CHEST_XRAY_EDGE_{name}": text})
    assert getattr(settings, name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("LISTEN", "0.0.0.0:80"), ("LISTEN", "8443"), ("LISTEN", ""), ("RATE_PER_S", "0"),
     ("RATE_PER_S", "many"), ("KEYLESS_ORIGINAL", "1"), ("CERTIFICATE", "/some.pem"),
     ("CORS_ORIGINS", "viewer.example.org"), ("CORS_ORIGINS", 'https://a" "";}'),
     ("SERVER_NAMES", "a;b"), ("CERTIFICATE", "/a b.pem"), ("LISTENS", "127.0.0.1:80"),
     ("RATE", "7")],
)  # fmt: skip
def test_wrong_settings_name_the_setting(name, text):
    with pytest.raises(ValueError, match=f"(?i){name}"):
        EdgeSettings.load(CONFIG, {f"CHEST_XRAY_EDGE_{name}": text})


def test_an_unknown_setting_in_the_file(tmp_path):
    (tmp_path / "edge.yaml").write_text("rate_pre_s: 5\n")
    with pytest.raises(ValueError, match="rate_pre_s"):
        EdgeSettings.load(tmp_path / "edge.yaml", {})
