"""A certificate: what was declared, with what it was done, what came out, and the hashes that hold it together.

Hashes tell a change by accident or by hand. Whoever recomputes them all makes a new certificate; against that helps
a signature (Ed25519, RFC 8032), which the holder of the key alone can give.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.errors import UsageError
from harness.results.report.json_report import run_to_json
from harness.results.run_record import RunRecord

FORMAT = "harness-certificate-2"
#: The format before: the page's hash stood beside what is sealed, and the order of limits was not sealed.
FORMAT_1 = "harness-certificate-1"
LARGEST = 256 * 1024 * 1024
_HEX = re.compile(r"[0-9a-f]+")
_BLOCK = re.compile(r'<script type="application/json" id="certificate">\n(.*?)\n</script>', re.DOTALL)


def canonical(content: object) -> bytes:
    """The one way in which ``content`` is hashed: JSON with sorted keys, no blanks, ASCII."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(content: object) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def round_of(run: RunRecord, kind: str) -> dict[str, Any]:
    """One run as it stands in a certificate: each scenario with a hash of its own, so that a change is found."""
    content = run_to_json(run)
    (board,) = content["boards"]
    scenarios = [{**scenario, "sha256": digest(scenario)} for scenario in board["scenarios"]]
    return {
        "kind": kind,
        "run": run.id,
        "started": run.started,
        "finished": run.finished or None,
        "outcome": board["outcome"],
        "problem": board["problem"],
        "firmware": board["firmware"],
        "facts": board["facts"],
        "scenarios": scenarios,
    }


@dataclass(frozen=True)
class Sealed:
    """A certificate with its hash. ``page`` is the hash of the HTML page around it, empty for a bare one. ``beside``
    are sentences about what its file holds and no certificate does."""

    content: dict[str, Any]
    sha256: str
    page: str = ""
    signature: dict[str, str] | None = None
    beside: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"certificate": self.content, "sha256": self.sha256}
        if self.page and self.content.get("format") == FORMAT_1:
            document["page_sha256"] = self.page
        if self.signature:
            document["signature"] = self.signature
        return document

    @property
    def signed_words(self) -> bytes:
        return f"{self.content.get('format')} {self.sha256} {self.page}".encode("utf-8", "replace")


def seal(content: dict[str, Any], key: Ed25519PrivateKey | None = None, page: str = "") -> Sealed:
    """``page`` is the text of the HTML page without its data block. Its hash and the key are sealed with the rest: a
    page or a signature that was taken away is missed."""
    page_hash = hashlib.sha256(page.encode()).hexdigest() if page else ""
    public = "" if key is None else key.public_key().public_bytes_raw().hex()
    content = content | ({"page_sha256": page_hash} if page else {}) | ({"signed_by": public} if public else {})
    sealed = Sealed(content, digest(content), page_hash)
    if key is None:
        return sealed
    signature = {"ed25519": key.sign(sealed.signed_words).hex(), "public_key": public}
    return Sealed(content, sealed.sha256, page_hash, signature)


def signature_holds(sealed: Sealed, signer: Ed25519PublicKey | None = None) -> bool:
    """Whether the signature is that of ``signer`` (None: of the key that the certificate names itself)."""
    try:
        assert sealed.signature is not None
        if not all(_HEX.fullmatch(part) for part in sealed.signature.values()):
            return False  # in another spelling it would be the same bytes
        key = signer or Ed25519PublicKey.from_public_bytes(bytes.fromhex(sealed.signature["public_key"]))
        key.verify(bytes.fromhex(sealed.signature["ed25519"]), sealed.signed_words)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return True


def data_block(sealed: Sealed) -> str:
    """The certificate as it stands inside its page: data, which no browser executes."""
    text = json.dumps(sealed.to_json(), ensure_ascii=True).replace("<", "\\u003c").replace("&", "\\u0026")
    return f'<script type="application/json" id="certificate">\n{text}\n</script>'


def read_certificate(file: Path) -> tuple[Sealed, str]:
    """The certificate in a JSON or HTML file, and the page around it (empty for JSON).

    Raises UsageError for a file that holds none.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise UsageError(f"{file} is larger than any certificate")
        text = file.read_bytes().decode("utf-8", "replace")
    except OSError as problem:
        raise UsageError(f"{file} cannot be read: {problem.strerror}") from None
    page = ""
    if block := _BLOCK.search(text):
        page = text[: block.start()] + text[block.end() :]
        text = block.group(1)
    try:
        doubled: list[str] = []
        document = json.loads(text, object_pairs_hook=lambda pairs: _mapping(pairs, doubled))
        content, sha256 = document["certificate"], str(document["sha256"])
        if not isinstance(content, dict):
            raise TypeError
        before = content.get("format") == FORMAT_1
        hashed = str((document if before else content).get("page_sha256", ""))
        beside = (*_doubled(doubled), *_beside(document, before))
        sealed = Sealed(content, sha256, hashed, document.get("signature"), beside)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise UsageError(
            f"{file} is not a certificate of the harness", hint="expected the .json or .html of 'harness qualify'"
        ) from None
    if content.get("format") not in (FORMAT, FORMAT_1):
        raise UsageError(f"{file}: expected format {FORMAT}; came {content.get('format')!r:.60}")
    return sealed, page


def _mapping(pairs: list[tuple[str, Any]], doubled: list[str]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        doubled += sorted({name for name in names if names.count(name) > 1})
    return mapping


def _doubled(names: list[str]) -> list[str]:
    return [f"the key {name!r:.60} stands twice in one place, and only one of the two is sealed" for name in names]


def _beside(document: dict[str, Any], before: bool) -> Iterator[str]:
    """What stands in the file beside the sealed certificate, and is not its hash or its signature."""
    signature = document.get("signature")
    known = {"certificate", "sha256", "signature"} | ({"page_sha256"} if before else set())
    inner = signature.keys() - {"ed25519", "public_key"} if isinstance(signature, dict) else set()
    for where, names in (("", document.keys() - known), ("the signature's ", inner)):
        for name in sorted(names):
            yield f"{where}{name!r:.60} stands outside of what is sealed: no certificate has that there"
    if "signature" in document and not isinstance(signature, dict):
        yield "its signature is none"


def private_key(file: Path) -> Ed25519PrivateKey:
    """Raises UsageError for a file that holds no such key."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as problem:
        raise UsageError(f"{file} is not a private key: {problem}", hint=_HOW) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{file}: expected an Ed25519 key", hint=_HOW)
    return key


def public_key(file: Path) -> Ed25519PublicKey:
    """Raises UsageError for a file that holds no such key."""
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, TypeError) as problem:
        raise UsageError(f"{file} is not a public key: {problem}", hint=_HOW) from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{file}: expected an Ed25519 key", hint=_HOW)
    return key


_HOW = "made by 'openssl genpkey -algorithm ed25519 -out key.pem' and 'openssl pkey -in key.pem -pubout'"
