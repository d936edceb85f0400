"""The supervisor's memory: one region shared by two stacks of allocations and the VM's heap between them.

The rules are those of CircuitPython 6.1 to 8 (``supervisor/shared/memory.c``, its change "movable supervisor
allocations"): a node of two words, {next, length and flags}, stands before the data of each allocation; the low
stack grows upwards, the high one downwards; whatever lies between them is the VM's heap while a VM runs. An
allocation made while it runs comes from a hole of exactly its length, or else from the VM's heap, where one root
keeps it alive: the root points to the newest node, and each node to the one before. At the end of the run it
is moved to the bottom of the former heap.

The lists and flags stand in the region's own bytes, as on a board; nothing is kept beside them but the handles.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.errors import FirmwareFailure, UsageError

#: Bytes of a node, before the data: pointer to the next node, then length with the flags in its low bits.
NODE = 8
HOLE, MOVABLE = 1, 2
_FLAGS = 3
#: How many allocations there can be at a time, unless said otherwise (a static table on a board).
HANDLES = 32


@dataclass(frozen=True)
class Span:
    """``size`` bytes from address ``start``."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


class VmHeap(Protocol):
    """The heap of the VM that runs now, as far as the supervisor uses it. Addresses are the heap's own."""

    root: int
    """The one word that the collector looks at: address of the first node, or 0."""

    def allocate(self, size: int) -> int | None:
        """Address of ``size`` new bytes, a multiple of 4; None when there is no room."""

    def free(self, address: int) -> None: ...

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


class Allocation:
    """A handle. It stays valid when the memory moves; ``pointer`` is 0 once it is freed."""

    def __init__(self, region: Region, pointer: int) -> None:
        self._region = region
        self.pointer = pointer

    def get_length(self) -> int:
        """Length in bytes as it was allocated: a multiple of 4. Raises UsageError when it is freed."""
        return self._region.length_of(self)

    def read(self) -> bytes:
        """The contents. Raises UsageError when it is freed."""
        return self._region.read(self)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Replace a part of the contents. Raises UsageError beyond the end, or when it is freed."""
        self._region.write(self, data, offset)


@dataclass(frozen=True)
class _Node:
    at: int
    next: int
    word: int

    @property
    def length(self) -> int:
        return self.word & ~_FLAGS

    @property
    def size(self) -> int:
        return NODE + self.length

    @property
    def hole(self) -> bool:
        return bool(self.word & HOLE)

    @property
    def movable(self) -> bool:
        return bool(self.word & MOVABLE)


class Region:
    """``size`` bytes at address ``base``, both multiples of 4; ``handles`` bounds the number of allocations.

    Raises UsageError for sizes and addresses that cannot be.
    """

    def __init__(self, size: int, *, base: int = 0x2000_0000, handles: int = HANDLES) -> None:
        if size < NODE or size % 4 or base % 4 or base <= 0 or base + size > 1 << 32:
            raise UsageError(
                f"a region of {size} bytes at 0x{base:x}: both must be multiples of 4, above 0 and within 32 bits"
            )
        self.span = Span(base, size)
        self._memory = bytearray(size)
        self._limit = handles
        self._low_head = 0
        self._high_head = 0
        self._handles: dict[int, Allocation] = {}
        self._old: dict[int, Allocation] | None = None
        self._running: Span | None = None
        self._heap: VmHeap | None = None
        #: Called after each :meth:`end_run`, when the memory has moved; see :meth:`allocation_from_ptr`.
        self.on_move: list[Callable[[], None]] = []

    # -- clients ---------------------------------------------------------------------------------

    def allocate(self, length: int, high_address: bool = False, movable: bool = False) -> Allocation | None:
        """``length`` bytes, rounded up to a multiple of 4; None when there is no room or no free handle.

        The order is upstream's: a hole of exactly this length on the same side; the free middle while no VM runs;
        such a hole on the other side (only for what need not move: on the high side nothing does); for a movable
        one while a VM runs, the VM's heap. Raises UsageError for a negative length, for a movable allocation on
        the high side, which upstream does not have, and from inside a move callback.
        """
        self._must_not_move()
        if length < 0:
            raise UsageError(f"an allocation of {length} bytes")
        if high_address and movable:
            raise UsageError("an allocation on the high side cannot be movable", hint="leave out high_address")
        length = (length + 3) & ~3
        if len(self._handles) >= self._limit or NODE + length > self.span.size:
            return None
        node = self._find_hole(high_address, length)
        if not node and self._running is None and NODE + length <= self.middle.size:
            node = self._push(high_address, length)
        if not node and not movable:
            node = self._find_hole(not high_address, length)
        if not node and movable and self._heap is not None:
            node = self._embed(self._heap, length)
        if not node:
            return None
        if not self._in_heap(node):
            self._set(node, word=length | (MOVABLE if movable else 0))
        handle = Allocation(self, node + NODE)
        self._handles[handle.pointer] = handle
        return handle

    def free(self, allocation: Allocation | None) -> None:
        """Give it back; None and a freed handle are no error, as upstream.

        At the top of its stack the space joins the free middle, together with the holes that follow. While a VM
        runs the neighbour there is its heap, so a hole stays until the run ends.
        """
        self._must_not_move()
        if allocation is None or not allocation.pointer:
            return
        at = self._node_of(allocation)
        if self._in_heap(at):
            self._unlink(at)
        else:
            self._set(at, word=self._node(at).length | HOLE)
            if self._running is None:
                self._absorb_holes()
        del self._handles[allocation.pointer]
        allocation.pointer = 0

    def allocation_from_ptr(self, pointer: int) -> Allocation | None:
        """The handle of the allocation whose data start at ``pointer``; None when there is none.

        During a move callback ``pointer`` is the address before the move, and the handle's the one after it.
        """
        return (self._handles if self._old is None else self._old).get(pointer)

    def length_of(self, allocation: Allocation) -> int:
        return self._node(self._node_of(allocation)).length

    def read(self, allocation: Allocation) -> bytes:
        return self._load(allocation.pointer, self.length_of(allocation))

    def write(self, allocation: Allocation, data: bytes, offset: int = 0) -> None:
        length = self.length_of(allocation)
        if offset < 0 or offset + len(data) > length:
            raise UsageError(f"{len(data)} bytes at {offset} do not fit an allocation of {length}")
        self._store(allocation.pointer + offset, data)

    # -- runs of the VM --------------------------------------------------------------------------

    @property
    def middle(self) -> Span:
        """What lies between the two stacks."""
        low = self._node(self._low_head) if self._low_head else None
        start = low.at + low.size if low else self.span.start
        return Span(start, (self._high_head or self.span.end) - start)

    def begin_run(self, heap: Callable[[Span], VmHeap] | None = None) -> Span:
        """A VM starts: its heap is exactly what is left. ``heap`` makes the allocator that serves
        :meth:`allocate` during the run; without it nothing can be allocated there.

        Raises UsageError when a VM runs already.
        """
        self._must_not_move()
        if self._running is not None:
            raise UsageError("a VM runs in this region already", hint="end_run() first")
        self._running = self.middle
        if heap is not None:
            self._heap = heap(self._running)
            self._heap.root = 0
        return self._running

    def end_run(self) -> None:
        """The VM has ended: what was allocated in its heap becomes ordinary, and what is movable moves down.

        Between two allocations that do not move, the movable ones go below the holes, in their order; holes that
        come to lie at the top of a stack vanish. The ones from the heap follow in ascending order of address,
        which is why none is overwritten before it has been moved; one that fits a hole exactly goes there.
        Then the callbacks of ``on_move`` are called. Raises UsageError when no VM runs, and FirmwareFailure when
        the program has damaged the nodes in its heap: those allocations are then freed, the others kept.
        """
        self._must_not_move()
        if self._running is None:
            raise UsageError("no VM runs in this region", hint="begin_run() first")
        heap, damage = self._heap, None
        try:
            nodes = [(at, self._node(at)) for at in sorted(self.embedded())]
        except FirmwareFailure as failure:
            nodes, damage = [], failure
            for pointer in [pointer for pointer in self._handles if self._in_heap(pointer - NODE)]:
                self._handles.pop(pointer).pointer = 0
        self._running = None
        self._absorb_holes()
        old = dict(self._handles)
        self._compact()
        self._absorb_holes()
        self._heap = None
        holes = [hole for hole in self._nodes(False) if hole.hole]
        for at, node in nodes:
            assert heap is not None
            data = heap.read(at + NODE, node.length)
            fitting = next((hole for hole in holes if hole.length == node.length), None)
            if fitting is None:
                place = self._push(False, node.length)
            else:
                holes.remove(fitting)
                place = fitting.at
            self._set(place, word=node.length | MOVABLE)
            self._store(place + NODE, data)
            old[at + NODE].pointer = place + NODE
        if heap is not None:
            heap.root = 0
        self._handles = {handle.pointer: handle for handle in old.values()}
        self._old = old
        try:
            for callback in self.on_move:
                callback()
        finally:
            self._old = None
        if damage is not None:
            raise damage

    @property
    def running(self) -> bool:
        """Whether a VM runs now."""
        return self._running is not None

    def embedded(self) -> list[int]:
        """Addresses of the nodes in the VM's heap, found from the one root: the newest first.

        Raises FirmwareFailure when they do not form the chain that was made: the program has written there.
        """
        pieces: dict[int, None] = {}
        at = self._heap.root if self._heap is not None else 0
        left = self.middle.size
        while at:
            if at + NODE not in self._handles or not self._in_heap(at) or at in pieces:
                raise FirmwareFailure(f"the chain of allocations in the VM's heap leads to 0x{at:x}, which is none")
            pieces[at] = None
            node = self._node(at)
            left -= node.size
            if left < 0 or not node.movable or node.hole:
                raise FirmwareFailure(f"the allocation at 0x{at:x} in the VM's heap has a length of 0x{node.word:x}")
            at = node.next
        if len(pieces) != sum(self._in_heap(pointer - NODE) for pointer in self._handles):
            raise FirmwareFailure("the chain of allocations in the VM's heap is broken")
        return list(pieces)

    def stack(self, *, high: bool = False) -> list[tuple[Span, int]]:
        """Nodes of a stack from its top, each with its flags: the span includes the node."""
        return [(Span(node.at, node.size), node.word & _FLAGS) for node in self._nodes(high)]

    # -- nodes -----------------------------------------------------------------------------------

    def _must_not_move(self) -> None:
        if self._old is not None:
            raise UsageError("the memory is being moved", hint="only look pointers up in a move callback")

    def _node_of(self, allocation: Allocation) -> int:
        if self._handles.get(allocation.pointer) is not allocation:
            raise UsageError("this allocation is freed, or of another region")
        return allocation.pointer - NODE

    def _node(self, at: int) -> _Node:
        return _Node(at, *struct.unpack("<II", self._load(at, NODE)))

    def _set(self, at: int, *, next: int | None = None, word: int | None = None) -> None:
        if next is not None:
            self._store(at, struct.pack("<I", next))
        if word is not None:
            self._store(at + 4, struct.pack("<I", word))

    def _nodes(self, high: bool) -> list[_Node]:
        nodes = []
        at = self._high_head if high else self._low_head
        while at:
            nodes.append(self._node(at))
            at = nodes[-1].next
        return nodes

    def _find_hole(self, high: bool, length: int) -> int:
        return next((node.at for node in self._nodes(high) if node.word == length | HOLE), 0)

    def _push(self, high: bool, length: int) -> int:
        middle = self.middle
        if high:
            at, below = middle.end - NODE - length, self._high_head
            self._high_head = at
        else:
            at, below = middle.start, self._low_head
            self._low_head = at
        self._set(at, next=below, word=length)
        return at

    def _absorb_holes(self) -> None:
        for high in (False, True):
            nodes = self._nodes(high)
            head = next((node.at for node in nodes if not node.hole), 0)
            if high:
                self._high_head = head
            else:
                self._low_head = head

    def _compact(self) -> None:
        """Between two nodes that stay, put the movable ones of the low stack below the holes."""
        nodes = [(node, self._load(node.at + NODE, node.length)) for node in reversed(self._nodes(False))]
        ordered: list[tuple[_Node, bytes]] = []
        holes: list[tuple[_Node, bytes]] = []
        for entry in nodes:
            if entry[0].hole:
                holes.append(entry)
                continue
            if not entry[0].movable:
                ordered += holes
                holes = []
            ordered.append(entry)
        at, below = self.span.start, 0
        for node, data in ordered + holes:
            if at != node.at and not node.hole:
                self._handles[node.at + NODE].pointer = at + NODE
            self._set(at, next=below, word=node.word)
            self._store(at + NODE, data)
            at, below = at + node.size, at
        self._low_head = below

    def _embed(self, heap: VmHeap, length: int) -> int:
        at = heap.allocate(NODE + length)
        if at is None:
            return 0
        heap.write(at, struct.pack("<II", heap.root, length | MOVABLE))
        heap.root = at
        return at

    def _unlink(self, at: int) -> None:
        assert self._heap is not None
        following = self._node(at).next
        if self._heap.root == at:
            self._heap.root = following
        else:
            self._set(next(node for node in self.embedded() if self._node(node).next == at), next=following)
        self._heap.free(at)

    # -- bytes -----------------------------------------------------------------------------------

    def _in_heap(self, address: int) -> bool:
        """The heap's addresses are those of the middle, or, when it lies in a guest, none of the region."""
        if self._heap is None or self._running is None:
            return False
        inside = self.span.start <= address < self.span.end
        return not inside or self._running.start <= address < self._running.end

    def _load(self, address: int, size: int) -> bytes:
        if self._heap is not None and self._in_heap(address):
            return self._heap.read(address, size)
        offset = address - self.span.start
        return bytes(self._memory[offset : offset + size])

    def _store(self, address: int, data: bytes) -> None:
        if self._heap is not None and self._in_heap(address):
            self._heap.write(address, data)
            return
        offset = address - self.span.start
        self._memory[offset : offset + len(data)] = data
