"""The handler that ``torchserve_app.py`` archives for ``CODE=ours``.

TorchServe wants this file to define one class.
"""

from typing import Any

from ts.torch_handler.base_handler import BaseHandler


class FilmHandler(BaseHandler):  # type: ignore[misc]
    """Our decoding and network, and nothing else of our handler's."""

    def initialize(self, context: Any) -> None:
        """Called once in each worker; the base's would look for weights in the archive."""
        from benchmark_peers import work

        self.code = work.from_environment()
        self.initialized = True

    def handle(self, data: list[dict[str, bytes]], context: Any) -> list[dict[str, Any]]:
        """One forward pass for all requests of the batch."""
        return self.code.infer([self.code.decode(bytes(row["body"])) for row in data])
