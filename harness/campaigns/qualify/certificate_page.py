"""The certificate as a page for people. What it shows comes from the data block at its end alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from harness.campaigns.qualify.certificate import Sealed, data_block, seal
from harness.campaigns.qualify.certificate_judge import NOT_QUALIFIED, QUALIFIED, outcome_words
from harness.results.report.html import figure, html_page, safe_text

_WORST = ("pass", "skipped", "marginal", "broken", "error", "fail")
_PLACE = "<!-- data -->"


def page_and_seal(content: dict[str, Any], key: Any = None) -> tuple[str, Sealed]:
    """The whole page, and the certificate that it carries, sealed together with the page's own text."""
    text = html_page(f"{content['board']['id']}: {content['outcome']}", [*_body(content), _PLACE])
    before, after = text.split(_PLACE)
    sealed = seal(content, key, before + after)
    return before + data_block(sealed) + after, sealed


def _body(content: dict[str, Any]) -> Iterator[str]:
    yield from _summary(content)
    yield from _rounds(content)
    yield from _figures(content)
    yield from _conditions(content)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _summary(content: dict[str, Any]) -> Iterator[str]:
    board, firmware, plan = content["board"], content["firmware"], content["declared"]["plan"]
    colour = {QUALIFIED: "pass", NOT_QUALIFIED: "fail"}.get(content["outcome"], "error")
    yield f'<header><div class="title"><h1>{safe_text(board["id"])}</h1>'
    yield f'<span class="verdict {colour}">{safe_text(outcome_words(content))}</span></div>'
    yield f"<p>{safe_text(board['chip'])} with {safe_text(firmware['name'])} {safe_text(firmware['version'])}"
    if firmware["sha256"]:
        yield f"<br>image SHA-256 <code>{safe_text(firmware['sha256'])}</code>"
    yield f"</p><p>Declared {_day(content['declared']['at'])}, finished {_day(content['finished'])}: "
    yield f"{plan['rounds']} rounds of {len(content['declared']['scenarios'])} scenarios, "
    yield f"soak of {plan['soak_minutes']:g} minutes. Declaration <code>{content['declared_sha256'][:16]}</code></p>"
    yield "</header>"
    if content["why"]:
        yield "<section><h3>Why</h3><ul>"
        yield from (f"<li>{safe_text(reason)}</li>" for reason in content["why"])
        yield "</ul></section>"


def _rounds(content: dict[str, Any]) -> Iterator[str]:
    yield "<section><h3>Rounds</h3><div class='scroll'><table class='grid rounds'><thead><tr>"
    yield "<th>round</th><th>began</th><th>outcome</th><th>scenarios</th></tr></thead><tbody>"
    for position, made in enumerate(content["rounds"], 1):
        counts = {name: sum(s["outcome"] == name for s in made["scenarios"]) for name in _WORST}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        yield f"<tr><td>{safe_text(made['kind'])} {position}</td><td>{_day(made['started'])}</td>"
        yield f'<td class="{safe_text(made["outcome"])}">{safe_text(made["outcome"])}</td>'
        yield f"<td>{told}</td></tr>"
        if made["problem"]:  # in a row of its own: beside the others a phone has no room for a sentence
            yield f"<tr class='why'><td class='reason' colspan='4'>{safe_text(made['problem'])}</td></tr>"
    yield "</tbody></table></div></section>"


def _figures(content: dict[str, Any]) -> Iterator[str]:
    """Each figure once: its range over all rounds, beside reference and limit."""
    figures: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for made in content["rounds"]:
        for scenario in made["scenarios"]:
            for m in scenario["measurements"]:
                title = f"{scenario['suite']}: {scenario['name'].replace('_', ' ')}"
                figures.setdefault((title, m["name"]), []).append(m)
    yield "<section><h3>Figures over all rounds</h3><div class='scroll'><table class='figures ranges'><thead><tr>"
    yield "<th>figure</th>"
    yield '<th class="figure">least … median … greatest</th><th class="figure">reference</th><th>limit</th>'
    yield "<th>worst</th></tr></thead><tbody>"
    before = ""
    for (title, name), values in figures.items():
        if title != before:
            yield f'<tr class="scenario"><td colspan="5">{safe_text(title)}</td></tr>'
            before = title
        last = values[-1]
        reference = "" if last["reference"] is None else figure(last["reference"], last["unit"], last["kind"])
        verdict = max((m["verdict"] for m in values), key=_WORST.index)
        yield f'<tr><td><code>{safe_text(name)}</code></td><td class="figure">{_range(values)}</td>'
        yield f'<td class="figure">{reference}</td><td>{safe_text(last["limit"])}</td>'
        yield f'<td class="{verdict}">{verdict}</td></tr>'
    yield "</tbody></table></div></section>"


def _range(values: list[dict[str, Any]]) -> str:
    unit, kind = values[0]["unit"], values[0]["kind"]
    figures = [m["measured"] for m in values if m["measured"] is not None]
    if not figures:
        return safe_text(values[-1]["reason"])
    if any(isinstance(value, str) for value in figures) or len(set(figures)) == 1:
        return " / ".join(figure(value, unit, kind) for value in dict.fromkeys(figures))
    spread = (min(figures), statistics.median(figures))
    return " … ".join([*(figure(value, "", kind) for value in spread), figure(max(figures), unit, kind)])


def _conditions(content: dict[str, Any]) -> Iterator[str]:
    yield "<section><details><summary><b>Conditions</b></summary><ul>"
    for name, value in content["environment"].items():
        yield f"<li>{safe_text(name)}: {safe_text(str(value))}</li>"
    for name, limit in content["declared"]["limits"].items():
        yield f"<li>limit <code>{safe_text(name)}</code>: {safe_text(str(limit))}</li>"
    calibration = content["calibration"]
    if calibration:
        yield f"<li>calibration: {calibration['scale']:.6g} µs of the board for each of the reference, "
        yield f"spread {100 * calibration['spread']:.1f} %</li>"
    yield f"<li>wiring: {safe_text(str(content['declared']['board'].get('wiring', 'none')))}</li>"
    yield "</ul></details></section>"
