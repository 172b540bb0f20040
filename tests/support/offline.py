"""What the same picture gives without a server."""

from functools import cache

from chest_xray.classifier import Classifier
from chest_xray.prediction import Prediction
from chest_xray.request import InlineImage, Request
from chest_xray.settings import Settings
from chest_xray_versions import load_network, weights_path

SETTINGS = Settings(answer_out_of_distribution=True)


@cache
def served(version: str) -> Classifier:
    """A version in the form that answers requests."""
    return Classifier(load_network(version, weights_path(version)), version, SETTINGS)


@cache
def plain(version: str) -> Classifier:
    """A version as it was trained, in double precision."""
    network = load_network(version, weights_path(version))
    return Classifier(network, version, SETTINGS, reference=True)


def offline(data: bytes, classifier: Classifier) -> Prediction:
    """What a classifier says of an encoded picture."""
    [outcome] = classifier.classify([Request(InlineImage(data))])
    assert isinstance(outcome.answer, Prediction)
    return outcome.answer
