"""Run nginx in front of a server until Ctrl-C: TLS, keys, limits and retries.

examples:
  chest-xray edge --self-signed
  CHEST_XRAY_EDGE_LISTEN=0.0.0.0:443 CHEST_XRAY_EDGE_CERTIFICATE=/etc/ssl/film.pem \\
  CHEST_XRAY_EDGE_CERTIFICATE_KEY=/etc/ssl/private/film.key chest-xray edge
  chest-xray edge --check
  chest-xray edge --render /run/chest-xray/nginx.conf

The server is found by the same TS_… variables that started it; settings are in config/edge.yaml.
Callers' keys (chest-xray keys), TorchServe's own key and the certificate are taken over when they
change, while requests go on. SIGUSR1 reopens the access log. --render writes the configuration and
what keys are checked against, mode 0600, for an nginx that something else runs; write them again
when any of those has changed.
exit status: 0 stopped by a signal or done, 1 the start failed or nginx ended by itself.
"""

import argparse
import json
import signal
import tempfile
from pathlib import Path

from chest_xray_ops.edge.certificate import self_signed
from chest_xray_ops.edge.keys import Keys
from chest_xray_ops.edge.nginx import SETTINGS, SIGNALS, Edge, EdgeFailed, Nginx, serve
from chest_xray_ops.edge.settings import EdgeSettings
from chest_xray_ops.torchserve.instance import Instance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="another YAML file")
    parser.add_argument(
        "--self-signed", action="store_true", help="make a certificate for trying things out"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--render", type=Path, metavar="FILE", help="only write the configuration")
    what.add_argument("--check", action="store_true", help="only have nginx check it")


def run(args: argparse.Namespace) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    instance = Instance.find()
    chosen = self_signed(instance.directory / "edge") if args.self_signed else {}
    settings = EdgeSettings.read(args.settings, **chosen)
    edge = Edge(settings, instance, Keys.of_this_place(), instance.directory / "edge")
    if args.render:
        edge.write(args.render)
        return 0
    # A socket's path has 108 bytes: too few for one below the instance's folder.
    with tempfile.TemporaryDirectory(prefix="chest-xray-edge-") as sockets:
        edge.sockets = Path(sockets)
        if not args.check:
            serve(edge, lambda: print(json.dumps(_about(edge)), flush=True))
        elif reason := Nginx(edge).check():
            raise EdgeFailed(reason)
    return 0


def _about(edge: Edge) -> dict[str, object]:
    return {"edge": edge.urls, "server": edge.instance.inference_url}
