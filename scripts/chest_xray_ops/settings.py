"""What an operator sets in the environment: our own settings and those of TorchServe that we read.

The handler's settings and the edge's have files of their own: ``chest_xray.settings`` and
``edge.settings``.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from chest_xray.typed_settings import TypedSettings, setting
from chest_xray_ops.places import CONFIG

PROPERTIES = CONFIG / "config.properties"
"""TorchServe's configuration."""
ENVELOPES_WITH_INSTANCES = ("json", "kserve")
ENVELOPES = ("", "body", *ENVELOPES_WITH_INSTANCES)
"""Forms around a body (TorchServe's ``service_envelope``) that the handler understands."""
MAX_BODY_BYTES = 33_554_432
"""Of a request, at the server and at the edge: a 20 MB image as base64 in JSON fits."""
MOST_PORT = 65_535
_HOST = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)"


def is_endpoint(text: str) -> bool:
    """Whether this is HOST:PORT, with a port that there can be; IPv6 addresses in brackets."""
    return bool(re.fullmatch(_HOST, text.rpartition(":")[0])) and _is_port(text.rpartition(":")[2])


def _is_url(text: str) -> bool:
    """Whether this is http or https, a host and perhaps a port, and nothing else."""
    match = re.fullmatch(rf"https?://{_HOST}(:(?P<port>\d+))?/?", text)
    return match is not None and _is_port(match["port"] or "80")


def _is_port(text: str) -> bool:
    return re.fullmatch(r"\d{1,5}", text) is not None and 1 <= int(text) <= MOST_PORT


def _can_be_folder(path: str) -> bool:
    """Whether this is a folder, or nothing yet below one."""
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder)


def _can_be_file(path: str) -> bool:
    return not path or (not os.path.isdir(path) and _can_be_folder(os.path.dirname(path)))


def _url(default: str, meaning: str) -> str:
    return setting(default, meaning, check=_is_url, expected="a URL such as http://127.0.0.1:8080")


def _host(meaning: str) -> str:
    check = re.compile(_HOST).fullmatch
    return setting("127.0.0.1", meaning, check=check, expected="a host or an address")


@dataclass(frozen=True)
class OperatorSettings(TypedSettings):
    """Our own settings; they are set in the environment alone, as ``CHEST_XRAY_<NAME>``."""

    prefix: ClassVar[str] = "CHEST_XRAY_"
    part: ClassVar[str] = "operator"

    run_dir: str = setting(
        "",
        "folder of what servers leave: keys, logs and state; by default .run",
        check=_can_be_folder,
        expected="a folder, or a path where one can be made",
    )
    metrics_address: str = setting(
        "",
        "HOST:PORT of /metrics, /ready and /live; by default the port after that of TorchServe's "
        "metrics, on loopback",
        check=lambda text: not text or is_endpoint(text),
        expected="HOST:PORT, such as 127.0.0.1:8083",
    )
    patience_s: float = setting(
        75.0,
        "without any answer, after which the server is restarted; longer than a worker may take "
        "for a batch, after which TorchServe restarts the worker",
        unit="seconds",
    )
    keys: str = setting(
        "",
        "file of the callers' keys; by default keys.json in run_dir",
        check=_can_be_file,
        expected="a file, or a path where one can be made",
    )
    key: str = setting("", "the key that predict asks with, for a server elsewhere")

    @classmethod
    def from_environment(cls) -> "OperatorSettings":
        """Raises SettingError if anything is set wrong."""
        return cls.load({}, _set(os.environ))


@dataclass(frozen=True)
class TorchServeSettings(TypedSettings):
    """Settings of TorchServe that we read too; it has many more.

    They are set in ``config.properties``, or in the environment as ``TS_<NAME>``.
    """

    prefix: ClassVar[str] = "TS_"
    part: ClassVar[str] = "server"

    inference_address: str = _url("http://127.0.0.1:8080", "where predictions are asked for")
    management_address: str = _url("http://127.0.0.1:8081", "where versions are managed")
    metrics_address: str = _url("http://127.0.0.1:8082", "where TorchServe's own metrics are")
    grpc_inference_address: str = _host("of predictions over gRPC")
    grpc_inference_port: int = setting(7070, "of predictions over gRPC", most=MOST_PORT)
    grpc_management_address: str = _host("of management over gRPC")
    grpc_management_port: int = setting(7071, "of management over gRPC", most=MOST_PORT)
    service_envelope: str = setting(
        "",
        "form around every body; empty for none",
        check=ENVELOPES.__contains__,
        expected=f"one of {', '.join(ENVELOPES[1:])}, or nothing",
    )
    model_store: str = setting(
        "",
        "folder of the archives; by default build/model-store",
        check=_can_be_folder,
        expected="a folder, or a path where one can be made",
    )
    default_workers_per_model: int | None = setting(
        None, "workers of a version; by default as many as suit the machine"
    )
    number_of_gpu: int | None = setting(
        None, "GPUs that are used; by default all, and 0 for none", least=0
    )
    disable_token_authorization: bool = setting(False, "serve without keys")
    max_request_size: int = setting(MAX_BODY_BYTES, "size of a request's body", unit="bytes")

    @classmethod
    def from_environment(cls) -> "TorchServeSettings":
        """Settings of the file, overridden from the environment, as TorchServe does it.

        Raises:
            SettingError: anything is set wrong, in the file or in the environment.
        """
        lines = PROPERTIES.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if not line.startswith("#"))
        file = {cls.prefix + name.strip().upper(): value for name, sign, value in pairs if sign}
        return cls.load({}, _set({**file, **os.environ}))

    @classmethod
    def is_in_environment(cls, name: str) -> bool:
        """Whether the environment says anything about a setting."""
        return cls.prefix + name.upper() in _set(os.environ)


def _set(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables with a value: an empty one counts as not set."""
    return {name: value for name, value in environment.items() if value.strip()}
