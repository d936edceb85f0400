"""A certificate: what was declared, with what it was done, what came out, and the hashes that hold it together.

Hashes tell a change by accident or by hand. Whoever recomputes them all makes a new certificate; against that helps
a signature (Ed25519, RFC 8032), which the holder of the key alone can give.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.errors import UsageError
from harness.results.report.json_report import run_to_json
from harness.results.run_record import RunRecord

FORMAT = "harness-certificate-1"
LARGEST = 256 * 1024 * 1024
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
    """A certificate with its hash. ``page`` is the hash of the HTML page around it, empty for a bare one."""

    content: dict[str, Any]
    sha256: str
    page: str = ""
    signature: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"certificate": self.content, "sha256": self.sha256}
        if self.page:
            document["page_sha256"] = self.page
        if self.signature:
            document["signature"] = self.signature
        return document

    @property
    def signed_words(self) -> bytes:
        return f"{FORMAT} {self.sha256} {self.page}".encode()


def seal(content: dict[str, Any], key: Ed25519PrivateKey | None = None, page: str = "") -> Sealed:
    """``page`` is the text of the HTML page without its data block."""
    page_hash = hashlib.sha256(page.encode()).hexdigest() if page else ""
    sealed = Sealed(content, digest(content), page_hash)
    if key is None:
        return sealed
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    signature = {"ed25519": key.sign(sealed.signed_words).hex(), "public_key": public.hex()}
    return Sealed(content, sealed.sha256, page_hash, signature)


def signature_holds(sealed: Sealed, signer: Ed25519PublicKey | None = None) -> bool:
    """Whether the signature is that of ``signer`` (None: of the key that the certificate names itself)."""
    try:
        assert sealed.signature is not None
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
        document = json.loads(text)
        content, sha256 = document["certificate"], str(document["sha256"])
        if not isinstance(content, dict):
            raise TypeError
        signature = document.get("signature")
        sealed = Sealed(content, sha256, str(document.get("page_sha256", "")), signature)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise UsageError(
            f"{file} is not a certificate of the harness", hint="expected the .json or .html of 'harness qualify'"
        ) from None
    if content.get("format") != FORMAT:
        raise UsageError(f"{file}: expected format {FORMAT}; came {content.get('format')!r:.60}")
    return sealed, page


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
