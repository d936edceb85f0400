"""``harness qualify`` and ``harness verify``."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.bench.checked_firmware import check_images
from harness.campaigns.bench_run import RunRequest, run_bench
from harness.campaigns.qualify.certificate import FORMAT, digest, private_key, public_key, read_certificate, round_of
from harness.campaigns.qualify.certificate_judge import NOT_QUALIFIED, QUALIFIED, judge, outcome_words
from harness.campaigns.qualify.certificate_page import page_and_seal
from harness.campaigns.qualify.qualify_plan import Declaration, Plan, declare, load_plan
from harness.campaigns.qualify.verify_certificate import verify
from harness.errors import UsageError
from harness.inventory.load import load_bench
from harness.inventory.model import Board
from harness.inventory.selection import bench_file, bench_line, chosen_boards
from harness.paths import made, state_dir, unwritable
from harness.results.environment import this_environment
from harness.results.report.json_report import write_json
from harness.results.report.terminal import LiveView, terminal
from harness.results.store import Store
from harness.shown import Terminal
from harness.virtual.virtual_firmware import require_variant

_STYLES = {QUALIFIED: "green bold", NOT_QUALIFIED: "red bold"}
_CODES = {QUALIFIED: 0, NOT_QUALIFIED: 1}


def qualify(
    board_id: str,
    bench: str,
    plan_file: Path | None,
    rounds: int | None,
    soak: float | None,
    out: Path,
    key: Path | None,
    variant: str,
    store: str,
) -> None:
    """Qualify BOARD with its firmware: declare plan and limits, run it all several times, write a certificate."""
    file = bench_file(bench)
    loaded = load_bench(file)
    (board,) = _one(loaded, board_id)
    signer = private_key(key) if key else None
    plan = load_plan(plan_file)
    if rounds is not None:
        plan = dataclasses.replace(plan, rounds=rounds)
    if soak is not None:
        plan = dataclasses.replace(plan, soak_minutes=soak)
    require_variant(variant)
    check_images([board])
    console = terminal(to_stderr=False)
    console.print(Text(bench_line(file, loaded, [board])), soft_wrap=True)
    state = state_dir(file)
    request = RunRequest(
        bench_file=file,
        boards=[board],
        state=state,
        store=Path(store) if store else state / "results.sqlite",
        suites=plan.suites,
        variant=variant,
        command=f"harness qualify {board.id}",
    )
    declared = declare(request, plan, time.time())
    target = made(out)
    declaration = target / f"{board.id}.declared.json"
    write_json(str(declaration), declared.to_json())
    told = digest(declared.to_json())
    console.print(Text(f"declared: {declaration}, SHA-256 {told}"), soft_wrap=True)
    content = _certificate(request, board, plan, declared, console)
    page, sealed = page_and_seal(content, signer)
    written = target / f"{board.id}.certificate.html"
    try:
        written.write_text(page, "utf-8")
    except OSError as problem:
        raise unwritable(written, problem) from None
    write_json(str(target / f"{board.id}.certificate.json"), sealed.to_json())
    outcome = content["outcome"]
    console.print(
        Text.assemble((outcome_words(content), _STYLES.get(outcome, "magenta bold")), f": {written} and .json")
    )
    for reason in content["why"][:10]:
        console.print(Text(f"  {reason}"), soft_wrap=True)
    sys.exit(_CODES.get(outcome, 3))


def _one(bench: Any, board_id: str) -> list[Board]:
    found = chosen_boards(bench, board_id)
    if len(found) != 1:
        raise UsageError(f"{board_id!r} names {len(found)} boards", hint="a certificate is for one board")
    return found


def _certificate(
    request: RunRequest, board: Board, plan: Plan, declared: Declaration, console: Console
) -> dict[str, Any]:
    declaration = declared.to_json()
    done: list[dict[str, Any]] = []

    def one(kind: str, suites: tuple[str, ...]) -> dict[str, Any]:
        with LiveView([board], console) as view:
            number = run_bench(dataclasses.replace(request, suites=suites), view)
        results = Store(request.store)
        record = results.load_run(number)
        results.close()
        found = round_of(record, kind)
        done.append(found)
        counts = {
            name: sum(s["outcome"] == name for s in found["scenarios"]) for name in ("pass", "fail", "error", "broken")
        }
        words = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "pass")
        console.print(Text(f"{kind} {len(done)}: {words} in {record.finished - record.started:.0f} s"))
        return found

    spare = plan.bench_faults
    good = 0
    while good < plan.rounds:
        found = one("round", plan.suites)
        if found["outcome"] == "error" and spare:
            spare -= 1
        elif found["outcome"] in ("error", "broken", "fail"):
            break  # more rounds cannot make it good
        else:
            good += 1
    end = time.monotonic() + 60 * plan.soak_minutes
    while good >= plan.rounds and plan.soak_minutes:
        found = one("soak", plan.soak_suites)
        if found["outcome"] == "error" and spare:
            spare -= 1
        elif found["outcome"] in ("error", "broken", "fail"):
            break
        if time.monotonic() >= end:
            break
    judgement = judge(declaration, done)
    firmware = next((r["firmware"] for r in reversed(done) if r["firmware"]["version"]), done[-1]["firmware"])
    results = Store(request.store)
    calibration = results.load_calibration(board.id, firmware["sha256"])
    results.close()
    return {
        "format": FORMAT,
        "board": {"id": board.id, "chip": board.chip, "runtime": board.runtime},
        "firmware": firmware,
        "declared": declaration,
        "declared_sha256": digest(declaration),
        "environment": this_environment(),
        "calibration": dataclasses.asdict(calibration) if calibration else None,
        "rounds": done,
        "finished": time.time(),
        "outcome": judgement.outcome,
        "why": list(judgement.why),
    }


def verify_file(certificate: Path, signer: Path | None, bench: str) -> None:
    """Check that CERTIFICATE (.json or .html of 'harness qualify') says what was recorded, and what it says."""
    sealed, page = read_certificate(certificate)
    content = sealed.content
    board = None
    if bench:
        name = str((content.get("board") or {}).get("id"))
        board = load_bench(bench_file(bench)).board(name)
        if board is None:
            raise UsageError(f"{bench} has no board {name!r:.60}")
    findings = verify(sealed, page, signer=public_key(signer) if signer else None, board=board)
    console = Terminal()
    if findings:
        console.print(Text("not valid", style="red bold"))
        for finding in findings[:50]:
            console.print(Text(f"  {finding}"), soft_wrap=True)
        sys.exit(1)
    signed = "signed" if sealed.signature else "not signed: whoever recomputes the hashes could have made it"
    outcome = content["outcome"]
    console.print(
        Text.assemble(
            ("valid", "green bold"),
            f" ({signed}): {content['board']['id']} with {content['firmware']['version']} is ",
            (outcome_words(content), _STYLES.get(outcome, "magenta bold")),
        ),
        soft_wrap=True,
    )
    sys.exit(0 if outcome == QUALIFIED else 1)
