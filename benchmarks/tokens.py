"""A token, and the file with the keys of its issuer, for as long as this process lives."""

import json
from atexit import register
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

DAY = 86_400


class Issued(NamedTuple):
    token: str
    keys: str
    """The path of the file."""


def issued(name: str = "bench") -> Issued:
    """A token of an issuer of this name, for an audience of this name."""
    directory = TemporaryDirectory(prefix="coregateway-keys-")
    register(directory.cleanup)
    signer = Ed25519PrivateKey.generate()
    row = {**json.loads(OKPAlgorithm.to_jwk(signer.public_key())), "kid": name, "alg": "EdDSA"}
    file = Path(directory.name) / "keys.json"
    file.write_text(json.dumps({"keys": [row]}))
    claims = {"iss": name, "aud": name, "sub": name, "exp": int(time()) + DAY}
    return Issued(jwt.encode(claims, signer, "EdDSA", headers={"kid": name}), str(file))
