"""What the same picture gives without a server."""

from functools import cache

import torch
from torch import nn

from chest_xray.batch import Batch, ImageLoader
from chest_xray.errors import InputError
from chest_xray.image import decode_grayscale
from chest_xray.network.compiled import serving_form
from chest_xray.prediction import Prediction, predict
from chest_xray.request import Request
from chest_xray.transform import to_tensor
from chest_xray_versions import load_network, weights_path


@cache
def plain(version: str) -> nn.Module:
    """The network as it was trained."""
    return load_network(version, weights_path(version))


@cache
def served(version: str) -> nn.Module:
    """The same in the form that answers requests."""
    return serving_form(plain(version), torch.device("cpu"))


@torch.inference_mode()
def offline(data: bytes, network: nn.Module) -> Prediction:
    """What a network says of an encoded picture."""
    [prediction] = predict(network(to_tensor(decode_grayscale(data, 10**9))[None]))
    return prediction


def loaded(loader: ImageLoader, requests: list[Request | InputError]) -> Batch:
    """The images of all rows, as the handler gets them."""
    images = loader.fetch(requests)
    return loader.decode(images).of_rows(requests, images)
