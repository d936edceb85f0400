"""Operations on what the main program and a callback share: which of them nothing comes between.

Written for ``harness explore --table``, which tries each of them, and for the interrupt suite, which checks on boards
those that are atomic by the contract: a callback may come between any two bytecodes. ``implemented`` is what an
interpreter makes of it that looks for callbacks at jumps only (MicroPython ``py/vm.c``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

#: How often the operation is done in a run of the explorer.
ROUNDS = 3


@dataclass(frozen=True)
class Operation:
    """``main`` is done by the main program in round ``n``, ``interrupt`` by the callback; both are statements.

    ``holds`` is an expression that must be true after ``rounds`` of the one and ``calls`` of the other; ``setup`` makes
    what they share, and ``shared`` names what is assigned. ``bad`` counts what must not be seen. ``key`` is its name in
    records, ``name`` and ``words`` are what the table shows.
    """

    key: str
    name: str
    main: str
    interrupt: str
    holds: str
    setup: str = ""
    shared: str = "bad"
    contract: bool = True
    implemented: bool = True
    words: str = ""

    @property
    def explored(self) -> str:
        """The program for the explorer."""
        return (
            f"{self.setup}\nrounds = {ROUNDS}\ncalls = bad = 0\n\n"
            f"def main():\n    global {self.shared}\n    for n in range(rounds):\n{_block(self.main, 8)}\n\n"
            f"def interrupt(argument):\n    global calls, {self.shared}\n{_block(self.interrupt)}\n    calls += 1\n\n"
            f"def check():\n    assert {self.holds}\n"
        )


def _block(text: str, width: int = 4) -> str:
    return textwrap.indent(text, " " * width)


_TRANSFER = "items[0] += 1\nitems[1] -= 1"
_ITEMS = "items = [0, 0, 0]"
_TEN = "items = list(range(400))"
_INSERT = "d[1000 + calls] = 1"
_INSERTED = "len([k for k in d if k >= 1000]) == calls"
_QUEUE = "from collections import deque\nq = deque((), 420)"
_HEAP = "import heapq\nh = []"
_OWN = (
    "import heapq\nclass Entry:\n    def __init__(self, n):\n        self.n = n\n"
    "    def __lt__(self, other):\n        return True if self.n < other.n else False\n"
    "h = [Entry(n) for n in (1, 5, 8, 9)]\nheapq.heapify(h)"
)

OPERATIONS: tuple[Operation, ...] = (
    # names
    Operation("read", "y = x", "y = x\nbad += y not in (1, -1)", "x = -x", "not bad", "x = 1", "x, bad"),
    Operation("assign", "x = v", "x = n", "x = -1", "x in (-1, rounds - 1)", "x = 0", "x"),
    Operation(
        "publish", "pair = (a, b)", "pair = (n, -n)", "bad += sum(pair) != 0", "not bad", "pair = (0, 0)", "pair, bad"
    ),
    Operation("add", "x = x + 1", "x = x + 1", "x = x + 1", "x == rounds + calls", "x = 0", "x", False),
    Operation("augmented", "x += 1", "x += 1", "x += 1", "x == rounds + calls", "x = 0", "x", False),
    Operation("swap", "x, y = y, x", "x, y = y, x", "x, y = y, x", "x + y == 3", "x, y = 1, 2", "x, y", False),
    Operation("chain", "x = y = v", "x = y = n", "bad += x != y", "not bad", "x = y = 0", "x, y, bad", False),
    Operation("two", "x = v; y = w", "x = n\ny = -n", "bad += x + y", "not bad", "x = y = 0", "x, y, bad", False),
    Operation(
        "text", 's += "x"', 's += "x"', 's += "y"', "len(s) == rounds + calls", 's = ""', "s", False, words="a string"
    ),
    Operation(
        "call",
        "add(1)",
        "add(1)",
        "add(1)",
        "x == rounds + calls",
        "x = 0\ndef add(k):\n    global x\n    x = x + k",
        "x",
        False,
        words="a Python function",
    ),
    # lists
    Operation(
        "append", "items.append(v)", "items.append(n)", "items.append(-1)", "len(items) == rounds + calls", "items = []"
    ),
    Operation("pop", "items.pop()", "items.pop()", "items.pop()", "len(items) == 400 - rounds - calls", _TEN),
    Operation(
        "insert",
        "items.insert(0, v)",
        "items.insert(0, n)",
        "items.append(-1)",
        "len(items) == rounds + calls",
        "items = []",
    ),
    Operation(
        "remove_first",
        "del items[0]",
        "del items[0]",
        "items.pop(0)",
        "items[0] == rounds + calls",
        _TEN,
        words="and `items.pop(0)`",
    ),
    Operation(
        "extend", "items.extend((v, w))", "items.extend((n, -n))", "bad += len(items) % 2", "not bad", "items = []"
    ),
    Operation(
        "extend_in_place",
        "items += [v]",
        "items += [n]",
        "items.append(-1)",
        "len(items) == rounds + calls",
        "items = []",
        "items",
        words="a list",
    ),
    Operation(
        "concat",
        "items = items + [v]",
        "items = items + [n]",
        "items.append(-1)",
        "len(items) == rounds + calls",
        "items = []",
        "items",
        False,
    ),
    Operation("item_set", "items[k] = v", "items[0] = n", "items[0] = -1", "items[0] in (-1, rounds - 1)", _ITEMS),
    Operation(
        "item_add",
        "items[k] += 1",
        "items[0] += 1",
        "items[0] += 1",
        "items[0] == rounds + calls",
        _ITEMS,
        contract=False,
    ),
    Operation(
        "items_swap",
        "items[a], items[b] = items[b], items[a]",
        "items[0], items[1] = items[1], items[0]",
        "bad += sum(items) != 3",
        "not bad",
        "items = [1, 2]",
        contract=False,
    ),
    Operation("slice", "copy = items[:]", "bad += sum(items[:]) != 0", _TRANSFER, "not bad", _ITEMS),
    Operation(
        "slice_set", "items[:] = (v, w)", "items[:] = (n, -n)", "bad += sum(items) != 0", "not bad", "items = [0, 0]"
    ),
    Operation(
        "contains",
        "v in items",
        "bad += 7 not in items",
        "items[0], items[1] = items[1], items[0]",
        "not bad",
        "items = [7, 8]",
    ),
    Operation("sum", "sum(items)", "bad += sum(items) != 0", _TRANSFER, "not bad", _ITEMS, words="and `list(items)`"),
    Operation(
        "sorted", "sorted(items)", "bad += sum(sorted(items)) != 0", _TRANSFER, "not bad", _ITEMS, words="of numbers"
    ),
    Operation(
        "sort",
        "items.sort()",
        "items.sort()",
        "items.append(0)",
        "len(items) == 3 + calls and sum(items) == 6",
        "items = [3, 1, 2]",
        words="of numbers",
    ),
    Operation(
        "loop",
        "for v in items",
        "total = 0\nfor v in items:\n    total += v\nbad += total != 0",
        _TRANSFER,
        "not bad",
        _ITEMS,
        contract=False,
        implemented=False,
    ),
    Operation(
        "comprehension",
        "[v for v in items]",
        "bad += sum([v for v in items]) != 0",
        _TRANSFER,
        "not bad",
        _ITEMS,
        contract=False,
        implemented=False,
    ),
    Operation(
        "if_pop",
        "if items: items.pop()",
        "if items:\n    items.pop()",
        "if items:\n    items.pop()",
        "True",
        "items = [1, 2]",
        contract=False,
        implemented=False,
    ),
    # dicts and sets
    Operation(
        "dict_set",
        "d[k] = v",
        "d[n] = n",
        _INSERT,
        _INSERTED,
        "d = {}",
        words="also when the table grows",
    ),
    Operation(
        "dict_add", "d[k] += 1", "d[1] += 1", "d[1] += 1", "d[1] == rounds + calls", "d = {1: 0}", contract=False
    ),
    Operation(
        "dict_get",
        "d[k] = d.get(k, 0) + 1",
        "d[1] = d.get(1, 0) + 1",
        "d[1] = d.get(1, 0) + 1",
        "d[1] == rounds + calls",
        "d = {}",
        contract=False,
    ),
    Operation(
        "setdefault",
        "d.setdefault(k, []).append(v)",
        "d.setdefault(1, []).append(n)",
        "d.setdefault(1, []).append(-1)",
        "len(d[1]) == rounds + calls",
        "d = {}",
    ),
    Operation(
        "dict_pop",
        "d.pop(k)",
        "d.pop(n % 8, None)",
        _INSERT,
        _INSERTED,
        "d = {n: n for n in range(8)}",
    ),
    Operation("dict_update", "d.update(other)", "d.update({n % 8: n, 9: n})", _INSERT, _INSERTED, "d = {}"),
    Operation(
        "dict_list",
        "list(d)",
        "bad += len(list(d)) < 3 or len(list(d.items())) < 3",
        _INSERT,
        "not bad",
        "d = {1: 0, 2: 0, 3: 0}",
        words="and `list(d.items())`",
    ),
    Operation(
        "dict_loop",
        "for k in d",
        "left = {0, 5, 6, 7}\nfor k in d:\n    left.discard(k)\nbad += len(left)",
        _INSERT,
        "not bad",
        "d = {0: 0, 5: 0, 6: 0, 7: 0}",
        contract=False,
        implemented=False,
        words="while keys are added",
    ),
    Operation(
        "set_add",
        "s.add(v)",
        "s.add(n % 8)",
        "s.add(100 + calls)",
        "len([v for v in s if v >= 100]) == calls",
        "s = set()",
    ),
    # attributes
    Operation(
        "attribute_set",
        "o.a = v",
        "o.a = n",
        "o.a = -1",
        "o.a in (-1, rounds - 1)",
        "class O:\n    pass\no = O()\no.a = 0",
    ),
    Operation(
        "attribute_add",
        "o.a += 1",
        "o.a += 1",
        "o.a += 1",
        "o.a == rounds + calls",
        "class O:\n    pass\no = O()\no.a = 0",
        contract=False,
    ),
    # buffers
    Operation(
        "byte_set",
        "b[k] = v",
        "b[0] = n & 127",
        "b[0] = 255",
        "b[0] in (255, (rounds - 1) & 127)",
        "b = bytearray(4)",
        words="a bytearray",
    ),
    Operation(
        "byte_add",
        "b[k] += 1",
        "b[0] = (b[0] + 1) & 255",
        "b[0] = (b[0] + 1) & 255",
        "b[0] == (rounds + calls) & 255",
        "b = bytearray(4)",
        contract=False,
        words="a bytearray",
    ),
    Operation(
        "bytes_set",
        "b[i:j] = data",
        "b[0:2] = bytes((n & 255, n & 255))",
        "bad += b[0] != b[1]",
        "not bad",
        "b = bytearray(4)",
    ),
    Operation(
        "pack_into",
        "struct.pack_into(form, b, at, v, w)",
        'struct.pack_into("<HH", b, 0, n, n)',
        "bad += b[0] != b[2]",
        "not bad",
        "import struct\nb = bytearray(4)",
    ),
    Operation(
        "unpack_from",
        "struct.unpack_from(form, b)",
        'p, q = struct.unpack_from("<HH", b)\nbad += p != q',
        'struct.pack_into("<HH", b, 0, calls, calls)',
        "not bad",
        "import struct\nb = bytearray(4)",
    ),
    # queues
    Operation("deque_append", "deque.append(v)", "q.append(n)", "q.append(-1)", "len(q) == rounds + calls", _QUEUE),
    Operation(
        "deque_popleft",
        "deque.popleft()",
        "q.popleft()",
        "q.popleft()",
        "len(q) == 400 - rounds - calls",
        f"{_QUEUE}\nfor n in range(400):\n    q.append(n)",
    ),
    Operation(
        "heap_push",
        "heapq.heappush(h, v)",
        "heapq.heappush(h, n)",
        "heapq.heappush(h, -1 - calls)",
        "len(h) == rounds + calls and h[0] == min(h)",
        _HEAP,
        words="of numbers",
    ),
    Operation(
        "heap_pop",
        "heapq.heappop(h)",
        "heapq.heappop(h)",
        "heapq.heappop(h)",
        "h[0] == rounds + calls",
        "import heapq\nh = list(range(400))",
        words="of numbers",
    ),
    Operation(
        "heap_own",
        "heapq.heappush(h, entry)",
        "heapq.heappush(h, Entry(-n))",
        "heapq.heappop(h)\nheapq.heappush(h, Entry(-9))",
        "len({id(e) for e in h}) == len(h) == 4 + rounds",
        _OWN,
        contract=False,
        implemented=False,
        words="whose `__lt__` is in Python",
    ),
    Operation(
        "generator",
        "next(g)",
        "next(g)",
        "next(g)",
        "next(g) == rounds + calls",
        "def count():\n    k = 0\n    while True:\n        yield k\n        k += 1\ng = count()",
        contract=False,
        implemented=False,
        words="a generator",
    ),
)

#: What the suite checks on boards: the table calls it atomic by the contract.
ATOMIC = tuple(operation for operation in OPERATIONS if operation.contract)

_HEAD = """\
from time import ticks_diff, ticks_ms
from machine import Timer

timer = Timer(INPUT["timer"])
all_calls = 0


def run(step, callback):
    global rounds, calls, bad, all_calls
    rounds = calls = bad = 0
    start = ticks_ms()
    timer.init(period=INPUT["period_ms"], mode=Timer.PERIODIC, callback=callback)
    while rounds < 300 and calls < 60 and ticks_diff(ticks_ms(), start) < INPUT["window_ms"]:
        step(rounds)
        rounds += 1
    timer.deinit()
    for _ in range(200):
        pass
    all_calls += calls


"""


def program_for_boards(operations: Sequence[Operation] = ATOMIC) -> str:
    """All of them with a timer's callback, in one program: a state ``<key>`` for each that the VM has the modules for,
    and ``some_callbacks``."""
    return _HEAD + "".join(map(_on_board, operations)) + 'agent.state("some_callbacks", all_calls > 5)\nagent.done()\n'


def _on_board(operation: Operation) -> str:
    shared = operation.shared
    return (
        f"def step(n):\n    global {shared}\n{_block(operation.main)}\n\n\n"
        f"def callback(timer):\n    global calls, {shared}\n{_block(operation.interrupt)}\n    calls += 1\n\n\n"
        f"try:\n{_block(operation.setup or 'pass')}\n    there = True\nexcept ImportError:\n    there = False\n"
        f"if there:\n    run(step, callback)\n    agent.state({operation.key!r}, {operation.holds})\n"
    )
