"""What ``litserve_app.py`` serves; its worker processes import it."""

import base64
from typing import Any

import litserve

from benchmark_peers import work


class Film(litserve.LitAPI):  # type: ignore[misc]
    """Decodes each request and infers batches."""

    def setup(self, device: str) -> None:
        self.code = work.from_environment()

    def decode_request(self, request: dict[str, str]) -> Any:
        return self.code.decode(base64.b64decode(request["image"]))

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, images: Any) -> list[dict[str, Any]]:
        return self.code.infer(images)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output
