"""Reads what zerostate signed with other people's tools, and nothing of zerostate's.

usage: verify.py ENVELOPE PREDICATE_TYPE SUBJECT SHA256

The key comes out of the envelope's keyid, a did:key, decoded here by hand; the envelope is checked by securesystemslib,
the statement by in-toto's own package. Prints one JSON object; exits 1 with one line on stderr when something is wrong.
"""

import json
import sys

from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import STATEMENT_TYPE_URI, Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

BASE58BTC = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ED25519_PUB = b"\xed\x01"  # the varint of multicodec 0xed
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def base58btc(text):
    number = 0
    for digit in text:
        number = number * 58 + BASE58BTC.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def key_of(did):
    """The 32 bytes of the Ed25519 key that a did:key names (did:key method, multibase 'z' is base58btc)."""
    if not did.startswith("did:key:z"):
        raise ValueError(f"not a base58btc did:key: {did}")
    raw = base58btc(did.removeprefix("did:key:z"))
    if raw[:2] != ED25519_PUB or len(raw) != 34:
        raise ValueError(f"not an Ed25519 key: {did}")
    return raw[2:]


def only(items, what):
    if len(items) != 1:
        raise ValueError(f"{len(items)} {what}, not one")
    return items[0]


def check(path, predicate_type, subject_name, sha256):
    with open(path, "rb") as file:
        wire = json.load(file)
    keyid = only(wire["signatures"], "signatures")["keyid"]
    public = key_of(keyid)
    key = SSlibKey(keyid, "ed25519", "ed25519", {"public": public.hex()})
    envelope = Envelope.from_dict(wire)
    accepted = envelope.verify([key], 1)

    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"payload type {envelope.payload_type}")
    message = json_format.Parse(envelope.payload, statement_pb2.Statement())
    statement = Statement.copy_from_pb(message)
    statement.validate()
    if statement.pb.type != STATEMENT_TYPE_URI:
        raise ValueError(f"_type {statement.pb.type}")
    if statement.pb.predicate_type != predicate_type:
        raise ValueError(f"predicateType {statement.pb.predicate_type}")
    subject = only(statement.pb.subject, "subjects")
    if subject.name != subject_name or dict(subject.digest) != {"sha256": sha256}:
        raise ValueError(f"subject {subject}")
    return {
        "signer": only(list(accepted), "accepted keys"),
        "public_key": public.hex(),
        "predicate": json.loads(envelope.payload)["predicate"],
    }


try:
    print(json.dumps(check(*sys.argv[1:])))
except (VerificationError, ValueError, KeyError, json_format.ParseError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
