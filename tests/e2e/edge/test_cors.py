"""Requests of pages in a browser."""

from support.edge import ORIGIN


def test_cors(edge, authorized, film):
    path = "/predictions/chest-xray"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    allowed = edge.ask("OPTIONS", path, headers={"Origin": ORIGIN, **asks})
    assert allowed.status_code == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    answer = edge.ask("POST", path, headers={**authorized, "Origin": ORIGIN}, data=film)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = edge.ask("POST", path, headers={"Origin": ORIGIN})  # a page may read this too
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)

    for origin in ("https://other.example.org", f"{ORIGIN}.evil.example", "null", f"x{ORIGIN}"):
        refused = edge.ask("OPTIONS", path, headers={"Origin": origin, **asks})
        assert refused.status_code == 405
        answer = edge.ask("POST", path, headers={**authorized, "Origin": origin}, data=film)
        for one in (refused, answer):
            assert not [name for name in one.headers if name.startswith("Access-Control")]
