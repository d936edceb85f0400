"""``harness explore --table``: which operations are atomic, by the contract and as implemented."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from harness.errors import UsageError
from harness.reference.engine.prepare import vm_module
from harness.reference.explore.contract import explore_by_contract
from harness.reference.explore.explorer import Limits, explore
from harness.reference.explore.rewind import Rewinder
from harness.reference.explore.struck_life import subject_of
from harness.runtimes.micropython.operations import OPERATIONS, Operation
from harness.shown import Terminal

HEAP = 57344
_HEAD = ("operation", "by contract", "as implemented")


@dataclass(frozen=True)
class Tried:
    """What became of an operation: whether nothing came between, and in how many runs that was tried."""

    operation: Operation
    contract: bool
    implemented: bool
    runs: int

    @property
    def as_declared(self) -> bool:
        return (self.contract, self.implemented) == (self.operation.contract, self.operation.implemented)


def try_operation(operation: Operation, built: bytes, prepared: bytes) -> Tried:
    """Explore it in a build from a source tree and in the prepared one."""
    source = operation.explored
    by_contract = explore_by_contract(subject_of(built, source, heap_size=HEAP, files={}), Limits())
    implemented = explore(Rewinder(prepared, source, heap_size=HEAP, files={}), Limits())
    return Tried(operation, by_contract.safe, implemented.safe, by_contract.runs)


def table(operations: Sequence[Operation] = OPERATIONS) -> str:
    """The table as it is declared, in Markdown."""
    rows = [_HEAD, ("---", "---", "---")]
    for each in operations:
        rows.append((f"`{each.name}`{each.words and ', ' + each.words}", _word(each.contract), _word(each.implemented)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _word(atomic: bool) -> str:
    return "atomic" if atomic else "**no**"


def print_table(reference: str) -> None:
    """Try all operations and print the table. Exit code 1 when one is not what it is declared to be."""
    from harness.campaigns.explore_program import chosen

    built = chosen(reference, needed=False)
    if built is None:
        raise UsageError(
            "the table needs a reference that was built from a source tree", hint="harness reference build TREE"
        )
    quiet = Terminal(stderr=True)
    prepared = vm_module(lambda text: quiet.print(Text(text, style="dim")))
    tried = [try_operation(each, built[0], prepared) for each in OPERATIONS]
    Terminal().print(Text(table()), soft_wrap=True)
    quiet.print(Text(f"{sum(each.runs for each in tried)} runs by contract on {built[1].label}", style="dim"))
    wrong = [each for each in tried if not each.as_declared]
    for each in wrong:
        found = f"by contract {_word(each.contract)}, as implemented {_word(each.implemented)}"
        quiet.print(Text(f"{each.operation.name}: {found}; the table says otherwise", style="bold red"))
    sys.exit(1 if wrong else 0)
