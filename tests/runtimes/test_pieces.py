"""Programs in pieces: the same statements, the same figures, and what a program asks of a VM."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.paths import fixtures_dir
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import Facts
from harness.runtimes.pieces import SMALL_HEAP, needs_of, parts_of
from harness.runtimes.program import Program, agent_source

LARGE = Facts("micropython", "v1.27", "x", 4, "A", 2 * SMALL_HEAP, 774)
SMALL = replace(LARGE, heap_total=SMALL_HEAP // 2)
BARE = replace(SMALL, extra={"crc32": "no"})


def test_a_vm_with_room_gets_the_program_as_it_is() -> None:
    assert parts_of("# text\nx = 1\n", LARGE) == ["# text\nx = 1\n"]


def test_pieces_run_one_by_one_give_the_figures_of_the_whole() -> None:
    program = Program.load("allocations")
    with ReferenceVm() as vm:
        whole = program.run(vm)
        vm.soft_reset()
        printed = b""
        source = f"{agent_source()}\nINPUT = {{}}\n"
        for text in (*parts_of(source, BARE, user=program.source), *parts_of(program.source, BARE)):
            result = vm.run(text)
            assert not result.stderr, text
            printed += result.stdout
    from harness.runtimes.records import decode

    assert decode(printed) == whole


def test_methods_that_the_program_does_not_reach_are_left_out() -> None:
    agent = "\n".join(parts_of(agent_source(), SMALL, user="agent.heap('x', f)\nagent.done()"))
    assert "def heap(" in agent and "def allocated(" in agent and "def emit(" in agent
    assert "def kept(" not in agent and "def state(" not in agent


def test_no_docstring_is_sent() -> None:
    assert not any("collector held off" in part for part in parts_of(agent_source(), SMALL))


@settings(max_examples=50)
@given(st.binary(max_size=60))
def test_the_small_crc_is_the_one_that_the_host_computes(data: bytes) -> None:
    names: dict[str, Any] = {}
    exec((fixtures_dir() / "agent" / "crc32.py").read_text(), names)
    assert names["crc32"](data) == zlib.crc32(data)


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("import gc\ngc.collect()", ("gc", "gc.collect")),
        ("import time as t\nt.sleep(1)", ("time", "time.sleep")),
        ("from machine import Timer", ("machine.Timer",)),
        ("try:\n    import a\nexcept ImportError:\n    import b\n", ()),
        ("import hx_own\nhx_own.x", ()),
        ("sys.path", ()),
    ],
)
def test_what_a_program_needs_is_read_off_its_source(source: str, needs: tuple[str, ...]) -> None:
    assert needs_of(source) == needs
