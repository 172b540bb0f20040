"""A version with a fourth label next to the default version, on the real server."""

import pytest

from support import fourth_label
from support.films import LABELS


@pytest.fixture
def both(managed, tmp_path):
    """The server with the default version and one of four labels."""
    run = managed.script("manage.py", "register", str(fourth_label.build(tmp_path)))
    assert run.returncode == 0, run.stderr
    return managed


def test_each_version_answers_with_its_own_labels(both, film):
    four = both.client.predict(film, fourth_label.VERSION)
    assert tuple(four["probabilities"]) == fourth_label.FOUR_LABELS
    assert four["model_version"] == fourth_label.VERSION
    three = both.client.predict(film)
    assert tuple(three["probabilities"]) == LABELS
    assert three["model_version"] == "4.0"
