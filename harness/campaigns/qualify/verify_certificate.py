"""Whether a certificate still says what was recorded. Every finding is one sentence; none means that it holds."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from harness.campaigns.qualify.certificate import FORMAT_1, Sealed, digest, signature_holds
from harness.campaigns.qualify.certificate_judge import judge
from harness.inventory.model import Board
from harness.judging.limits import Bounds
from harness.kinds import number

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)


def verify(
    sealed: Sealed, page: str = "", *, signer: Ed25519PublicKey | None = None, board: Board | None = None
) -> list[str]:
    """``page`` is the HTML around the certificate, ``signer`` the key that must have signed it; ``board`` is the
    board's entry today, whose limits must still be the declared ones."""
    try:
        return list(_findings(sealed, page, signer, board))
    except _MALFORMED as problem:
        return [f"the certificate lacks what every certificate has ({type(problem).__name__}: {problem})"[:200]]


def _findings(sealed: Sealed, page: str, signer: Ed25519PublicKey | None, board: Board | None) -> Iterator[str]:
    content = sealed.content
    yield from sealed.beside
    declared, rounds = content["declared"], content["rounds"]
    if digest(content) != sealed.sha256:
        yield f"its data were changed: SHA-256 is {digest(content)[:16]}…, sealed was {sealed.sha256[:16]}…"
    if page and hashlib.sha256(page.encode()).hexdigest() != sealed.page:
        yield "the page's text was changed: what it shows need not be what its data say"
    if sealed.signature is not None and not signature_holds(sealed):
        yield "its signature does not fit its data"
    named, signs = content.get("signed_by"), (sealed.signature or {}).get("public_key")
    if named != signs and content["format"] != FORMAT_1:
        yield (
            "it was sealed without a signature"
            if named is None
            else "the signature that it was sealed with is not there"
        )
    if signer is not None:
        if sealed.signature is None:
            yield "it is not signed, and a signer was asked for"
        elif not signature_holds(sealed, signer):
            yield "it was not signed by that signer"
    yield from _declaration(content, declared, rounds, board)
    for position, made in enumerate(rounds, 1):
        yield from _round(f"{made['kind']} {position}", made, declared)
    verdict = judge(declared, rounds)
    if verdict.outcome != content["outcome"]:
        yield f"it says {content['outcome']!r}; by its own plan and rounds it is {verdict.outcome!r}"


def _declaration(
    content: dict[str, Any], declared: dict[str, Any], rounds: list[dict[str, Any]], board: Board | None
) -> Iterator[str]:
    if digest(declared) != content["declared_sha256"]:
        yield "what was declared before the run (plan, limits or scenarios) was changed afterwards"
    if rounds and declared["at"] > rounds[0]["started"]:
        yield "it was declared after the first round had begun"
    if board is not None:
        now = {name: limit.model_dump(mode="json", exclude_none=True) for name, limit in board.limits.items()}
        for name in sorted(now.keys() | declared["limits"].keys()):
            if now.get(name) != declared["limits"].get(name):
                yield (
                    f"the limit {name!r} of boards.yaml is {_limit(now.get(name))} today, "
                    f"declared was {_limit(declared['limits'].get(name))}"
                )


def _limit(limit: dict[str, Any] | None) -> str:
    return "none" if limit is None else ", ".join(f"{key} {value}" for key, value in limit.items() if key != "why")


def _round(title: str, made: dict[str, Any], declared: dict[str, Any]) -> Iterator[str]:
    expected = set(declared["scenarios"] if made["kind"] == "round" else declared["soak"])
    missing = expected - {f"{s['suite']}: {s['name']}" for s in made["scenarios"]}
    if missing and not made["problem"]:
        yield f"{title} lacks {', '.join(sorted(missing)[:5])}"
    for scenario in made["scenarios"]:
        name = f"{title}, {scenario['suite']}: {scenario['name']}"
        if digest({key: value for key, value in scenario.items() if key != "sha256"}) != scenario["sha256"]:
            yield f"{name} was changed after it was recorded"
        verdicts = {m["verdict"] for m in scenario["measurements"]}
        if scenario["outcome"] == "pass" and verdicts & {"fail", "marginal"}:
            yield f"{name} is called a pass, but one of its figures is not"
        for m in scenario["measurements"]:
            if (wrong := _skipped(m) or _against_limits(m, _in_order(declared)) or _against_bounds(m)) is not None:
                yield f"{name}: {wrong}"


def _skipped(m: dict[str, Any]) -> str | None:
    """A figure without a value that is called anything else than skipped, or the other way round."""
    if (m["measured"] is None) == (m["verdict"] == "skipped"):
        return None
    return f"{m['name']} is called {m['verdict']} and has {'no' if m['measured'] is None else 'a'} value"


def _in_order(declared: dict[str, Any]) -> dict[str, Any]:
    """The declared limits; the first whose pattern fits a figure applies, and a mapping's order is not sealed."""
    limits: dict[str, Any] = declared["limits"]
    order = declared.get("limit_order", list(limits))
    if sorted(order) != sorted(limits):
        raise ValueError("limit_order")
    return {pattern: limits[pattern] for pattern in order}


def _against_limits(m: dict[str, Any], limits: dict[str, Any]) -> str | None:
    """A figure whose verdict does not follow from the declared limit that applies to it."""
    applies = next((limit for pattern, limit in limits.items() if fnmatch.fnmatchcase(m["name"], pattern)), None)
    value = m["measured"]
    if applies is None or value is None or isinstance(value, str):
        return None
    beyond = (
        ("min" in applies and value < applies["min"])
        or ("max" in applies and value > applies["max"])
        or ("equal" in applies and value != applies["equal"])
    )
    if beyond and m["verdict"] != "fail":
        return f"{m['name']} is {value}, beyond its declared limit ({_limit(applies)}), and not called a failure"
    return None


def _against_bounds(m: dict[str, Any]) -> str | None:
    """A figure whose verdict does not follow from the limit that stands with it."""
    bounds = Bounds.from_json(m.get("bounds"))
    if bounds is None or m["measured"] is None:  # a certificate of a version that kept limits in words alone
        return None
    verdict = bounds.judge(m["measured"]).value
    if verdict == m["verdict"]:
        return None
    return (
        f"{m['name']} is {number(m['measured'])} and called {m['verdict']}; by its limit ({m['limit']}) it is {verdict}"
    )
