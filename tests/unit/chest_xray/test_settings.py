import pytest

from chest_xray.settings import Settings


def test_partial_and_integer_for_seconds():
    assert Settings.load({"fetch_timeout_s": 3}, {}).fetch_timeout_s == 3


@pytest.mark.parametrize(
    "values",
    [{"fetch_timeout": 3}, {"threads": 0}, {"threads": 1.5}, {"threads": True}, {"threads": "2"},
     {"fetch_timeout_s": float("nan")}, {"fetch_timeout_s": float("inf")},
     {"max_image_bytes": None}, {"https_only": "yes"}, {"https_only": 1},
     {"allowed_hosts": "pacs.local"}, {"allowed_hosts": [1]}, {"allowed_hosts": [""]},
     {"allowed_ports": [0]}, {"allowed_ports": ["80"]}],
)  # fmt: skip
def test_wrong_values_name_the_key(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Settings.load(values, {})


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("ALLOWED_HOSTS", "127.0.0.1:9000,pacs.local", ("127.0.0.1:9000", "pacs.local")),
        ("ALLOWED_HOSTS", " a.example , ,*.b.example ", ("a.example", "*.b.example")),
        ("ALLOWED_HOSTS", "", ()),
        ("ALLOWED_PORTS", "8080, 8443", (8080, 8443)),
        ("HTTPS_ONLY", "TRUE", True),
        ("ALLOWED_HOSTS_ONLY", "false", False),
        ("FETCH_TIMEOUT_S", "2.5", 2.5),
        ("MAX_IMAGE_BYTES", "1000", 1000),
    ],
)
def test_the_environment_comes_last(variable, text, value):
    yaml_values = {"allowed_hosts": ["c.example"], "max_image_bytes": 5}
    settings = Settings.load(yaml_values, {f"CHEST_XRAY_{variable}": text})
    assert getattr(settings, variable.lower()) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [("HTTPS_ONLY", "1"), ("HTTPS_ONLY", ""), ("ALLOWED_PORTS", "http"), ("ALLOWED_PORTS", "0"),
     ("FETCH_TIMEOUT_S", "10 s"), ("FETCH_TIMEOUT_S", "-1"), ("MAX_IMAGE_BYTES", "1.5"),
     ("ALOWED_HOSTS", "pacs.local"), ("ALLOWED_HOST", "pacs.local")],
)  # fmt: skip
def test_a_wrong_variable_is_named(variable, text):
    with pytest.raises(ValueError, match=rf"(?i){variable}"):
        Settings.load({}, {f"CHEST_XRAY_{variable}": text})


def test_other_variables_with_the_prefix_are_none_of_ours():
    others = {"RUN_DIR": "/x", "SERVICE_HOST": "10.0.0.1", "PORT": "tcp://10.0.0.1:8080"}
    environment = {f"CHEST_XRAY_{name}": value for name, value in others.items()}
    assert Settings.load({}, environment) == Settings()
