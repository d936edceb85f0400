"""The process that has a place: what it does when the lab is not as it should be. labgrid-client is a script here."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.labgrid import keeper
from harness.labgrid.client import Lab
from harness.labgrid.keeper import Keeper, Orders, PlaceNews, Wanted

#: Its state is files beside it: ``places`` (a line each: name, tags), ``has-NAME`` (who has it), ``broken-NAME``
#: (its exporter is away), ``away`` (the coordinator is),
#: ``starting`` (it refuses once), ``monitor`` (what that prints), ``log`` (its arguments).
CLIENT = """\
#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> log
[ ! -e away ] || { echo "ERROR root: coordinator is unavailable: Connection refused" >&2; exit 1; }
place=none
[ "$1" = -p ] && { place=$2; shift 2; }
case "$1" in
-v)
    [ ! -e starting ] || { rm starting; echo "labgrid-client: Error: not yet" >&2; exit 1; }
    while read -r name tags; do
        has=$(cat "has-$name" 2>/dev/null || echo None)
        [ ! -e "reserved-$name" ] || has="$has
  reservation: TOKEN0"
        printf "Place '%s':\\n  tags: %s\\n  acquired: %s\\n" "$name" "$tags" "$has"
    done < places ;;
monitor)
    echo $$ >> monitors
    exec tail -n +1 -f monitor ;;
acquire)
    [ ! -e "broken-$place" ] || { echo "labgrid-client: Error: Match x has no matching remote resource" >&2; exit 1; }
    given=$(cat gives 2>/dev/null || echo "$place")
    echo desk/ann > "has-$given"
    printf 'Place %s changed:\\n  acquired: None -> desk/ann\\n' "$given" >> monitor
    echo "acquired place $given" ;;
reserve)
    echo "export LG_TOKEN=TOKEN1" ;;
wait)
    exec sleep 60 ;;
env)
    printf 'targets:\\n  %s:\\n    resources:\\n    - NetworkSerialPort: {host: h, port: 1}\\n' "$place" ;;
release-from)
    rm -f "has-$place" ;;
esac
"""


class _Run:
    """A keeper in a thread, and what it says, which comes by ``words``."""

    def __init__(self, wanted: Wanted, words: queue.SimpleQueue[str]) -> None:
        reading, self._orders = os.pipe()
        self._keeper = Keeper(wanted, Orders(reading))
        self._words = words
        self._thread = threading.Thread(target=self._keeper.run)
        self._thread.start()

    def until(self, what: str) -> dict[str, Any]:
        """The next word of that kind; others before it are passed over."""
        passed: list[object] = []
        while True:
            try:
                word = json.loads(self._words.get(timeout=60))
            except queue.Empty:
                pytest.fail(f"never said {what!r}, but {passed}")
            if word["say"] == what:
                return dict(word)
            passed.append(word)

    def over(self) -> None:
        if self._orders >= 0:
            os.close(self._orders)
        self._orders = -1

    def close(self) -> None:
        self.over()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LG_HOSTNAME", "desk")
    monkeypatch.setenv("LG_USERNAME", "ann")
    monkeypatch.setattr(keeper, "_AGAIN", 0.05)
    (tmp_path / "labgrid-client").write_text(CLIENT)
    (tmp_path / "labgrid-client").chmod(0o755)
    (tmp_path / "places").write_text("esp-1 chip=esp32\nesp-2 chip=esp32\n")
    (tmp_path / "monitor").touch()
    return tmp_path


Start = Callable[..., _Run]


@pytest.fixture
def start(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    runs: list[_Run] = []
    words: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(keeper, "_send", words.put)

    def begin(**wanted: Any) -> _Run:
        runs.append(_Run(Wanted(Lab("", str(lab / "labgrid-client")), **wanted), words))
        return runs[-1]

    yield begin
    (lab / "away").unlink(missing_ok=True)
    for run in runs:
        run.close()


def test_a_place_is_held_until_the_run_is_over(lab: Path, start: Start) -> None:
    run = start(place="esp-1")
    assert run.until("held")["place"] == "esp-1"
    assert (lab / "has-esp-1").exists()
    run.over()
    run.until("released")
    assert not (lab / "has-esp-1").exists()


def test_a_place_that_is_reserved_may_be_reserved_for_us(lab: Path, start: Start) -> None:
    (lab / "reserved-esp-1").touch()
    assert start(place="esp-1").until("held")["place"] == "esp-1"


def test_another_place_than_the_one_that_was_named_is_given_back(lab: Path, start: Start) -> None:
    """labgrid takes a part of a name as well."""
    (lab / "gives").write_text("esp-10\n")
    run = start(place="esp-1")
    assert "acquired place 'esp-10' in place of 'esp-1'" in run.until("refused")["text"]
    run.until("released")
    assert not (lab / "has-esp-10").exists()


def test_a_part_of_a_name_is_not_even_tried(lab: Path, start: Start) -> None:
    run = start(place="esp")
    assert run.until("refused")["text"].endswith("has no place 'esp'; its places: esp-1, esp-2")
    assert "acquire" not in (lab / "log").read_text()


def test_with_tags_a_place_whose_exporter_is_away_is_passed_over(lab: Path, start: Start) -> None:
    (lab / "broken-esp-1").touch()
    assert start(tags={"chip": "esp32"}).until("held")["place"] == "esp-2"


def test_why_no_place_can_be_had_is_told(lab: Path, start: Start) -> None:
    (lab / "broken-esp-1").touch()
    assert "has no matching remote resource" in start(place="esp-1").until("refused")["text"]
    (lab / "has-esp-1").write_text("desk/ann\n")
    (lab / "has-esp-2").write_text("lab2/bob\x1b[31m\n")
    run = start(tags={"chip": "esp32"})
    refused = run.until("refused")
    assert refused["text"] == (
        "every place with chip=esp32 is held: esp-1 by ann on desk, which is you; esp-2 by bob on lab2"
    )
    assert "'labgrid-client -p esp-1 release' gives it back" in refused["hint"]
    run.until("released")
    assert "release-from" not in (lab / "log").read_text()  # it has not been ours


def asked(lab: Path) -> list[str]:
    """What the client was asked, one after the other; the monitor is beside that."""
    return [line for line in (lab / "log").read_text().splitlines() if line != "monitor"]


def test_a_wait_ends_in_time_and_leaves_no_reservation(lab: Path, start: Start) -> None:
    (lab / "has-esp-1").write_text("lab2/bob\n")
    run = start(place="esp-1", wait=0.5)
    assert run.until("waiting")["text"] == "esp-1: bob on lab2"
    assert run.until("refused")["text"] == "place 'esp-1' is held by bob on lab2; waited 0.5 s for it"
    run.until("released")
    after = [line for line in asked(lab) if line != "wait TOKEN1"]  # it may be ended before it writes its log
    assert after[-2:] == ["reserve --shell name=esp-1", "cancel-reservation TOKEN1"]


def test_a_run_that_ends_while_it_waits_leaves_no_reservation(lab: Path, start: Start) -> None:
    (lab / "has-esp-1").write_text("lab2/bob\n")
    run = start(place="esp-1", wait=60.0)
    run.until("waiting")
    run.over()
    run.until("released")
    assert asked(lab)[-1] == "cancel-reservation TOKEN1"
    assert (lab / "has-esp-1").read_text() == "lab2/bob\n"


def _lose_coordinator(lab: Path) -> None:
    (lab / "away").touch()
    for pid in (lab / "monitors").read_text().split():
        os.kill(int(pid), 15)


def test_a_coordinator_that_comes_back_and_knows_us_is_no_trouble(lab: Path, start: Start) -> None:
    run = start(place="esp-1")
    run.until("held")
    _lose_coordinator(lab)
    assert "is gone; the run goes on meanwhile" in run.until("away")["text"]
    (lab / "away").unlink()
    assert "place 'esp-1' is still ours" in run.until("back")["text"]
    with (lab / "monitor").open("a") as monitor:
        monitor.write("Place esp-1 changed:\n  acquired: desk/ann -> lab2/eve\x1b[2J\n")
    assert run.until("lost")["text"] == (
        "place 'esp-1' was released by somebody else while it was in use; now eve on lab2 has it"
    )


def test_a_coordinator_that_refuses_while_it_starts_is_asked_again(lab: Path, start: Start) -> None:
    run = start(place="esp-1")
    run.until("held")
    (lab / "starting").touch()
    _lose_coordinator(lab)
    (lab / "away").unlink()
    run.until("away")
    assert "is still ours" in run.until("back")["text"]
    assert not (lab / "starting").exists()


def test_a_coordinator_that_stays_away_ends_the_run_and_is_asked_again_to_release(
    lab: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "AWAY_PATIENCE", 0.5)
    run = start(place="esp-1")
    run.until("held")
    _lose_coordinator(lab)
    assert run.until("lost")["text"].endswith("is gone, and did not come back within 0.5 s")
    run.over()
    run.until("unreleased")
    (lab / "away").unlink()
    run.until("released")
    assert not (lab / "has-esp-1").exists()


def test_the_asking_ends(lab: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "AWAY_PATIENCE", 0.2)
    monkeypatch.setattr(keeper, "RELEASE_PATIENCE", 0.3)
    run = start(place="esp-1")
    run.until("held")
    _lose_coordinator(lab)
    run.until("lost")
    run.close()
    assert (lab / "has-esp-1").exists()


def test_news_of_other_places_are_none() -> None:
    news = PlaceNews("esp-1")
    for line in (
        "Place esp-1 changed:",
        "  acquired: None -> desk/ann",
        "  acquired_resources: [] -> [['exa', 'desk', 'NetworkSerialPort', 'console']]",
        "Place esp-10 changed:",
        "  acquired: None -> lab2/bob",
        "Resource exb/desk/???/console deleted",
        "Place esp-10 deleted",
    ):
        news.feed(line)
    assert (news.acquired, news.gone, news.deleted) == ("desk/ann", set(), False)
    news.feed("Resource exa/desk/???/console deleted")
    assert news.gone == {"exa/desk/console"}
    news.feed("Place esp-1 deleted")
    assert news.deleted
