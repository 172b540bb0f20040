"""The one client of TorchServe's inference and management APIs."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import requests

from chest_xray.errors import STATUS
from chest_xray_ops.failure import Failure
from chest_xray_ops.settings import ENVELOPES_WITH_INSTANCES
from chest_xray_ops.torchserve.instance import MODEL, Instance

_TIMEOUT_S = 130  # above TorchServe's own 120 s for a start or an answer
_POLL_S = 0.25
_UNBATCHED = ("kserve",)
"""Envelopes that read only the first request of a batch."""


class ServerError(Failure):
    """The server refused or failed; holds the HTTP status, type and body of its answer."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.type = body.get("type", "") if isinstance(body, dict) else ""
        self.body = body
        message = body.get("message", "") if isinstance(body, dict) else str(body)
        super().__init__(f"{status} {self.type}: {message}")


class ServerUnreachable(Failure):
    """There is no answer from the address, or none in time."""

    exit_status = 3


@dataclass(frozen=True)
class Version:
    """One registered model version."""

    version: str
    default: bool
    workers: tuple[str, ...]
    """The status of each worker: READY, or UNLOADING while it loads or restarts."""
    wanted: int
    """The number of workers that it should have."""
    queued: int
    """Requests that no worker has taken yet."""
    archive: str
    """The name of its file in the model store."""

    @property
    def ready(self) -> int:
        """The number of workers that are READY."""
        return self.workers.count("READY")


class TorchServeClient:
    """Asks one server; safe to use from several threads.

    Every method raises ServerError if the server refuses or fails, and ServerUnreachable if there
    is no answer in time.
    """

    def __init__(
        self,
        inference_url: str,
        management_url: str,
        inference_key: str | None = None,
        management_key: str | None = None,
        timeout_s: float | None = None,
        envelope: str = "",
        certificates: str | None = None,
    ) -> None:
        """
        Args:
            inference_url: base of the addresses of predictions and explanations.
            management_url: base of the addresses of the management API.
            inference_key: the bearer token for the former; None if the server wants none.
            management_key: the bearer token for the latter.
            timeout_s: the limit of every call that has none of its own.
            envelope: the form that the server expects around a body.
            certificates: a PEM file of authorities to trust instead of the usual ones.
        """
        self._timeout_s = timeout_s or _TIMEOUT_S
        self._envelope = envelope
        self._urls = {"inference": inference_url, "management": management_url}
        self._keys = {"inference": inference_key, "management": management_key}
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between us and our server
        self._session.verify = certificates or True
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=64))

    @classmethod
    def of(cls, instance: Instance, timeout_s: float | None = None) -> "TorchServeClient":
        """A client with the keys that the instance has now."""
        return cls(
            instance.inference_url,
            instance.management_url,
            instance.key("inference"),
            instance.key("management"),
            timeout_s,
            instance.envelope,
        )

    @property
    def unbatched(self) -> bool:
        """Whether the server must not form batches; only a registration by request can tell it."""
        return self._envelope in _UNBATCHED

    # Inference

    def predict(
        self,
        body: bytes | dict[str, Any],
        version: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Classify an encoded image (bytes) or what a JSON object names.

        Raises:
            ServerError: the answer is not a prediction; its body says why.
            ServerUnreachable: there is no answer, or none in time.
        """
        path = f"/predictions/{MODEL}" + (f"/{version}" if version else "")
        if enveloped := self._envelope in ENVELOPES_WITH_INSTANCES:
            body = {"instances": [_as_object(body)]}
        content = {**_content(body), "timeout": timeout_s}
        content["headers"] = {**content.get("headers", {}), **headers}
        answer: dict[str, Any] = self._call("inference", "POST", path, **content)
        if enveloped:
            [answer] = answer["predictions"]
            if "code" in answer:
                raise ServerError(STATUS[answer["code"]].value, answer)
        return answer

    def explain(
        self,
        body: bytes | dict[str, Any],
        version: str | None = None,
    ) -> bytes:
        """The image with the heat map of the answer laid over it, as a PNG file.

        Raises:
            ServerError: there is no answer to explain; its body says why.
        """
        path = f"/explanations/{MODEL}" + (f"/{version}" if version else "")
        content = _content(body)
        content["headers"] = {**content.get("headers", {}), "Accept": "image/png"}
        picture: bytes = self._call("inference", "POST", path, **content)
        return picture

    # Management

    def versions(self) -> list[Version]:
        """Every registered version; there may be none."""
        try:
            default = self.describe()["modelVersion"]
        except ServerError as error:
            if error.status == 404:
                return []
            raise
        return [
            Version(
                version=row["modelVersion"],
                default=row["modelVersion"] == default,
                workers=tuple(worker["status"] for worker in row["workers"]),
                wanted=row["minWorkers"],
                queued=row["jobQueueStatus"]["pendingRequests"],
                archive=row["modelUrl"],
            )
            for row in self._call("management", "GET", f"/models/{MODEL}/all")
        ]

    def describe(self, version: str | None = None) -> dict[str, Any]:
        """TorchServe's own description of one version, by default the default one."""
        path = f"/models/{MODEL}" + (f"/{version}" if version else "")
        description: dict[str, Any] = self._call("management", "GET", path)[0]
        return description

    def ask_a_worker(self, version: str, timeout_s: float) -> None:
        """Have the worker whose turn it is describe the model; it does nothing else meanwhile.

        Raises:
            ServerUnreachable: it did not answer in time.
        """
        self._call(
            "management",
            "GET",
            f"/models/{MODEL}/{version}",
            params={"customized": "true"},
            # TorchServe may answer twice for a worker that is removed.
            headers={"Connection": "close"},
            timeout=timeout_s,
        )

    def register(self, url: str, workers: int) -> None:
        """Start loading an archive of the model store; returns before its workers are READY."""
        parameters = {"url": url, "initial_workers": workers, "synchronous": "false"}
        if self.unbatched:
            parameters["batch_size"] = 1
        self._call("management", "POST", "/models", params=parameters)

    def set_default(self, version: str) -> None:
        """Make a version the one that answers requests that name none."""
        self._call("management", "PUT", f"/models/{MODEL}/{version}/set-default")

    def scale(self, workers: int, version: str | None = None) -> None:
        """Ask for a number of workers; returns before they are READY."""
        path = f"/models/{MODEL}" + (f"/{version}" if version else "")
        parameters = {"min_worker": workers, "max_worker": workers, "synchronous": "false"}
        self._call("management", "PUT", path, params=parameters)

    def unregister(self, version: str) -> None:
        """Remove a version and stop its workers."""
        self._call("management", "DELETE", f"/models/{MODEL}/{version}")

    def wait_ready(
        self,
        workers: int,
        version: str | None = None,
        timeout_s: float = 120,
    ) -> None:
        """Return once the version has exactly this many workers and all are READY.

        This polls, because a synchronous call would hold one of the threads that serve predictions.

        Raises:
            TimeoutError: they were not READY in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            statuses = [worker["status"] for worker in self.describe(version)["workers"]]
            if statuses == ["READY"] * workers:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"workers are {statuses or 'none'} after {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def _call(self, api: str, method: str, path: str, **content: Any) -> Any:
        headers = content.pop("headers", {})
        content.setdefault("timeout", self._timeout_s)
        if key := self._keys[api]:
            headers["Authorization"] = f"Bearer {key}"
        try:
            response = self._session.request(
                method, self._urls[api] + path, headers=headers, **content
            )
        except requests.Timeout as error:
            limit_s = content["timeout"]
            raise ServerUnreachable(
                f"no answer from {self._urls[api]} in {limit_s:.0f} s"
            ) from error
        except requests.RequestException as error:
            raise ServerUnreachable(
                f"no server at {self._urls[api]}: {type(error).__name__}"
            ) from error
        if response.headers.get("Content-Type", "").startswith("image/"):
            return response.content
        try:
            body = response.json()
        except ValueError:
            body = response.text
        if not response.ok:
            raise ServerError(response.status_code, body)
        return body


def rotate_management_key(instance: Instance) -> None:
    """Renew the key of the management API. The inference key stays: TorchServe would void the old
    one at once, while callers use it."""
    client = TorchServeClient(
        instance.inference_url, instance.management_url, management_key=instance.key("API")
    )
    client._call("management", "GET", "/token", params={"type": "management"})


def _as_object(body: bytes | dict[str, Any]) -> dict[str, Any]:
    return {"data": base64.b64encode(body).decode()} if isinstance(body, bytes) else body


def _content(body: bytes | dict[str, Any]) -> dict[str, Any]:
    if isinstance(body, bytes):
        # Without a type of its own it would pass for a form.
        return {"data": body, "headers": {"Content-Type": "application/octet-stream"}}
    return {"json": body}
