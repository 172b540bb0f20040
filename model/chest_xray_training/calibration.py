"""Logits of the validation split -> what makes their softmax honest."""

import torch
from torch import Tensor, nn


def fit_calibration(logits: Tensor, targets: Tensor) -> tuple[float, list[float]]:
    """Fit a bias-corrected temperature (Guo et al. 2017, Alexandari et al. 2020): the divisor of
    the logits, and what to add to the quotient, that have the lowest cross entropy.

    The biases matter because training draws films of every label equally often.

    Args:
        logits: float32 (N, labels), not calibrated.
        targets: int64 (N,), the indices of the labels.
    """
    exponent = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([exponent, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(logits.double() / exponent.exp() + bias, targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    centred = bias.detach() - bias.detach().mean()  # the softmax does not see their sum
    return float(exponent.detach().exp()), [float(value) for value in centred]
