"""The handler with thousands of damaged images and any bodies: every row gets an answer."""

import json
from collections import Counter
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chest_xray.errors import STATUS
from support.mutants import mutants
from support.torchserve_context import ask

DISTRIBUTION = {"in_distribution", "in_distribution_score"}

BODIES = {"label", "probability", "probabilities", "low_confidence", *DISTRIBUTION}
BODIES |= {"model_version", "warnings"}


def check(bodies, statuses):
    """Every row is answered, as JSON, with a prediction or an error of its caller's."""
    for body, status in zip(json.loads(json.dumps(bodies)), statuses, strict=True):
        if status == 200:
            assert set(body) <= BODIES
            assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        else:
            assert set(body) - DISTRIBUTION == {"code", "type", "message"}
            assert STATUS[body["code"]] == status


def test_thousands_of_damaged_images(handler, unpacked):
    stream = mutants(seed=1)
    seen = Counter()
    for _ in range(100):
        rows = [{"body": bytearray(data)} for data in islice(stream, 20)]
        bodies, statuses, _ = ask(handler, unpacked, rows)
        check(bodies, statuses)
        seen.update(statuses)
    assert set(seen) == {200, 415, 422}
    assert min(seen.values()) > 50


KEYS = st.text(max_size=8) | st.sampled_from(["body", "data", "imageUrl", "file", "image", "url"])

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)

ROWS = st.lists(
    st.fixed_dictionaries({"body": JSON | st.binary().map(bytearray)})
    | st.dictionaries(KEYS, st.binary().map(bytearray) | JSON, max_size=3),
    min_size=1,
    max_size=16,
)


@given(rows=ROWS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bodies(handler, unpacked, rows):
    bodies, statuses, _ = ask(handler, unpacked, rows)
    check(bodies, statuses)
