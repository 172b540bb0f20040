"""Ask a running server to classify images: one JSON line per input, in the order given.

examples:
  python scripts/predict.py film.png
  python scripts/predict.py films/*.jpg https://example.org/film.jpg --concurrency 16
  find films -name '*.png' | python scripts/predict.py --from -
  python scripts/predict.py film.png --heatmaps pictures

The server is found by the same TS_… variables that started it, its key by itself.
exit status: 0 all were classified, 1 some were not, 2 wrong usage, 3 no server.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chest_xray_ops.cli import console, parser, progress_bar
from chest_xray_ops.torchserve.client import ServerError, ServerUnreachable, TorchServeClient
from chest_xray_ops.torchserve.instance import Instance


def ask(
    client: TorchServeClient,
    source: str,
    version: str | None,
    any_image: bool = False,
    heatmap: Path | None = None,
) -> dict[str, Any]:
    """The server's answer with the input's name; an error's body likewise.

    Args:
        any_image: ask for a label even if the image is no frontal chest film.
        heatmap: where to write the image with its heat map.
    """
    try:
        body = _body(source, any_image)
        answer = client.predict(body, version)
        if heatmap:
            heatmap.write_bytes(client.explain(body, version))
            answer["heatmap"] = str(heatmap)
    except ServerError as error:
        found = error.body if isinstance(error.body, dict) else {"message": str(error)}
        return {"input": source, "status": error.status, **found}
    except OSError as error:
        return {"input": source, "code": "unreadable_file", "message": error.strerror or str(error)}
    return {"input": source, **answer}


def _body(source: str, any_image: bool) -> bytes | dict[str, Any]:
    if source.startswith(("http://", "https://")):
        body: dict[str, Any] = {"imageUrl": source}
    else:
        data = Path(source).read_bytes()
        if not any_image:
            return data
        body = {"data": base64.b64encode(data).decode()}
    return {**body, "allowOutOfDistribution": True} if any_image else body


def _sources(args: argparse.Namespace) -> Iterator[str]:
    yield from args.inputs
    if args.list:
        with sys.stdin if args.list == "-" else open(args.list, encoding="utf-8") as file:
            yield from (line.strip() for line in file if line.strip())


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("inputs", nargs="*", metavar="IMAGE_OR_URL")
    arguments.add_argument("--from", dest="list", metavar="FILE", help="a line each; - is stdin")
    arguments.add_argument("--version", help="model version (default: the default one)")
    arguments.add_argument("--concurrency", type=int, default=8, help="requests at a time")
    arguments.add_argument("--any-image", action="store_true", help="label what is no chest film")
    arguments.add_argument("--heatmaps", type=Path, metavar="FOLDER", help="write pictures there")
    args = arguments.parse_args()
    sources = list(_sources(args))
    if not sources:
        arguments.error("give at least one image or URL")
    if args.concurrency < 1:
        arguments.error("--concurrency must be at least 1")

    client = TorchServeClient.of(Instance.find())
    if args.heatmaps:
        args.heatmaps.mkdir(parents=True, exist_ok=True)

    def answer_to(numbered: tuple[int, str]) -> dict[str, Any]:
        number, source = numbered
        name = f"{number:04}-{Path(source.partition('?')[0]).stem}.png"
        heatmap = args.heatmaps / name if args.heatmaps else None
        return ask(client, source, args.version, args.any_image, heatmap)

    failed = 0
    executor = ThreadPoolExecutor(args.concurrency)
    try:
        with progress_bar() as bar:
            task = bar.add_task("classifying", total=len(sources))
            for answer in executor.map(answer_to, enumerate(sources, start=1)):
                print(json.dumps(answer), flush=True)
                failed += "label" not in answer
                bar.advance(task)
    except ServerUnreachable as error:
        console.print(f"predict.py: no server at {error}", soft_wrap=True, markup=False)
        return 3
    finally:
        executor.shutdown(cancel_futures=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
