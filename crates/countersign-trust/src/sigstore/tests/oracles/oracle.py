"""Verdicts of sigstore-python on the bundles of a list: [{name, bundle, root, digest}], as {name: null or why not}."""

import base64
import json
import logging
import sys
from pathlib import Path

from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.common.v1 import HashAlgorithm

logging.disable(logging.CRITICAL)
verifiers = {}


def verifier(root):
    if root not in verifiers:
        verifiers[root] = Verifier(trusted_root=TrustedRoot.from_file(root))
    return verifiers[root]


def judge(case):
    algorithm, digest = case["digest"].split(":")
    text = Path(case["bundle"]).read_text()
    bundle = Bundle.from_json(text)
    if "dsseEnvelope" not in json.loads(text):
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(digest))
        verifier(case["root"]).verify_artifact(hashed, bundle, policy.UnsafeNoOp())
        return
    _, payload = verifier(case["root"]).verify_dsse(bundle, policy.UnsafeNoOp())
    subjects = json.loads(payload)["subject"]
    if all(one["digest"].get(algorithm) != digest for one in subjects):
        raise ValueError("the statement is about other bytes")


verdicts = {}
for case in json.loads(Path(sys.argv[1]).read_text()):
    try:
        judge(case)
        verdicts[case["name"]] = None
    except Exception as error:
        verdicts[case["name"]] = f"{type(error).__name__}: {error}"[:300]
print(json.dumps(verdicts))
