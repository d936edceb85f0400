"""From the rounds of a qualification to its outcome, by what the plan allows. The same for maker and verifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUALIFIED, NOT_QUALIFIED, UNDECIDED = "qualified", "not qualified", "undecided"
_MOST_REASONS = 50
#: The plan that an outcome without more words stands for (:class:`harness.campaigns.qualify.qualify_plan.Plan`).
STANDARD: dict[str, Any] = {
    "rounds": 3,
    "soak_minutes": 10.0,
    "soak_suites": ("reload", "interrupt"),
    "bench_faults": 1,
    "marginal": 0,
}


@dataclass(frozen=True)
class Judgement:
    outcome: str
    why: tuple[str, ...]


def reductions(declared: dict[str, Any]) -> list[str]:
    """What the declared plan asks less than the standard one: such a result is told beside the outcome, always."""
    plan, less = declared["plan"], []
    if plan["rounds"] < STANDARD["rounds"]:
        less.append(f"{plan['rounds']} of {STANDARD['rounds']} rounds")
    if plan["suites"]:
        less.append(f"only {', '.join(plan['suites'])}")
    if plan["soak_minutes"] < STANDARD["soak_minutes"]:
        less.append(
            f"{plan['soak_minutes']:g} of {STANDARD['soak_minutes']:g} minutes of soak"
            if plan["soak_minutes"]
            else "no soak"
        )
    elif set(plan["soak_suites"]) < set(STANDARD["soak_suites"]):
        less.append(f"soak of {', '.join(plan['soak_suites']) or 'nothing'}")
    for name, words in (("bench_faults", "bench faults"), ("marginal", "marginal figures")):
        if plan[name] > STANDARD[name]:
            less.append(f"{plan[name]} {words} allowed, not {STANDARD[name]}")
    identity = declared["board"].get("identity") or {}
    if "virtual" not in declared["board"] and not identity.get("mac") and not identity.get("uid"):
        less.append("the board's own identity was not declared (no MAC or UID)")
    return less


def outcome_words(content: dict[str, Any]) -> str:
    """The outcome as it is told first, with what the plan left out."""
    less = reductions(content["declared"])
    return f"{content['outcome']} by a reduced plan ({'; '.join(less)})" if less else str(content["outcome"])


def judge(declared: dict[str, Any], rounds: list[dict[str, Any]]) -> Judgement:
    """Not qualified: the firmware failed once. Undecided: the bench failed more often than the plan allows, a round
    or a scenario is missing, or the firmware was not one and the same. Otherwise qualified."""
    plan = declared["plan"]
    failed: list[str] = []
    open_questions: list[str] = []
    good = {"round": 0, "soak": 0}
    faults = 0
    for position, made in enumerate(rounds, 1):
        title = f"{made['kind']} {position}"
        scenarios = made["scenarios"]
        fails = [s for s in scenarios if s["outcome"] == "fail"]
        failed += [f"{title}, {s['suite']}: {s['name']}: {s['reason']}" for s in fails]
        errors = [f"{s['suite']}: {s['name']}: {s['reason']}" for s in scenarios if s["outcome"] in ("error", "broken")]
        if made["problem"]:
            errors.insert(0, made["problem"])
        if errors and not fails:
            faults += 1
            if faults > plan["bench_faults"]:
                open_questions.append(f"{title} failed by the bench: {errors[0]}")
            continue
        expected = set(declared["scenarios"] if made["kind"] == "round" else declared["soak"])
        missing = expected - {f"{s['suite']}: {s['name']}" for s in scenarios}
        if missing:
            open_questions.append(f"{title} lacks {len(missing)} scenarios: {', '.join(sorted(missing)[:3])}")
            continue
        marginal = sum(m["verdict"] == "marginal" for s in scenarios for m in s["measurements"])
        if marginal > plan["marginal"]:
            failed.append(f"{title} has {marginal} marginal figures, the plan allows {plan['marginal']}")
        good[made["kind"]] += 1
    if good["round"] < plan["rounds"] and not failed:
        open_questions.append(f"{good['round']} good rounds, the plan asks for {plan['rounds']}")
    if declared["soak"] and not good["soak"] and not failed:
        open_questions.append("there was no good soak")
    firmware = {made["firmware"]["sha256"] or made["firmware"]["version"] for made in rounds if not made["problem"]}
    if len(firmware) > 1:
        open_questions.append(f"the firmware was not the same in all rounds: {', '.join(sorted(firmware))}")
    outcome = NOT_QUALIFIED if failed else UNDECIDED if open_questions else QUALIFIED
    return Judgement(outcome, tuple((failed + open_questions)[:_MOST_REASONS]))
