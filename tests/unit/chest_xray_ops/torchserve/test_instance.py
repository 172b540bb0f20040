import pytest
import yaml

from chest_xray_ops.torchserve.instance import Instance, monitor_address
from support.paths import ROOT

PROMETHEUS = ROOT / "config" / "prometheus" / "prometheus.yml"


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in ("TS_INFERENCE_ADDRESS", "TS_MANAGEMENT_ADDRESS", "TS_MODEL_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHEST_XRAY_RUN_DIR", str(tmp_path))


def test_defaults_come_from_the_configuration():
    instance = Instance.from_environment()
    assert instance.inference_url == "http://127.0.0.1:8080"
    assert instance.grpc_inference == "127.0.0.1:7070"
    assert instance.directory.name == "127.0.0.1-8080"


def test_environment_wins_and_every_address_is_dialled_here(monkeypatch):
    monkeypatch.setenv("TS_INFERENCE_ADDRESS", "http://0.0.0.0:9000/")
    assert Instance.from_environment().inference_url == "http://127.0.0.1:9000"


def test_the_monitor_listens_one_port_above_torchserves_metrics(monkeypatch):
    monkeypatch.delenv("TS_METRICS_ADDRESS", raising=False)
    monkeypatch.delenv("CHEST_XRAY_METRICS_ADDRESS", raising=False)
    assert monitor_address() == "127.0.0.1:8083"
    [job, *_] = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [monitor_address()]
    monkeypatch.setenv("TS_METRICS_ADDRESS", "http://0.0.0.0:9000")
    assert monitor_address() == "127.0.0.1:9001"
    monkeypatch.setenv("CHEST_XRAY_METRICS_ADDRESS", "0.0.0.0:7")
    assert monitor_address() == "0.0.0.0:7"
    assert Instance.from_environment().monitor_url == "http://127.0.0.1:7"


def test_ipv6(monkeypatch):
    monkeypatch.setenv("TS_INFERENCE_ADDRESS", "http://[::1]:9000")
    assert Instance.from_environment().inference_url == "http://[::1]:9000"


def test_a_client_may_know_one_address_only(monkeypatch):
    monkeypatch.setenv("TS_INFERENCE_ADDRESS", "http://127.0.0.1:9000")
    monkeypatch.setenv("TS_MANAGEMENT_ADDRESS", "http://127.0.0.1:9001")
    running = Instance.from_environment()
    running.directory.mkdir()
    running.announce(running.directory / "scratch")
    monkeypatch.delenv("TS_INFERENCE_ADDRESS")
    assert Instance.find() == running
    assert Instance.find().scratch == running.directory / "scratch"
    running.withdraw()
    assert Instance.find() != running


def test_keys():
    instance = Instance.from_environment()
    assert instance.key("inference") is None
    instance.directory.mkdir()
    instance.key_file.write_text('{"inference": {"key": "abc"}}')
    assert instance.key("inference") == "abc"
    instance.key_file.write_text("{")  # half written
    assert instance.key("inference") is None
