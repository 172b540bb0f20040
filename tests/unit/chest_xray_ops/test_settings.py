import ast

import pytest

from chest_xray.settings import Settings
from chest_xray.typed_settings import SettingError
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.settings import OperatorSettings, TorchServeSettings
from support.paths import ROOT


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for kind in (OperatorSettings, TorchServeSettings):
        for name in vars(kind()):
            monkeypatch.delenv(kind.prefix + name.upper(), raising=False)


def test_the_defaults_are_the_files():
    assert TorchServeSettings.from_environment() == TorchServeSettings()
    assert OperatorSettings.from_environment() == OperatorSettings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("inference_address", "http://[::1]:9000/", "http://[::1]:9000/"),
     ("management_address", "https://server.example", "https://server.example"),
     ("default_workers_per_model", "3", 3), ("number_of_gpu", "0", 0),
     ("disable_token_authorization", "True", True), ("service_envelope", "kserve", "kserve"),
     ("number_of_gpu", "", None), ("grpc_inference_address", "0.0.0.0", "0.0.0.0")],
)  # fmt: skip
def test_of_torchserve(monkeypatch, name, text, value):
    monkeypatch.setenv(f"TS_{name.upper()}", text)
    assert getattr(TorchServeSettings.from_environment(), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("INFERENCE_ADDRESS", "127.0.0.1:8080"), ("INFERENCE_ADDRESS", "http://127.0.0.1:port"),
     ("INFERENCE_ADDRESS", "http://127.0.0.1:99999"), ("INFERENCE_ADDRESS", "http://[::1"),
     ("INFERENCE_ADDRESS", "unix:/tmp/socket"), ("METRICS_ADDRESS", "http://host/metrics"),
     ("GRPC_INFERENCE_PORT", "70000"), ("GRPC_MANAGEMENT_PORT", "x"),
     ("GRPC_INFERENCE_ADDRESS", "a b"), ("SERVICE_ENVELOPE", "xml"),
     ("DEFAULT_WORKERS_PER_MODEL", "two"), ("DEFAULT_WORKERS_PER_MODEL", "0"),
     ("NUMBER_OF_GPU", "all"), ("NUMBER_OF_GPU", "-1"), ("DISABLE_TOKEN_AUTHORIZATION", "1"),
     ("MODEL_STORE", "/etc/passwd"), ("MAX_REQUEST_SIZE", "32MB"), ("NUMBER_OF_GPUS", "1")],
)  # fmt: skip
def test_wrong_ones_of_torchserve_are_named(monkeypatch, name, text):
    monkeypatch.setenv(f"TS_{name}", text)
    with pytest.raises(SettingError, match=f"TS_{name}"):
        TorchServeSettings.from_environment()


@pytest.mark.parametrize(
    ("name", "text"),
    [("PATIENCE_S", "abc"), ("PATIENCE_S", "0"), ("PATIENCE_S", "inf"), ("RUN_DIR", "/etc/passwd"),
     ("RUN_DIR", "/etc/passwd/run"), ("METRICS_ADDRESS", "8083"), ("METRICS_ADDRESS", "h:0"),
     ("METRICS_ADDRESS", "http://127.0.0.1:8083"), ("KEYS", "/etc"), ("KEYS", "/etc/passwd/keys"),
     ("PATIENCE", "5"), ("RUNDIR", "/tmp")],
)  # fmt: skip
def test_wrong_ones_of_ours_are_named(monkeypatch, name, text):
    monkeypatch.setenv(f"CHEST_XRAY_{name}", text)
    with pytest.raises(SettingError, match=f"CHEST_XRAY_{name}"):
        OperatorSettings.from_environment()


def test_no_variable_of_one_kind_passes_for_a_misspelt_one_of_another():
    kinds = (Settings, EdgeSettings, OperatorSettings, TorchServeSettings)
    for kind in kinds:
        foreign = {
            other.prefix + name.upper(): "x"
            for other in set(kinds) - {kind}
            for name in vars(other())
            if not (kind.owns_prefix and not other.owns_prefix)
        }
        assert kind.load({}, foreign) == kind()


def test_what_kubernetes_sets_for_a_service_of_our_name_is_not_ours():
    names = "SERVICE_HOST SERVICE_PORT SERVICE_PORT_MONITORING PORT PORT_8443_TCP_ADDR"
    variables = {f"CHEST_XRAY_{name}": "x" for name in names.split()}
    assert OperatorSettings.load({}, variables) == OperatorSettings()
    assert Settings.load({}, variables) == Settings()


def test_other_variables_of_torchserve_are_its_own():
    names = (
        "MAX_RESPONSE_SIZE JOB_QUEUE_SIZE LOAD_MODELS METRICS_MODE METRICS_CONFIG ALLOWED_URLS "
        "DEFAULT_RESPONSE_TIMEOUT DEFAULT_STARTUP_TIMEOUT NUMBER_OF_NETTY_THREADS "
        "ENABLE_MODEL_API GRPC_INFERENCE_MAX_CONNECTION_AGE_MS MODEL_SNAPSHOT PREFER_DIRECT_BUFFER "
        "NETTY_CLIENT_THREADS DISABLE_SYSTEM_METRICS WORKFLOW_STORE CORS_ALLOWED_ORIGIN"
    )
    variables = {f"TS_{name}": "x" for name in names.split()}
    assert TorchServeSettings.load({}, variables) == TorchServeSettings()


READERS = {
    "handler/chest_xray_handler.py",  # the handler's settings, in a worker
    "handler/chest_xray/worker/access_log.py",  # what the supervisor tells its workers
    "handler/chest_xray/worker/metrics.py",
    "scripts/chest_xray_ops/places.py",  # the home folder
    "scripts/chest_xray_ops/torchserve/java.py",  # handed on to a child
    "handler/chest_xray/sandbox.py",  # handed on to a child
    "scripts/chest_xray_ops/settings.py",
    "scripts/chest_xray_ops/edge/settings.py",
    "scripts/chest_xray_ops/edge/nginx.py",  # PATH
    "scripts/chest_xray_ops/torchserve/supervisor.py",  # NOTIFY_SOCKET
}
"""Files that may use os.environ; whoever adds one reads no setting of ours there."""


def test_settings_are_read_from_the_environment_in_one_place():
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("handler", "scripts/chest_xray_ops")
        for path in (ROOT / folder).rglob("*.py")
        if any(
            getattr(node, "attr", getattr(node, "id", "")) in ("environ", "getenv")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert readers <= READERS
