"""A wrong setting, of whatever kind, stops a command with one line that names it."""

import os
import subprocess
import sys

import pytest

from chest_xray_ops.archive import archive_path
from chest_xray_ops.places import MODEL_CONFIG
from chest_xray_versions import DEFAULT_VERSION
from support.archives import entry, store_with
from support.paths import ROOT


def fails(command, folder, **environment):
    """What a command says that fails at once, without its name."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / command[0]), *command[1:]],
        env={**os.environ, "CHEST_XRAY_RUN_DIR": str(folder / "run"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert run.stdout == ""
    [line] = run.stderr.splitlines()
    assert not list(folder.rglob("java.log"))
    return line.partition(": ")[2]


@pytest.mark.parametrize(
    ("command", "name", "text", "expected"),
    [
        # the handler's, which every worker would refuse
        ("serve", "CHEST_XRAY_THREADS", "0", "a positive whole number"),
        ("serve", "CHEST_XRAY_FETCH_TIMEOUT_S", "10 s", "a positive number of seconds"),
        ("serve", "CHEST_XRAY_HTTPS_ONLY", "1", "true or false"),
        ("serve", "CHEST_XRAY_ALLOWED_PORTS", "80,http",
         "a list, each item a whole number from 1 to 65535"),
        ("serve", "CHEST_XRAY_ALLOWED_HOSTS", "http://pacs.local/",
         "a list, each item a host, *.suffix or host:port"),
        # the operator's
        ("serve", "CHEST_XRAY_PATIENCE_S", "abc", "a positive number of seconds"),
        ("serve", "CHEST_XRAY_METRICS_ADDRESS", "8083", "HOST:PORT, such as 127.0.0.1:8083"),
        ("serve", "CHEST_XRAY_RUN_DIR", "/etc/passwd", "a folder, or a path where one can be made"),
        ("manage list", "CHEST_XRAY_PATIENCE_S", "-1", "a positive number of seconds"),
        ("keys list", "CHEST_XRAY_KEYS", "/etc", "a file, or a path where one can be made"),
        # TorchServe's that we read, too
        ("serve", "TS_DEFAULT_WORKERS_PER_MODEL", "two", "a positive whole number"),
        ("serve", "TS_NUMBER_OF_GPU", "all", "a whole number, 0 or more"),
        ("serve", "TS_SERVICE_ENVELOPE", "xml", "one of body, json, kserve, or nothing"),
        ("manage list", "TS_MANAGEMENT_ADDRESS", "127.0.0.1:8081",
         "a URL such as http://127.0.0.1:8080"),
        ("serve", "TS_GRPC_INFERENCE_PORT", "70000", "a whole number from 1 to 65535"),
        ("serve", "TS_DISABLE_TOKEN_AUTHORIZATION", "yes", "true or false"),
        ("serve", "TS_MODEL_STORE", "/etc/passwd", "a folder, or a path where one can be made"),
        # the edge's
        ("edge --check", "CHEST_XRAY_EDGE_RATE_PER_S", "many", "a positive whole number"),
        ("edge --check", "CHEST_XRAY_EDGE_LISTEN", "8443",
         "a list, each item an IP address with a port, such as 127.0.0.1:8443 or [::]:443"),
        ("edge --check", "TS_INFERENCE_ADDRESS", "http://host:0",
         "a URL such as http://127.0.0.1:8080"),
    ],
)  # fmt: skip
def test_a_wrong_value(store, tmp_path, command, name, text, expected):
    script, *arguments = command.split()
    environment = {"TS_MODEL_STORE": str(store), name: text}
    said = fails([f"{script}.py", *arguments], tmp_path, **environment)
    assert said == f"{name}: expected {expected}, got {text!r}"


@pytest.mark.parametrize(
    ("command", "misspelt", "meant"),
    [
        ("serve", "CHEST_XRAY_ALLOWED_HOST", "CHEST_XRAY_ALLOWED_HOSTS"),
        ("serve", "CHEST_XRAY_PATIENCE", "CHEST_XRAY_PATIENCE_S"),
        ("serve", "TS_NUMBER_OF_GPUS", "TS_NUMBER_OF_GPU"),
        ("edge --check", "CHEST_XRAY_EDGE_RATE", "CHEST_XRAY_EDGE_RATE_PER_S"),
    ],
)
def test_a_misspelt_name(store, tmp_path, command, misspelt, meant):
    script, *arguments = command.split()
    environment = {"TS_MODEL_STORE": str(store), misspelt: "1"}
    said = fails([f"{script}.py", *arguments], tmp_path, **environment)
    assert said == f"unknown setting {misspelt}; did you mean {meant}?"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("handler:", "handler:\n  threads: 2.5",
         "handler setting threads: expected a positive whole number, got 2.5"),
        ("handler:", "handler:\n  fetch_timeout: 3",
         "unknown handler setting fetch_timeout; did you mean fetch_timeout_s?"),
        ("handler:", "handler: off", "handler settings: expected names with values, got False"),
    ],
)  # fmt: skip
def test_a_wrong_handler_section_in_the_archive(store, tmp_path, old, new, said):
    archive = archive_path(DEFAULT_VERSION, store)
    text = entry(archive, MODEL_CONFIG.name).replace(old.encode(), new.encode())
    changed = store_with(archive, {MODEL_CONFIG.name: text}, tmp_path)
    assert fails(["serve.py"], tmp_path, TS_MODEL_STORE=changed) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate_per_s: 0", "edge setting rate_per_s: expected a positive whole number, got 0"),
        ("rate_pre_s: 5", "unknown edge setting rate_pre_s; did you mean rate_per_s?"),
        ("listen: ['0.0.0.0:443']",
         "edge setting listen: expected loopback addresses without a certificate or "
         "plain_http: true, got '0.0.0.0:443'"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_the_edge(tmp_path, text, said):
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    assert fails(["edge.py", "--check", "--settings", str(file)], tmp_path) == said
