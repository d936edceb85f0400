"""A running virtual board, asked what docs/port-facts.md says that its port answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.chips import CHIPS, virtual_chips
from harness.chips.port_facts import page, port_facts
from harness.link.ports import open_port
from harness.link.session import Session
from harness.reference.vm import ReferenceVm
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from tests.running_boards import programmed_board

IMPORTS = "import gc, machine, os, sys, vfs\nfrom machine import Pin\n"
PAGE = Path(__file__).parents[2] / "docs" / "port-facts.md"
#: What the reference answers otherwise: it has no flash that was empty.
BOARD_ONLY = ("what / holds", "a new filesystem's files", "what boot.py does at first", "heap of an open file")


@pytest.fixture(scope="module", params=virtual_chips())
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, firmware_files: dict[str, Path]
) -> Iterator[tuple[str, MicroPythonBoard]]:
    chip = request.param
    with programmed_board(chip, tmp_path_factory.mktemp(chip), firmware_files[chip]) as up:
        port = open_port(up.url, rts=CHIPS[chip].family == "stm32")
        runtime = MicroPythonBoard(Session(port), boot_timeout=60)
        runtime.enter()
        yield chip, runtime
        runtime.close()


def asked(runtime: MicroPythonBoard | ReferenceVm, ask: str) -> str:
    runtime.soft_reset()
    result = runtime.run(IMPORTS + ask)
    return (result.stdout + result.stderr).decode().strip()


def test_a_virtual_board_answers_as_its_port(board: tuple[str, MicroPythonBoard]) -> None:
    chip, runtime = board
    port = CHIPS[chip].port
    assert port is not None
    facts = port_facts(port)
    assert len(facts) > 15
    answers = {fact.title: asked(runtime, fact.ask) for fact in facts}
    assert answers == {fact.title: fact.answer for fact in facts}


@pytest.mark.parametrize("chip", virtual_chips())
def test_the_reference_answers_as_the_board_does(chip: str) -> None:
    port = CHIPS[chip].port
    assert port is not None
    facts = [fact for fact in port_facts(port) if not fact.title.startswith(BOARD_ONLY)]
    with ReferenceVm(chip=chip) as vm:
        answers = {fact.title: asked(vm, fact.ask) for fact in facts}
    assert answers == {fact.title: fact.answer for fact in facts}


def test_every_chip_with_a_port_has_facts_and_each_its_source() -> None:
    for chip in CHIPS.values():
        if chip.port is not None:
            assert all(fact.source.startswith(("py/", "ports/", "extmod/")) for fact in port_facts(chip.port)), (
                chip.name
            )


def test_the_page_is_what_the_data_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m harness.chips.port_facts docs/port-facts.md"
