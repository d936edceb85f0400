"""A certificate says what was recorded, and tells when it no longer does."""

import copy
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.qualify.certificate import (
    FORMAT,
    canonical,
    data_block,
    digest,
    private_key,
    public_key,
    read_certificate,
    round_of,
    seal,
)
from harness.campaigns.qualify.certificate_judge import (
    NOT_QUALIFIED,
    QUALIFIED,
    STANDARD,
    UNDECIDED,
    judge,
    outcome_words,
)
from harness.campaigns.qualify.certificate_page import page_and_seal
from harness.campaigns.qualify.qualify_plan import Plan, load_plan
from harness.campaigns.qualify.verify_certificate import verify
from harness.errors import UsageError
from harness.inventory.load import load_bench
from harness.judging.compare import Measurement
from harness.judging.limits import at_most
from harness.judging.outcome import Outcome
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LIMITS = {"sleep.*": {"max": 2.0, "why": "a slow crystal"}}


def run_record(
    number: int, *, outcome: Outcome = Outcome.PASS, problem: str = "", leave_out: bool = False
) -> RunRecord:
    bounds = at_most(2.0, margin=0.5).bounds
    figure = Measurement(
        "sleep.clock_scale", "time", "1", 1.01, 1.0, "at most 2", Outcome.PASS, samples=(1.0, 1.02), bounds=bounds
    )
    scenarios = (
        ScenarioResult("deep_sleep", "clock", Outcome.PASS, measurements=(figure,), seconds=1.0, started=100.0),
        ScenarioResult("reload", "leak", outcome, "3 blocks lost" if outcome is not Outcome.PASS else ""),
    )
    firmware = FirmwareRecord("fw.bin", "v1.28.0", "ab" * 32)
    board = BoardRecord("b1", "esp32", firmware, scenarios[: 1 if leave_out else 2], problem)
    return RunRecord(number, 200.0 + number, 210.0 + number, "harness qualify b1", (board,))


def declaration(**plan: Any) -> dict[str, Any]:
    full = {"rounds": 2, "suites": [], "soak_minutes": 0, "soak_suites": [], "bench_faults": 1, "marginal": 0, **plan}
    names = ["deep_sleep: clock", "reload: leak"]
    return {
        "at": 150.0,
        "board": {"id": "b1"},
        "plan": full,
        "limits": LIMITS,
        "scenarios": names,
        "soak": names if full["soak_minutes"] else [],
        "files": {},
    }


def content(**changes: Any) -> dict[str, Any]:
    declared = declaration()
    rounds = [round_of(run_record(number), "round") for number in (1, 2)]
    return {
        "format": FORMAT,
        "board": {"id": "b1", "chip": "esp32", "runtime": "micropython"},
        "firmware": rounds[0]["firmware"],
        "declared": declared,
        "declared_sha256": digest(declared),
        "environment": {"python": "3.11"},
        "calibration": None,
        "rounds": rounds,
        "finished": 300.0,
        "outcome": QUALIFIED,
        "why": [],
        **changes,
    }


def test_what_was_sealed_holds_as_json_and_as_a_page(tmp_path: Path) -> None:
    page, sealed = page_and_seal(content(), KEY)
    (tmp_path / "c.html").write_text(page, "utf-8")
    (tmp_path / "c.json").write_text(json.dumps(sealed.to_json()))
    for name in ("c.html", "c.json"):
        found, around = read_certificate(tmp_path / name)
        assert found == sealed
        assert verify(found, around, signer=KEY.public_key()) == []


def _figure(c: dict[str, Any]) -> None:
    c["rounds"][1]["scenarios"][0]["measurements"][0]["measured"] = 1.0


def _limit(c: dict[str, Any]) -> None:
    c["declared"]["limits"]["sleep.*"]["max"] = 5.0


def _scenario(c: dict[str, Any]) -> None:
    del c["rounds"][0]["scenarios"][1]


def _outcome(c: dict[str, Any]) -> None:
    c["rounds"][0]["scenarios"][1]["outcome"] = "fail"


def _firmware(c: dict[str, Any]) -> None:
    c["rounds"][1]["firmware"]["sha256"] = "cd" * 32


def _conditions(c: dict[str, Any]) -> None:
    c["environment"]["python"] = "3.12"


@pytest.mark.parametrize(
    ("touch", "told"),
    [
        (_figure, "round 2, deep_sleep: clock was changed after it was recorded"),
        (_limit, "what was declared before the run"),
        (_scenario, "round 1 lacks reload: leak"),
        (_outcome, "by its own plan and rounds it is 'not qualified'"),
        (_firmware, "by its own plan and rounds it is 'undecided'"),
        (_conditions, "its data were changed"),
    ],
)
def test_a_touched_certificate_tells_what_was_touched(touch: Callable[[dict[str, Any]], None], told: str) -> None:
    sealed = seal(content(), KEY)
    touched = copy.deepcopy(sealed.content)
    touch(touched)
    findings = verify(type(sealed)(touched, sealed.sha256, sealed.page, sealed.signature))
    assert any(told in finding for finding in findings), findings
    assert any("its data were changed" in finding for finding in findings)


def test_a_touched_page_is_told_though_its_data_are_whole(tmp_path: Path) -> None:
    page, _ = page_and_seal(content())
    assert "1.01" in page
    (tmp_path / "c.html").write_text(page.replace(">qualified by", ">qualified with honours by"), "utf-8")
    sealed, around = read_certificate(tmp_path / "c.html")
    assert verify(sealed, around) == ["the page's text was changed: what it shows need not be what its data say"]


def test_who_recomputes_the_hashes_still_lacks_the_signature() -> None:
    forged = content()
    _conditions(forged)
    resealed = seal(forged)
    assert verify(resealed) == []  # hashes alone cannot tell, and the documentation says so
    assert verify(resealed, signer=KEY.public_key()) == ["it is not signed, and a signer was asked for"]
    other = seal(forged, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    assert verify(other, signer=KEY.public_key()) == ["it was not signed by that signer"]
    stolen = seal(content(), KEY).signature
    assert "its signature does not fit its data" in verify(type(other)(forged, resealed.sha256, "", stolen))


def test_a_figure_beyond_a_declared_limit_cannot_be_called_good() -> None:
    c = content()
    scenario = c["rounds"][0]["scenarios"][0]
    scenario["measurements"][0]["measured"] = 2.5
    scenario["sha256"] = digest({k: v for k, v in scenario.items() if k != "sha256"})
    (finding,) = verify(seal(c))
    assert "sleep.clock_scale is 2.5, beyond its declared limit (max 2.0)" in finding


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"measured": 1.75}, "is 1.75 and called pass; by its limit (at most 2) it is marginal"),
        ({"verdict": "marginal"}, "is 1.01 and called marginal; by its limit (at most 2) it is pass"),
        ({"measured": "none"}, "is none and called pass; by its limit (at most 2) it is fail"),
        ({"measured": None}, "is called pass and has no value"),
        ({"verdict": "skipped"}, "is called skipped and has a value"),
        ({"bounds": {"high": 1.0}}, "lacks what every certificate has (ValueError"),
    ],
)
def test_a_figure_is_judged_again_by_the_limit_that_stands_with_it(change: dict[str, Any], told: str) -> None:
    c = content(declared=declaration() | {"limits": {}})
    c["declared_sha256"] = digest(c["declared"])
    scenario = c["rounds"][0]["scenarios"][0]
    assert verify(seal(c)) == []
    scenario["measurements"][0].update(change)
    scenario["sha256"] = digest({k: v for k, v in scenario.items() if k != "sha256"})
    assert any(told in finding for finding in verify(seal(c)))


def test_a_skipped_figure_stands_in_the_certificate_with_its_reason(tmp_path: Path) -> None:
    c = content()
    for one in c["rounds"]:
        scenario = one["scenarios"][0]
        scenario["measurements"][0].update(
            measured=None, verdict="skipped", reason="no <clock>", bounds=None, samples=[]
        )
        scenario["sha256"] = digest({k: v for k, v in scenario.items() if k != "sha256"})
    page, sealed = page_and_seal(c)
    assert verify(sealed, page.replace(data_block(sealed), "")) == []
    assert "no &lt;clock&gt;" in page


def test_a_certificate_of_the_time_before_bounds_still_holds() -> None:
    c = content()
    for one in c["rounds"]:
        for scenario in one["scenarios"]:
            for m in scenario["measurements"]:
                del m["bounds"]
            scenario["sha256"] = digest({k: v for k, v in scenario.items() if k != "sha256"})
    assert verify(seal(c)) == []


def test_a_limit_of_today_that_differs_is_told(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    file.write_text(
        "boards:\n  - id: b1\n    chip: esp32\n    runtime: micropython\n    virtual: {}\n"
        "    limits:\n      'sleep.*': {max: 3}\n"
    )
    board = load_bench(file).board("b1")
    (finding,) = verify(seal(content()), board=board)
    assert finding == "the limit 'sleep.*' of boards.yaml is max 3.0 today, declared was max 2.0"


def test_a_declaration_that_came_after_the_first_round_is_told() -> None:
    late = declaration() | {"at": 1000.0}
    c = content(declared=late, declared_sha256=digest(late))
    assert verify(seal(c)) == ["it was declared after the first round had begun"]


@pytest.mark.parametrize(
    ("rounds", "plan", "outcome"),
    [
        ([run_record(1), run_record(2)], {}, QUALIFIED),
        ([run_record(1)], {}, UNDECIDED),
        ([run_record(1), run_record(2, outcome=Outcome.FAIL)], {}, NOT_QUALIFIED),
        ([run_record(1), run_record(2, leave_out=True)], {}, UNDECIDED),
        ([run_record(1), run_record(2, problem="no port"), run_record(3)], {}, QUALIFIED),
        ([run_record(1), run_record(2, problem="no port"), run_record(3)], {"bench_faults": 0}, UNDECIDED),
        ([run_record(1), run_record(2)], {"soak_minutes": 1}, UNDECIDED),
    ],
)
def test_the_outcome_follows_from_the_plan(rounds: list[RunRecord], plan: dict[str, Any], outcome: str) -> None:
    found = judge(declaration(**plan), [round_of(one, "round") for one in rounds])
    assert found.outcome == outcome
    assert bool(found.why) == (outcome != QUALIFIED)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a certificate"),
        ("[" * 100_000, "not a certificate"),
        ("{}", "not a certificate"),
        ('{"certificate": [], "sha256": ""}', "not a certificate"),
        ('{"certificate": {"format": "other"}, "sha256": ""}', "expected format"),
    ],
)
def test_what_is_no_certificate_is_said_to_be_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UsageError, match=told):
        read_certificate(tmp_path / "c.json")


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_a_malformed_certificate_gives_findings_and_no_traceback(inside: object) -> None:
    broken = {**content(), "rounds": [inside], "declared": inside}
    assert verify(seal(broken))


def test_what_was_wrong_in_a_round_has_a_row_of_its_own_on_the_page() -> None:
    """Beside four other cells a phone leaves it no width at all: the row grew to a screen's height."""
    rounds = [
        round_of(run_record(1, problem="no <port>"), "round"),
        *(round_of(run_record(n), "round") for n in (2, 3)),
    ]
    page, _ = page_and_seal(content(rounds=rounds))
    assert "<tr class='why'><td class='reason' colspan='4'>no &lt;port&gt;</td></tr>" in page
    assert page.count("class='why'") == 1


def test_what_a_board_printed_cannot_end_the_data_block(tmp_path: Path) -> None:
    c = content(why=["</script><script>alert(1)</script>"])
    page, sealed = page_and_seal(c)
    assert "<script>alert" not in page
    assert data_block(sealed).count("</script>") == 1
    (tmp_path / "c.html").write_text(page, "utf-8")
    found, around = read_certificate(tmp_path / "c.html")
    assert found.content["why"] == c["why"]
    assert verify(found, around) == []


def test_keys_are_read_from_pem_files_and_nothing_else(tmp_path: Path) -> None:
    secret = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    open_part = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "k").write_bytes(secret)
    (tmp_path / "p").write_bytes(open_part)
    sealed = seal(content(), private_key(tmp_path / "k"))
    assert verify(sealed, signer=public_key(tmp_path / "p")) == []
    with pytest.raises(UsageError, match="not a private key"):
        private_key(tmp_path / "p")
    with pytest.raises(UsageError, match="openssl genpkey"):
        public_key(tmp_path / "k")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rounds: many", "rounds: expected a whole number; came 'many'"),
        ("rounds: 0", "rounds: expected a whole number; came 0"),
        ("soak_minutes: true", "soak_minutes: expected a number"),
        ("suites: reload", "expected a list of suites"),
        ("repeat: 3", "there is no key 'repeat'"),
        ("- 1", "expected a mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_first_fault(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_plan(tmp_path / "plan.yaml")
    assert told in str(caught.value)


def test_a_plan_is_read_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("rounds: 5\nsoak_minutes: 0.5\nsuites: [reload]\n")
    assert load_plan(tmp_path / "plan.yaml") == Plan(rounds=5, soak_minutes=0.5, suites=("reload",))


def test_the_hashed_form_does_not_depend_on_the_order_of_keys() -> None:
    assert (
        canonical({"b": 1, "a": [1.5, "é"]}) == canonical({"a": [1.5, "é"], "b": 1}) == b'{"a":[1.5,"\\u00e9"],"b":1}'
    )


def declared_by(plan: Plan, **board: Any) -> dict[str, Any]:
    declared = declaration()
    declared["plan"] = json.loads(json.dumps(asdict(plan)))
    declared["board"].update(board)
    return {"outcome": QUALIFIED, "declared": declared}


def test_the_standard_plan_is_the_one_that_needs_no_words() -> None:
    assert {key: asdict(Plan())[key] for key in STANDARD} == STANDARD
    assert outcome_words(declared_by(Plan(), identity={"mac": "24:6f:28:00:00:01"})) == "qualified"
    assert outcome_words(declared_by(Plan(), virtual={"pty": True})) == "qualified"


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (Plan(rounds=1), "1 of 3 rounds"),
        (Plan(suites=("reload",)), "only reload"),
        (Plan(soak_minutes=0), "no soak"),
        (Plan(soak_minutes=2.5), "2.5 of 10 minutes of soak"),
        (Plan(soak_suites=("reload",)), "soak of reload"),
        (Plan(marginal=3), "3 marginal figures allowed, not 0"),
        (Plan(bench_faults=4), "4 bench faults allowed, not 1"),
    ],
)
def test_a_reduced_plan_is_told_with_the_outcome(plan: Plan, told: str) -> None:
    assert outcome_words(declared_by(plan, virtual={})) == f"qualified by a reduced plan ({told})"


def test_a_board_whose_identity_was_not_declared_is_told() -> None:
    assert "no MAC or UID" in outcome_words(declared_by(Plan(), identity={"port": "/dev/ttyUSB0"}))
