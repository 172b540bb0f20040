"""Ask a server about many images at a time."""

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chest_xray_ops.terminal import progress_bar
from chest_xray_ops.torchserve.client import ServerError, TorchServeClient


@dataclass(frozen=True)
class Asking:
    """How a server is asked."""

    client: TorchServeClient
    version: str | None = None
    """By default the default version."""
    any_image: bool = False
    """Ask for a label even if the image is no frontal chest film."""
    heatmaps: Path | None = None
    """Folder to write every image to with its heat map, numbered as the inputs are."""

    def ask(self, source: str, number: int = 1) -> dict[str, Any]:
        """The server's answer, or the body of its error, with the input's name."""
        try:
            body = self._body(source)
            answer = self.client.predict(body, self.version)
            if self.heatmaps:
                picture = self.heatmaps / f"{number:04}-{Path(source.partition('?')[0]).stem}.png"
                picture.write_bytes(self.client.explain(body, self.version))
                answer["heatmap"] = str(picture)
        except ServerError as error:
            found = error.body if isinstance(error.body, dict) else {"message": str(error)}
            return {"input": source, "status": error.status, **found}
        except OSError as error:
            reason = error.strerror or str(error)
            return {"input": source, "code": "unreadable_file", "message": reason}
        return {"input": source, **answer}

    def _body(self, source: str) -> bytes | dict[str, Any]:
        if source.startswith(("http://", "https://")):
            body: dict[str, Any] = {"imageUrl": source}
        else:
            data = Path(source).read_bytes()
            if not self.any_image:
                return data
            body = {"data": base64.b64encode(data).decode()}
        return {**body, "allowOutOfDistribution": True} if self.any_image else body


def ask_all(asking: Asking, sources: Sequence[str], concurrency: int) -> bool:
    """Print one line of JSON per source, in order; whether all were classified.

    Raises:
        ServerUnreachable: the server does not answer.
    """
    if asking.heatmaps:
        asking.heatmaps.mkdir(parents=True, exist_ok=True)
    classified = 0
    executor = ThreadPoolExecutor(concurrency)
    try:
        with progress_bar() as bar:
            task = bar.add_task("classifying", total=len(sources))
            for answer in executor.map(asking.ask, sources, range(1, len(sources) + 1)):
                print(json.dumps(answer), flush=True)
                classified += "label" in answer
                bar.advance(task)
    finally:
        executor.shutdown(cancel_futures=True)
    return classified == len(sources)
