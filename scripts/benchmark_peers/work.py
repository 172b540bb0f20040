"""What every server of the benchmark does with an image, in one of two codes.

``documented``: what TorchServe's ImageClassifier recipe and the original project do: decode in
colour, torchvision's transform, the original network as it is. ``ours``: this project's decoding,
transform and network. Threads are tamed in both: one per process.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image as PillowImage
from torch import Tensor

from chest_xray.batch import Image
from chest_xray.classifier import Classifier
from chest_xray.request import InlineImage
from chest_xray.settings import Settings
from chest_xray_versions import load_network, weights_path

CODE_VARIABLE = "CODE"


@dataclass(frozen=True)
class Work:
    """One code."""

    decode: Callable[[bytes], Tensor]
    """An encoded image -> what the network takes of it, float32 (C, 224, 224)."""

    infer: Callable[[list[Tensor]], list[dict[str, Any]]]
    """A batch of those -> ``{"label", "probability"}`` of each."""


def from_environment() -> Work:
    """The code that ``CODE`` names."""
    torch.set_num_threads(1)
    return {"documented": _documented, "ours": _ours}[os.environ.get(CODE_VARIABLE, "ours")]()


def classifier(device: torch.device | None = None) -> Classifier:
    """This project's classifier, warm."""
    return Classifier(load_network("4.0", weights_path("4.0")), "4.0", Settings(), device)


def _documented() -> Work:
    from torchvision import transforms

    transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    served = load_network("1.0", weights_path("1.0"))
    network, labels = served.network, served.labels

    def decode(data: bytes) -> Tensor:
        image: Tensor = transform(PillowImage.open(io.BytesIO(data)).convert("RGB"))
        return image[:1]  # the network takes grey and repeats it

    @torch.inference_mode()
    def infer(images: list[Tensor]) -> list[dict[str, Any]]:
        probabilities, indices = torch.softmax(network(torch.stack(images)), 1).max(1)
        return [
            {"label": labels[index], "probability": probability}
            for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True)
        ]

    return Work(decode, infer)


def _ours() -> Work:
    ours = classifier()

    def decode(data: bytes) -> Tensor:
        image = Image(InlineImage(data), data=data)
        ours.decode([image])
        if image.pixels is None:
            raise image.error or ValueError("not decoded")
        return image.pixels

    def infer(pixels: list[Tensor]) -> list[dict[str, Any]]:
        images = [Image(InlineImage(b""), pixels=each) for each in pixels]
        ours.infer(images)
        found = [image.prediction for image in images if image.prediction]
        return [{"label": each.label, "probability": each.probability} for each in found]

    return Work(decode, infer)
