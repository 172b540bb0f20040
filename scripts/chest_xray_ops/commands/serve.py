"""Run the server in the foreground until Ctrl-C.

examples:
  chest-xray serve
  TS_INFERENCE_ADDRESS=http://127.0.0.1:9080 TS_MANAGEMENT_ADDRESS=http://127.0.0.1:9081 \\
  TS_METRICS_ADDRESS=http://127.0.0.1:9082 TS_GRPC_INFERENCE_PORT=9070 \\
  TS_GRPC_MANAGEMENT_PORT=9071 CHEST_XRAY_METRICS_ADDRESS=127.0.0.1:9083 chest-xray serve
  TS_DISABLE_TOKEN_AUTHORIZATION=true chest-xray serve

It says when its workers are READY, and restarts the server when that stops answering. It serves
what it served last, as the verbs for versions left it; --version starts afresh with that one.
Without an archive of the version, it builds one from the committed weights.
exit status: 0 stopped by a signal, 1 the start failed or the server cannot be kept up.
"""

import argparse

from chest_xray_ops.torchserve.foreground import serve
from chest_xray_versions import DEFAULT_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--version", help=f"default: what it served last, at first {DEFAULT_VERSION}"
    )


def run(args: argparse.Namespace) -> int:
    serve(args.version)
    return 0
