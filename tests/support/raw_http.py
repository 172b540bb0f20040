"""HTTP as bytes, for requests that no client would send."""


def request_of(target, token, method="POST", body=b"x"):
    return (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def parsed(answer):
    """Status, headers and body of one answer as it came."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def raw(token, *lines, body=b""):
    first = [b"POST /predictions/chest-xray HTTP/1.1", b"Host: localhost",
             b"Authorization: Bearer " + token.encode()]  # fmt: skip
    return b"\r\n".join([*first, *lines, b"", b""]) + body
