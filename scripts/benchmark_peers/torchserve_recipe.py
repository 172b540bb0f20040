"""The handler that ``torchserve_app.py`` archives for ``CODE=documented``: the stock recipe.

TorchServe wants this file to define one class.
"""

from PIL.Image import Image
from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


def in_colour(image: Image) -> Image:
    """The stock handler leaves a grey film grey, and the network's recipe is in RGB."""
    return image.convert("RGB")


class FilmClassifier(ImageClassifier):  # type: ignore[misc]
    """The stock handler with the original transform; its own five labels would be too many."""

    image_processing = transforms.Compose(
        [transforms.Lambda(in_colour), transforms.Resize((224, 224)), transforms.ToTensor()]
    )
    topk = 3
