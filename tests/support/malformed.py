"""Malformed requests: each way to get one wrong makes bytes that go over the wire, at random."""

import base64
import json
from collections.abc import Callable
from random import Random
from typing import Any

BOUNDARY = "\r\n"


def http(method: str, path: str, body: bytes = b"", **headers: object) -> bytes:
    """A request that ends its connection; `headers` with underscores for dashes."""
    fields = {"Host": "localhost", "Content-Length": len(body), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in fields.items()),
        "",
        "",
    ]
    return BOUNDARY.join(lines).encode("latin-1") + body


def malformed(path: str, files: list[bytes]) -> dict[str, Callable[[Random], bytes]]:
    """The generators by name, for the predict path of an image model and files that it takes."""

    def post(value: Any) -> bytes:
        return http("POST", path, value if isinstance(value, bytes) else json.dumps(value).encode())

    def bytes_of(instance: Any) -> bytes:
        return post({"signature_name": "serving_bytes", "instances": [instance]})

    def coded(content: bytes) -> dict[str, str]:
        return {"b64": base64.b64encode(content).decode()}

    def picture(random: Random) -> bytes:
        return random.choice(files)

    def flipped(random: Random) -> bytes:
        content = bytearray(picture(random))
        content[random.randrange(8)] ^= 1 << random.randrange(8)
        return bytes(content)

    infer = path.replace("/v1/", "/v2/").replace(":predict", "/infer")
    whole = json.dumps({"instances": [[[[1]]]]}).encode()
    return {
        "noise": lambda random: post(random.randbytes(random.randrange(1, 2000))),
        "no body": lambda random: post(b""),
        "cut JSON": lambda random: post(whole[: random.randrange(1, len(whole) - 2)]),
        "deep": lambda random: post(b'{"instances": ' + b"[" * random.randrange(100, 50_000)),
        "deep and closed": lambda random: post(nested(random.randrange(65, 2000))),
        "half a character": lambda random: post(
            b'{"signature_name": "\\ud8%02x", "instances": [1]}' % random.randrange(256)
        ),
        "a long number": lambda random: post(
            b'{"instances": [[[[1%s]]]]}' % (b"0" * random.randrange(20, 5000))
        ),
        "infer": lambda random: http("POST", infer, json.dumps(random.choice(INFERS)).encode()),
        "no object": lambda random: post([random.random()]),
        "no key": lambda random: post({"x": random.random()}),
        "both keys": lambda random: post({"instances": [1], "inputs": [1]}),
        "empty": lambda random: post({"instances": []}),
        "scalar": lambda random: post({"instances": random.random()}),
        "flat": lambda random: post({"instances": [[random.randrange(255)] * random.randrange(9)]}),
        "ragged": lambda random: post({"instances": [[[[1], [2]], [[1]]]]}),
        "colours": lambda random: post({"instances": [[[[1, 2, 3]] * 4] * 4]}),
        "range": lambda random: post({"instances": [[[[random.choice([-1, 256, 10**30])]]]]}),
        "types": lambda random: post(
            {"instances": [[[[random.choice(["a", None, True, 1.5, {}])]]]]}
        ),
        "no rows": lambda random: post({"instances": [[]]}),
        "no pixels": lambda random: post({"instances": [[[]]]}),
        "signature": lambda random: post(
            {"signature_name": random.choice(["x", 5, None, "", []]), "instances": [1]}
        ),
        "b64": lambda random: bytes_of({"b64": random.choice(["?", "a", 5, None, "a" * 7])}),
        "b64 of noise": lambda random: bytes_of(coded(random.randbytes(random.randrange(100)))),
        "cut picture": lambda random: bytes_of(coded(picture(random)[: random.randrange(60)])),
        "broken picture": lambda random: bytes_of(coded(flipped(random))),
        "bomb": lambda random: bytes_of(coded(bomb(random.choice([20_000, 2**31 - 1])))),
        "mixed": lambda random: post(
            {"instances": [coded(picture(random)), 1], "signature_name": "serving_bytes"}
        ),
        "method": lambda random: http(
            random.choice(["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "GET"]), path
        ),
        "path": lambda random: http(
            "POST", f"/v1/models/{random.randbytes(6).hex()}:predict", whole
        ),
        "odd path": lambda random: http(
            "POST", random.choice(["/v1", "/v1/", "/v2/models", "/v1/models/%ff:predict"]), whole
        ),
        "version": lambda random: http(
            "POST", path.replace(":", f"/versions/{random.randrange(2, 10**30)}:"), whole
        ),
        "headers": lambda random: http(
            "POST", path, whole, X="x" * random.randrange(33_000, 70_000)
        ),
        "length": lambda random: http(
            "POST", path, whole, Content_Length=random.choice(["-1", "x", "10" * 9])
        ),
        "gzip": lambda random: http("POST", path, random.randbytes(50), Content_Encoding="gzip"),
    }


_X = {"name": "image", "shape": [1, 1, 1, 1], "datatype": "UINT8", "data": [1]}
INFERS: list[Any] = [
    *(
        {},
        {"inputs": 5},
        {"inputs": [5]},
        {"inputs": [{"name": []}]},
        {"inputs": [{**_X, "name": "z"}]},
    ),
    *(
        {"inputs": [{**_X, "data": [256]}]},
        {"inputs": [{**_X, "data": [True]}]},
        {"inputs": [{**_X, "shape": [2**40]}]},
    ),
    *({"inputs": [_X], "outputs": 5}, {"inputs": [_X], "outputs": [{"name": "z"}]}),
    *({"inputs": [_X], "parameters": {"signature_name": name}} for name in ([], {}, 5, "z")),
]


def nested(levels: int) -> bytes:
    """Lists in lists, all of them closed."""
    return b'{"instances": ' + b"[" * levels + b"1" + b"]" * levels + b"}"


def bomb(side: int) -> bytes:
    """The beginning of a PNG file that says it is so large."""
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + side.to_bytes(4, "big") * 2 + b"\x08\0\0\0\0" + bytes(30)
    )
