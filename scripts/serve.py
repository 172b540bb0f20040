"""Run the service in the foreground until Ctrl-C, say when its workers are READY, and see to it
that it goes on answering.

examples:
  python scripts/serve.py
  TS_INFERENCE_ADDRESS=http://127.0.0.1:9080 TS_MANAGEMENT_ADDRESS=http://127.0.0.1:9081 \\
  TS_METRICS_ADDRESS=http://127.0.0.1:9082 TS_GRPC_INFERENCE_PORT=9070 \\
  TS_GRPC_MANAGEMENT_PORT=9071 CHEST_XRAY_METRICS_ADDRESS=127.0.0.1:9083 python scripts/serve.py
  TS_DISABLE_TOKEN_AUTHORIZATION=true python scripts/serve.py

Serves what it served last, as manage.py left it; --version starts afresh with that one.
exit status: 0 stopped by a signal, 1 the start failed or the server cannot be kept up.
"""

import signal
import sys
from collections.abc import Callable
from typing import Any

from chest_xray_ops.archive import VERSION, archive_path, verify
from chest_xray_ops.cli import parser
from chest_xray_ops.torchserve.instance import MODEL, Instance
from chest_xray_ops.torchserve.server import STOPPING, Server, StartFailed, default_workers
from chest_xray_ops.torchserve.state import Entry, State
from chest_xray_ops.torchserve.supervisor import Supervisor

EXAMPLE_URL = (
    "https://raw.githubusercontent.com/ieee8023/covid-chestxray-dataset/"
    "master/images/01E392EE-69F9-4E33-BFCE-E5C968654078.jpeg"
)
"""A public film, for the printed example."""


def _plan(instance: Instance, version: str | None) -> State:
    """What to serve; raises StartFailed if the default version has no whole archive."""
    if version:
        State.forget(instance)
    state = State.load(instance)
    if state is None:
        version = version or VERSION
        name = archive_path(version).name
        state = State(version, (Entry(version, name, default_workers()),))
    entry = state.entry(state.default)
    try:
        if not entry:
            raise ValueError(f"version {state.default} is not among those it served")
        verify(instance.model_store / entry.archive)
    except (OSError, ValueError) as error:
        raise StartFailed(f"{error}: run `make archive`, or name another --version") from None
    return state


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


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--version", help=f"default: what it served last, at first {VERSION}")
    args = arguments.parse_args()

    _on_stopping(_interrupt)
    server = None
    try:
        instance = Instance.from_environment()
        server = Server(instance)
        plan = _plan(instance, args.version)
        with Supervisor(server, plan) as supervisor:
            print(_banner(instance, supervisor.start()), flush=True)
            supervisor.keep_up()
        return 0
    except KeyboardInterrupt:
        return 0
    except (StartFailed, ValueError, OSError) as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    finally:
        _on_stopping(signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        if server:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
