"""No single change of a certificate's JSON is accepted, wherever it is; those of earlier versions still hold."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.campaigns.qualify.certificate import FORMAT_1, Sealed, data_block, digest, read_certificate, seal
from harness.campaigns.qualify.certificate_page import page_and_seal
from harness.campaigns.qualify.verify_certificate import verify
from harness.errors import UsageError
from tests.campaigns.test_certificate import KEY, content, declaration

#: Everything in it that is not a mapping or a list of several: what a change of order would not tell.
Path_ = tuple[str | int, ...]


def documents() -> list[dict[str, Any]]:
    """As they stand in the .json of an unsigned and a signed certificate, each with a page."""
    return [page_and_seal(content(), key)[1].to_json() for key in (None, KEY)]


DOCUMENTS = documents()


def places(value: object, at: Path_ = ()) -> Iterator[Path_]:
    yield at
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def at(document: Any, place: Path_) -> Any:
    for key in place:
        document = document[key]
    return document


def written(value: Any, doubled: Path_ | None, here: Path_ = ()) -> str:
    """JSON, in which the mapping at ``doubled[:-1]`` has the key ``doubled[-1]`` once more with the same value."""
    if isinstance(value, dict):
        pairs = [(key, written(inner, doubled, (*here, key))) for key, inner in value.items()]
        pairs += [(key, text) for key, text in pairs if (*here, key) == doubled]
        return "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(inner, doubled, (*here, n)) for n, inner in enumerate(value)) + "]"
    return json.dumps(value)


def refused(text: str, folder: Path) -> bool:
    (folder / "c.json").write_text(text)
    try:
        sealed, page = read_certificate(folder / "c.json")
    except UsageError:
        return True
    return verify(sealed, page) != []


ANYTHING: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just([]) | st.just({})
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_change_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    document = json.loads(json.dumps(data.draw(st.sampled_from(DOCUMENTS))))
    every = list(places(document))
    kind = data.draw(st.sampled_from(["value", "added", "doubled", "taken", "order"]))
    doubled: Path_ | None = None
    if kind == "value":
        place = data.draw(st.sampled_from(every[1:]))
        value = data.draw(ANYTHING.filter(lambda new: json.dumps(new) != json.dumps(at(document, place))))
        at(document, place[:-1])[place[-1]] = value
    elif kind == "order":
        lists = [p for p in every if isinstance(at(document, p), list) and len(at(document, p)) > 1]
        chosen = at(document, data.draw(st.sampled_from(lists)))
        if chosen == chosen[::-1]:
            return
        chosen.reverse()
    else:
        mappings = [p for p in every if isinstance(at(document, p), dict) and (at(document, p) or kind == "added")]
        place = data.draw(st.sampled_from(mappings))
        chosen = at(document, place)
        if kind == "added":
            chosen[data.draw(st.text().filter(lambda name: name not in chosen))] = data.draw(ANYTHING)
        elif kind == "doubled":
            doubled = (*place, data.draw(st.sampled_from(sorted(chosen))))
        else:
            del chosen[data.draw(st.sampled_from(sorted(chosen)))]
    assert refused(written(document, doubled), tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_nobody_touched_holds(document: dict[str, Any], tmp_path: Path) -> None:
    assert not refused(written(document, None), tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(comment="well done"), "'comment' stands outside of what is sealed"),
        (lambda d: d["signature"].update(by="me"), "the signature's 'by' stands outside of what is sealed"),
        (lambda d: d.update(page_sha256="ab" * 32), "'page_sha256' stands outside of what is sealed"),
        (lambda d: d.pop("signature"), "the signature that it was sealed with is not there"),
        (lambda d: d["signature"].update(ed25519=d["signature"]["ed25519"].upper()), "does not fit its data"),
    ],
)
def test_what_stands_beside_the_seal_is_told(change: Any, told: str, tmp_path: Path) -> None:
    document = json.loads(json.dumps(DOCUMENTS[1]))
    change(document)
    (tmp_path / "c.json").write_text(json.dumps(document))
    assert any(told in finding for finding in verify(*read_certificate(tmp_path / "c.json")))


def test_a_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(written(DOCUMENTS[0], ("certificate", "outcome")))
    findings = verify(*read_certificate(tmp_path / "c.json"))
    assert findings == ["the key 'outcome' stands twice in one place, and only one of the two is sealed"]


def test_which_of_two_limits_applies_does_not_follow_from_the_order_of_a_mapping() -> None:
    limits = {"sleep.*": {"max": 2.0}, "*": {"max": 1.0}}
    for given_as in (limits, dict(reversed(limits.items()))):
        declared = declaration() | {"limits": given_as, "limit_order": ["sleep.*", "*"]}
        assert verify(seal(content(declared=declared, declared_sha256=digest(declared)))) == []


@pytest.mark.parametrize("signed", [False, True])
def test_a_certificate_of_the_format_before_still_holds(signed: bool, tmp_path: Path) -> None:
    """Its page's hash stood beside what was sealed, and it did not say that it was signed."""
    old = content(format=FORMAT_1)
    around = "<html>before</html>"
    sha256, page = digest(old), hashlib.sha256(around.encode()).hexdigest()
    document: dict[str, Any] = {"certificate": old, "sha256": sha256, "page_sha256": page}
    if signed:
        document["signature"] = {
            "ed25519": KEY.sign(f"harness-certificate-1 {sha256} {page}".encode()).hex(),
            "public_key": KEY.public_key().public_bytes_raw().hex(),
        }
    (tmp_path / "c.json").write_text(json.dumps(document))
    (tmp_path / "c.html").write_text(around + data_block(Sealed(old, sha256, page, document.get("signature"))))
    for name in ("c.json", "c.html"):
        found, text = read_certificate(tmp_path / name)
        assert verify(found, text, signer=KEY.public_key() if signed else None) == []
    (tmp_path / "c.json").write_text(json.dumps({**document, "note": 1}))
    assert any("'note' stands outside" in finding for finding in verify(*read_certificate(tmp_path / "c.json")))
