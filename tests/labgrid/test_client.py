"""What labgrid-client prints is read with care, and a client that hangs, floods or is not there is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault, FinalFault, UsageError
from harness.labgrid.client import (
    Lab,
    LabAway,
    LabRefused,
    Resource,
    own_name,
    power_names,
    read_places,
    read_resources,
    serial_url,
)

PLACES = """\
Place 'esp-1':
  aliases: a b
  comment: the one with the sensor
  tags: board=devkit, chip=esp32
  matches:
    exa/desk/*
  acquired: lab2/bob
  acquired resources:
    exa/desk/NetworkSerialPort/NetworkSerialPort
  created: 2026-11-28 03:35:33.907639
  changed: 2026-11-28 03:35:46.079135
  reservation: QWERTY
Place 'esp-2':
  matches:
  acquired: None
  acquired resources:
  created: 2026-11-28 03:35:33.907639
  changed: 2026-11-28 03:35:37.945276
"""


def test_places_are_read() -> None:
    first, second = read_places(PLACES)
    assert first.name == "esp-1"
    assert first.fits({"chip": "esp32"})
    assert not first.fits({"chip": "esp32", "slot": "1"})
    assert first.held == "bob on lab2"
    assert first.changed == "2026-11-28 03:35:46"
    assert (second.name, second.held, second.acquired) == ("esp-2", "", "")


def test_who_is_told_of_oneself_and_of_a_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_HOSTNAME", "desk")
    monkeypatch.setenv("LG_USERNAME", "ann")
    mine, reserved = read_places("Place 'a':\n  acquired: desk/ann\nPlace 'b':\n  acquired: None\n  reservation: X\n")
    assert own_name() == "desk/ann"
    assert mine.held == "ann on desk, which is you"
    assert reserved.held == "a reservation"


@given(st.text(), st.lists(st.sampled_from(PLACES.splitlines())))
def test_no_list_of_places_is_a_crash_or_moves_a_cursor(text: str, lines: list[str]) -> None:
    for listed in (text, "\n".join([*lines, text, *lines])):
        for place in read_places(listed):
            told = [place.name, place.held, place.changed, *place.tags, *place.tags.values()]
            assert all(word.isprintable() for word in told)


ENV = """\
targets:
  esp-1:
    resources:
    - NetworkPowerPort:
        model: rest
        host: http://10.0.0.9/{index}
        index: 1
    - NetworkSerialPort:
        name: console
        host: 10.0.0.8
        protocol: rfc2217
        speed: 115200
        port: 4001

"""


def test_resources_are_read() -> None:
    found = read_resources(ENV, "esp-1")
    assert power_names(found) == ["NetworkPowerPort"]
    assert serial_url(found, "esp-1") == serial_url(found, "esp-1", "console") == "rfc2217://10.0.0.8:4001"
    with pytest.raises(FinalFault, match="no serial port called 'other'"):
        serial_url(found, "esp-1", "other")


@given(st.one_of(st.text(), st.text().map(lambda text: ENV.replace("rest", text))))
def test_resources_that_cannot_be_read_are_a_bench_fault(text: str) -> None:
    try:
        found = read_resources(text, "esp-1")
    except BenchFault as problem:
        assert problem.message.isprintable()
    else:
        assert all(isinstance(resource.kind, str) for resource in found)


def test_another_place_in_the_answer_is_a_bench_fault() -> None:
    with pytest.raises(BenchFault, match="cannot be read"):
        read_resources(ENV, "esp-10")


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ({"host": "bench-pi", "port": 4001, "protocol": "rfc2217"}, "rfc2217://bench-pi:4001"),
        ({"host": "fe80::1", "port": 4001, "protocol": "rfc2217"}, "rfc2217://[fe80::1]:4001"),
        ({"host": "bench-pi", "port": 4001, "protocol": "raw"}, "socket://bench-pi:4001"),
        ({"host": "bench-pi", "port": None, "protocol": "rfc2217"}, ""),
        ({"host": "bench-pi", "port": True, "protocol": "rfc2217"}, ""),
        ({"host": "bench-pi", "port": 70000, "protocol": "rfc2217"}, ""),
        ({"host": "a/../?logging=debug", "port": 1, "protocol": "rfc2217"}, ""),
        ({"host": "bench\x1b[2J", "port": 1, "protocol": "rfc2217"}, ""),
        ({"host": 7, "port": 1, "protocol": "rfc2217"}, ""),
        ({"host": "bench-pi", "port": 1, "protocol": "ssh"}, ""),
    ],
)
def test_only_a_port_that_can_be_opened_is_taken(arguments: dict[str, object], url: str) -> None:
    ports = [Resource("NetworkSerialPort", "NetworkSerialPort", arguments)]
    if url:
        assert serial_url(ports, "p") == url
        return
    with pytest.raises(FinalFault, match="cannot be opened from here") as told:
        serial_url(ports, "p")
    assert told.value.message.isprintable()


def test_several_serial_ports_want_a_name() -> None:
    ports = [Resource("NetworkSerialPort", name, {"host": "h", "port": 1}) for name in ("a", "b")]
    with pytest.raises(FinalFault, match="2 serial ports") as told:
        serial_url(ports, "p")
    assert "serial: NAME" in told.value.hint
    assert serial_url(ports, "p", "b") == "rfc2217://h:1"


# -- the program -----------------------------------------------------------------------------------


def _client(folder: Path, script: str) -> str:
    program = folder / "labgrid-client"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_program_that_is_not_there_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be run: No such file") as told:
        Lab("", str(tmp_path / "labgrid-client")).places()
    assert "pipx install labgrid" in told.value.hint
    assert "HARNESS_LABGRID_CLIENT" in told.value.hint


def test_the_variable_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LABGRID_CLIENT", _client(tmp_path, "echo \"Place '$1':\""))
    assert [place.name for place in Lab().places()] == ["-v"]


def test_a_program_that_hangs_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(LabAway, match="no answer within 0.3 s"):
        Lab("", _client(tmp_path, "sleep 60")).ask("places", timeout=0.3)


def test_a_flood_is_bounded(tmp_path: Path) -> None:
    said = Lab("", _client(tmp_path, "head -c 3000000 /dev/zero | tr '\\0' x")).ask("places")
    assert len(said) == 100_000


def test_a_refusal_is_told_without_its_escapes(tmp_path: Path) -> None:
    lab = Lab("lab:1", _client(tmp_path, "printf 'noise\\nlabgrid-client: Error: no \\033[31mway\\007\\n' >&2; exit 1"))
    with pytest.raises(LabRefused) as told:
        lab.ask("acquire")
    assert told.value.said == "no way?"
    assert told.value.message == "the lab at lab:1 said: no way?"


def test_a_coordinator_that_is_away_is_told_apart_from_a_refusal(tmp_path: Path) -> None:
    said = "ERROR root: coordinator is unavailable: Connection refused"
    with pytest.raises(LabAway, match="the lab's coordinator at lab:1 does not answer: nothing listens there"):
        Lab("lab:1", _client(tmp_path, f"echo '{said}' >&2; exit 1")).places()


def test_the_bench_files_coordinator_goes_before_labgrids_own_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_COORDINATOR", "elsewhere:2")
    program = _client(tmp_path, 'echo "$*"')
    assert Lab("lab:1", program).ask("who").strip() == "-x lab:1 who"
    assert Lab("", program).ask("who").strip() == "who"
    assert Lab("", program).address == "elsewhere:2"


def test_variables_that_would_make_it_do_something_else_are_kept_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LG_ENV", "LG_PLACE", "PLACE", "LG_TOKEN", "STATE", "LG_STATE", "PYTHONPATH", "LG_USERNAME"):
        monkeypatch.setenv(name, "x")
    said = Lab("", _client(tmp_path, "env")).ask("who")
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert "LG_USERNAME" in names
    assert not names & {"LG_ENV", "LG_PLACE", "PLACE", "LG_TOKEN", "STATE", "LG_STATE", "PYTHONPATH"}
