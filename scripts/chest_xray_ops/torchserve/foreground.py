"""A server in the foreground: what it serves, what it prints once it is READY, and how it ends."""

import signal
from collections.abc import Callable
from typing import Any

from chest_xray.archive import Archive
from chest_xray_ops.archive import archive_path, build
from chest_xray_ops.terminal import say
from chest_xray_ops.torchserve.instance import MODEL, Instance
from chest_xray_ops.torchserve.server import STOPPING, Server, StartFailed, default_workers
from chest_xray_ops.torchserve.state import Entry, State
from chest_xray_ops.torchserve.supervisor import Supervisor
from chest_xray_versions import DEFAULT_VERSION, weights_path

EXAMPLE_URL = (
    "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset/"
    "master/images/01E392EE-69F9-4E33-BFCE-E5C968654078.jpeg"
)
"""A public film, for the printed example."""


def serve(version: str | None) -> None:
    """Serve until a signal, and print a banner when the workers are READY.

    Args:
        version: forget what was served last and serve this version alone.

    Raises:
        StartFailed: the server did not start or could not be kept up.
    """
    _on_stopping(_interrupt)
    server = None
    try:
        instance = Instance.from_environment()
        server = Server(instance)
        with Supervisor(server, *plan(instance, version)) as supervisor:
            print(_banner(instance, supervisor.start()), flush=True)
            supervisor.keep_up()
    except KeyboardInterrupt:
        pass  # this is how it is stopped
    finally:
        _on_stopping(signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        if server:
            server.stop()


def plan(instance: Instance, version: str | None) -> tuple[State, Archive]:
    """What to serve, and the archive of the version that is to answer.

    Raises:
        StartFailed: that version has no whole archive.
    """
    if version:
        State.forget(instance)
    state = State.load(instance)
    if state is None:
        version = version or DEFAULT_VERSION
        name = archive_path(version).name
        state = State(version, (Entry(version, name, default_workers()),))
    entry = state.entry(state.default)
    try:
        if not entry:
            raise ValueError(f"version {state.default} is not among those it served")
        _build_if_missing(instance, entry)
        return state, Archive.open(instance.model_store / entry.archive)
    except (OSError, ValueError) as error:
        raise StartFailed(f"{error}: build one with the verb archive, or name --version") from None


def _build_if_missing(instance: Instance, entry: Entry) -> None:
    """Build the archive of a version whose weights are here."""
    archive = archive_path(entry.version, instance.model_store)
    weights = weights_path(entry.version)
    if archive.name == entry.archive and not archive.exists() and weights.exists():
        say(f"building {archive}")
        build(entry.version, weights, instance.model_store)


def _banner(instance: Instance, description: dict[str, Any]) -> str:
    count = len(description["workers"])
    url = f"{instance.inference_url}/predictions/{MODEL}"
    key = instance.key("inference")
    token = f"-H 'Authorization: Bearer {key}' " if key else ""
    return f"""
{MODEL} {description["modelVersion"]} is READY with {count} worker{"s" if count != 1 else ""}.

  predictions  {url}
  gRPC         {instance.grpc_inference}
  management   {instance.management_url}
  metrics      {instance.monitor_url}/metrics
  keys         {instance.key_file if key else "none, tokens are off"}
  logs         {instance.logs}

Ask it (-T film.png in place of the last two options sends a file):

curl {token}{url} -H 'Content-Type: application/json' -d '{{"imageUrl": "{EXAMPLE_URL}"}}'

Research and triage support only, not a diagnosis. Ctrl-C stops everything.
"""


def _on_stopping(action: Callable[[int, Any], None] | signal.Handlers) -> None:
    for number in STOPPING:
        signal.signal(number, action)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
