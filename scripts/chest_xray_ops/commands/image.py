"""Build the container image, run it as its own user and ask it for one prediction.

examples:
  python3 scripts/prove_image.py
  python3 scripts/prove_image.py --base localhost/debian-python --pip-cert /etc/ssl/certs/ca.crt

scripts/prove_image.py is `chest-xray image`. Uses docker, or buildah where there is no Docker
daemon. Needs a clone of the project and nothing but Python.
exit status: 0 it answered, 1 it did not, 2 wrong usage.
"""

import argparse
import json

from chest_xray_ops.deployment.image import prove


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=("docker", "buildah"))
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--base", help="base image with Python 3.10+ (default: python slim)")
    parser.add_argument("--pip-cert", help="certificate that pip must trust while building")


def run(args: argparse.Namespace) -> int:
    result = prove(args)
    print(json.dumps(result, indent=2))
    return 0 if result["uid"] != "0" and "label" in result["prediction"] else 1
