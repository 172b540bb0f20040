"""The one error that a row can have, and the closed list of its codes."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

STATUS = {
    # The request does not say what to classify.
    "empty_request": HTTPStatus.BAD_REQUEST,
    "invalid_json": HTTPStatus.BAD_REQUEST,
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "unknown_key": HTTPStatus.BAD_REQUEST,
    "invalid_base64": HTTPStatus.BAD_REQUEST,
    "invalid_url": HTTPStatus.BAD_REQUEST,
    # The image cannot be had.
    "url_not_allowed": HTTPStatus.FORBIDDEN,
    "image_not_found": HTTPStatus.NOT_FOUND,
    "upstream_failed": HTTPStatus.BAD_GATEWAY,
    "upstream_timeout": HTTPStatus.GATEWAY_TIMEOUT,
    # The image cannot be read.
    "unsupported_image": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "wrong_modality": HTTPStatus.UNPROCESSABLE_ENTITY,
    "corrupt_image": HTTPStatus.UNPROCESSABLE_ENTITY,
    # Not 413: TorchServe's error path turns that status into 507.
    "image_too_large": HTTPStatus.UNPROCESSABLE_ENTITY,
    # The image is none that this service is for.
    "not_a_chest_xray": HTTPStatus.UNPROCESSABLE_ENTITY,
    # Nobody's fault but ours: no memory, no process, an error of the GPU.
    "decoding_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "inference_failed": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every code a caller can meet, and its HTTP status. Codes are stable; messages may be reworded."""

TYPE = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UnsupportedMediaType",
    HTTPStatus.UNPROCESSABLE_ENTITY: "UnprocessableContent",
    HTTPStatus.BAD_GATEWAY: "BadGateway",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "GatewayTimeout",
}
"""One type name per status, so that a gRPC caller, who sees no HTTP status, can tell them apart."""


class InputError(Exception):
    """One row cannot be answered with a prediction, for a reason its caller should know.

    ``message`` and ``details`` (further fields of the body) are sent to the caller: they hold no
    URL, address or image content.
    """

    def __init__(
        self, code: str, message: str, details: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.status = STATUS[code]
        self.type = TYPE[self.status]
