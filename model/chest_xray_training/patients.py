"""Features of films -> what reads children's films in their own way.

Everywhere ``features`` is float (N, width), and ``children`` is bool (N,): films of children.
"""

import torch
from torch import Tensor, nn

from chest_xray_patients import Children
from chest_xray_training.calibration import fit_calibration

_RECOGNITION_DECAY = 1e-3
_HEAD_DECAY = 0.03


def fit_recognition(part: Children, features: Tensor, children: Tensor) -> None:
    """Fit what tells films of children; the sigmoid of its output is the probability."""
    weight, bias = _logistic_regression(features, children, _RECOGNITION_DECAY)
    with torch.no_grad():
        part.recognition.weight.copy_(weight[None])
        part.recognition.bias.fill_(bias)


def fit_head(
    part: Children, features: Tensor, targets: Tensor, children: Tensor, adults: nn.Linear
) -> None:
    """Fit the classifier of children's films, if they have two labels.

    It tells those two apart by a regression of its own. Their mean, and the logits of labels that
    no child has, are those that the network gives adults.

    Args:
        targets: int64 (N,), the indices of the labels.
        adults: the network's own classifier of the features.
    """
    part.head.load_state_dict(adults.state_dict())
    occurring = torch.unique(targets[children])
    if len(occurring) != 2:
        return
    first, second = occurring.tolist()
    weight, bias = _logistic_regression(
        features[children], targets[children] == second, _HEAD_DECAY
    )
    with torch.no_grad():
        for parameter, difference in ((part.head.weight, weight), (part.head.bias, bias)):
            mean = (parameter[first] + parameter[second]) / 2
            parameter[first], parameter[second] = mean - difference / 2, mean + difference / 2


def fit_child_calibration(
    part: Children, features: Tensor, targets: Tensor, children: Tensor
) -> None:
    """Fit the calibration of children's films, on the validation split; labels that no child has
    keep the bias that is there.

    Args:
        targets: int64 (N,), the indices of the labels.
    """
    occurring = torch.unique(targets[children])
    with torch.no_grad():
        logits = part.head(features[children])[:, occurring]
    places = torch.searchsorted(occurring, targets[children])
    temperature, bias = fit_calibration(logits, places)
    part.temperature.fill_(temperature)
    part.bias[occurring] = torch.tensor(bias).to(part.bias)


def _logistic_regression(features: Tensor, positive: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Weights (width,) and bias () of the logit of being positive, both kinds counting the same;
    ``decay`` is of the weights of standardised features."""
    mean, deviation = features.double().mean(0), features.double().std(0) + 1e-6
    points, truths = (features.double() - mean) / deviation, positive.double()
    shares = torch.where(positive, 0.5 / truths.mean(), 0.5 / (1 - truths).mean())
    slope = torch.zeros(points.shape[1], dtype=torch.float64, requires_grad=True)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([slope, offset], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = points @ slope + offset
        value = nn.functional.binary_cross_entropy_with_logits(logits, truths, shares)
        value = value + decay * slope.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight = slope.detach() / deviation
    return weight, offset.detach() - mean @ weight
