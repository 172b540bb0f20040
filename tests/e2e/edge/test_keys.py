"""Keys at the edge: wrong, revoked, expired, damaged and rotated ones."""

import base64
from datetime import timedelta

from support.edge import HOUR, load, predict, secret_of


def test_keys(upstream, before):
    edge = before()
    id, token = edge.create()
    secret = secret_of(token)

    def made_of(id, secret):
        return "Bearer cxr_" + base64.b64encode(f"{id}:{secret}".encode()).decode()

    assert made_of(id, secret) == f"Bearer {token}"
    wrong = ["", f"Bearer {token}x", f"Bearer {token[:-1]}", f"Basic {token}", token, "Bearer",
             "Basic " + token.removeprefix("cxr_"), made_of(id, "A" * 43), made_of(id, ""),
             made_of("0" * 10, secret), made_of("", secret), made_of(id, secret[:-1] + "\0"),
             "Bearer first", f"Bearer {token.upper()}", f"Bearer {token} x",
             made_of(id, edge.keys.read()[0].hash)]  # fmt: skip
    for authorization in wrong:
        headers = {"Authorization": authorization} if authorization else {}
        answer = edge.ask("POST", "/predictions/chest-xray", headers=headers, data=b"x")
        assert (authorization, answer.status_code) == (authorization, 401)
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    headers = {"Authorization": made_of(id, "A" * 43)}
    large = edge.ask("POST", "/predictions/chest-xray", headers=headers, data=bytes(30_000_000))
    assert large.status_code == 401
    assert upstream.requests == []

    edge.keys.revoke(id)
    edge.wait_for(lambda: predict(edge, token).status_code == 401)
    _, short = edge.create(timedelta(seconds=3))
    assert predict(edge, short).status_code == 200
    edge.wait_for(lambda: predict(edge, short).status_code == 401)


def test_a_damaged_key_file_changes_nothing(before):
    edge = before()
    _, token = edge.create()
    good = edge.keys.path.read_text()
    edge.keys.path.write_text(good[:-20])
    edge.wait_for(lambda: "still uses the previous" in edge.errors)
    assert predict(edge, token).status_code == 200
    edge.keys.path.write_text(good)
    assert edge.create()


def test_a_key_is_rotated_under_load(edge, film):
    """Callers change over when they like; nobody is refused, and nobody is cut off."""
    id, token = edge.create()
    with load(edge, lambda: token, film) as statuses:
        for _ in range(3):
            new, new_token = edge.keys.rotate(id, HOUR)
            edge.wait_for(lambda new=new: new.id in edge.callers.read_text())
            id, token = new.id, new_token
            until = len(statuses) + 20
            edge.wait_for(lambda until=until: len(statuses) > until, 30)
    assert set(statuses) == {200}
