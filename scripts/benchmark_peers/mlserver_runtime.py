"""The inference runtime that ``mlserver_app.py`` names: MLServer imports it in each worker."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):  # type: ignore[misc]
    """A worker's model. Requests arrive already merged into one batch."""

    async def load(self) -> bool:
        """Called in the workers alone: only they need torch."""
        from benchmark_peers import work

        self.code = work.from_environment()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One forward pass for all images of the batch."""
        images = self.decode(payload.inputs[0], default_codec=Base64Codec)
        found = self.code.infer([self.code.decode(image) for image in images])
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", [each["label"] for each in found]),
                NumpyCodec.encode_output(
                    "probability", np.array([[each["probability"]] for each in found])
                ),
            ],
        )
