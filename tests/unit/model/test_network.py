"""Networks of every version, with the weights that are committed."""

import copy
import hashlib

import pytest
import torch

from chest_xray.network.compiled import serving_form
from chest_xray.network.convolution import folded
from chest_xray.prediction import Outputs
from chest_xray_original import OriginalNet
from chest_xray_residual import MEMBERS, ResidualNet, side_by_side
from chest_xray_versions import CHECKSUMS, WEIGHTS, build_network, load_network, weights_path
from support.films import LABELS

VERSIONS = ("1.0", "2.0", "3.0", "4.0")


def films(count):
    torch.manual_seed(3)
    return torch.rand(count, 1, 224, 224)


def test_version_1_is_the_original_network():
    model = OriginalNet(len(LABELS))
    assert sum(each.numel() for each in model.parameters()) == 3_231_251
    assert model(films(2)).shape == (2, len(LABELS))
    assert isinstance(build_network("1.0").network, OriginalNet)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_every_version_reads(version):
    network = load_network(version, weights_path(version))
    images = films(5)
    with torch.inference_mode():
        readings = network(images)
        assert readings.shape == (5, len(LABELS) + 1 + len(network.orientations))
        assert torch.isfinite(readings).all()
        # Rows do not touch each other.
        assert torch.allclose(network(images[2:3])[0], readings[2], atol=1e-4)
        # The calibration is all that stands between the scores and the calibrated logits.
        upright = network.upright(images)
        maps = network.network.stages(upright)
        calibrated = network.calibrated(network.network(upright), maps)
        assert torch.allclose(readings[:, : len(LABELS)], calibrated, atol=1e-4)
    members = {"1.0": 1, "2.0": 3, "3.0": 3, "4.0": 3}[version]
    assert [each.shape[1] for each in maps] == [members * each for each in network.network.widths]
    assert network.temperature != 1
    assert (network.operating_points.diff(dim=1) != 0).any()
    assert ((network.operating_points > 0) & (network.operating_points < 1)).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_committed_weights_are_a_plain_state_dict(version):
    weights = torch.load(weights_path(version), weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    build_network(version).load_state_dict(weights)


def test_all_committed_weights_have_a_checksum_and_are_small():
    files = sorted(WEIGHTS.rglob("*.pt"))
    listed = [line.split("  ") for line in CHECKSUMS.read_text().splitlines()]
    assert sorted(WEIGHTS / name for _, name in listed) == files
    for digest, name in listed:
        assert hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() == digest
    assert sum(file.stat().st_size for file in files) < 60e6


def ensemble_of(probabilities):
    """The prediction of three members that say these probabilities of their own label."""

    class Fixed(OriginalNet):
        def __init__(self, probability):
            super().__init__(outputs=1)
            self.logit = torch.logit(torch.tensor(probability, dtype=torch.float64))

        def scores(self, maps):
            return self.logit.expand(len(maps), 1)

    network = build_network("2.0")
    network.network.members = torch.nn.ModuleList(map(Fixed, probabilities))
    [prediction] = Outputs(network).predictions(network.double().eval()(films(1).double()))
    return prediction


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ((0.9, 0.2, 0.1), "normal"),  # one vote
        ((0.1, 0.2, 0.6), "covid-19"),
        ((0.6, 0.8, 0.1), "pneumonia"),  # two votes: the surer one
        ((0.9, 0.8, 0.95), "covid-19"),  # three
        ((0.1, 0.4, 0.3), "pneumonia"),  # none: the least unsure one
    ],
)
def test_the_vote(probabilities, label):
    prediction = ensemble_of(probabilities)
    votes = [name for name, each in zip(LABELS, probabilities, strict=True) if each > 0.5]
    assert prediction.label == label
    assert len(votes) != 1 or votes == [label]
    shares = [each / sum(probabilities) for each in probabilities]
    assert list(prediction.probabilities.values()) == pytest.approx(shares, abs=1e-6)


def test_members_of_the_ensemble_see_the_same_image():
    network = load_network("2.0", weights_path("2.0")).network
    images = films(2)
    with torch.inference_mode():
        members = torch.stack([member(images)[:, 0] for member in network.members], dim=1)
        assert torch.allclose(network(images), torch.nn.functional.logsigmoid(members), atol=1e-5)


def test_unknown_versions():
    with pytest.raises(ValueError, match=r"9\.9"):
        build_network("9.9")


def test_networks_side_by_side_give_the_mean_of_their_logits():
    torch.manual_seed(0)
    members = [ResidualNet(3).eval() for _ in range(MEMBERS)]
    for each in members:  # normalisation that does something
        for module in each.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    images = films(4)
    with torch.inference_mode():
        expected = torch.stack([each(images) for each in members]).mean(0)
        assert torch.allclose(side_by_side(members).eval()(images), expected, atol=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_serving_form_reads_the_same(version):
    network = load_network(version, weights_path(version))
    images = films(9)
    with torch.inference_mode():
        plain = network(images)
        for bfloat16, tolerance in ((False, 1e-4), (True, 0.02)):
            quick = serving_form(network, torch.device("cpu"), bfloat16)
            for count in (1, 2, 3, 9):
                found = quick(images[:count])
                assert found.dtype == torch.float32
                shares = torch.softmax(found[:, : len(LABELS)], 1)
                expected = torch.softmax(plain[:count, : len(LABELS)], 1)
                assert (shares - expected).abs().max() < tolerance
        assert torch.equal(network(images), plain)  # the plain one is as it was


@pytest.mark.parametrize("version", VERSIONS)
def test_the_folded_form_reads_the_same(version):
    """What a GPU computes, here on a CPU."""
    network = load_network(version, weights_path(version))
    images = films(3)
    with torch.inference_mode():
        found = folded(copy.deepcopy(network), torch.float32)(images)
        assert torch.allclose(found, network(images), atol=1e-3)
