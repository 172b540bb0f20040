"""The services that ``bentoml_app.py`` serves: one takes requests, the other batches them."""

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmark_peers import work

_QUIET = {"access": {"enabled": False}}


@bentoml.service(workers=int(os.environ["WORKERS"]), traffic={"timeout": 60}, logging=_QUIET)
class Network:
    """Decodes and infers batches."""

    def __init__(self) -> None:
        self.code = work.from_environment()

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=2000)  # type: ignore[untyped-decorator]
    def batch(self, images: list[bytes]) -> list[dict[str, Any]]:
        """Encoded films -> an answer each."""
        return self.code.infer([self.code.decode(image) for image in images])


@bentoml.service(workers=1, traffic={"timeout": 60}, logging=_QUIET)
class Films:
    """Takes one film per request."""

    network = bentoml.depends(Network)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(self, image: Path) -> dict[str, Any]:
        """An encoded film -> its answer."""
        [answer] = await self.network.to_async.batch([image.read_bytes()])
        return dict(answer)
