"""Adding boards to boards.yaml as a person would: every line that stands there stays as it is, comments included.

The YAML nodes say where a line belongs; the file itself is never written anew from values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from harness.bench.plugged import Plugged
from harness.bench.probe_port import Answer
from harness.chips import CHIPS, GENERIC
from harness.errors import UsageError
from harness.inventory.discover import Port, candidates
from harness.inventory.load import load_bench, short_name
from harness.inventory.model import Board, Identity
from harness.runtimes.traits import DEFAULT_RUNTIME
from harness.shown import one_line

#: What is compared when the board answers; other VMs have numbers of other lengths, which prove nothing.
_PROVING_UID = r"[0-9a-f]{24}"
_HEAD = """\
# The boards of this bench: docs/boards-yaml.md describes each key.
name: bench

boards:
"""


@dataclass(frozen=True)
class Change:
    """What came of one thing that is plugged in, and which board of the file it is.

    ``differs``: the file's board should be at this place, but another chip answered; the file is left as it is.
    ``entry`` is the text of an added one.
    """

    what: Literal["added", "updated", "known", "differs"]
    board: str
    port: str
    detail: str = ""
    entry: str = ""


def update_bench(
    file: Path,
    seen: list[Plugged],
    answers: Mapping[str, Answer],
    *,
    settings: Mapping[str, Sequence[str]] | None = None,
    write: bool = True,
) -> list[Change]:
    """Bring ``file`` up to date with the ports plugged in; ``answers``, by port, are what was asked of the boards.

    ``settings``, by port, are lines that a new entry has behind its identity. Without ``write`` it is only told what
    would be done.

    A board that is known gets the MAC or UID that it told, where the file has none; any other port becomes a new
    entry at the end. Nothing is taken away: a board that is not plugged in now may be tomorrow. The new text
    replaces the old one only when it can be loaded. Raises UsageError for a file that is wrong already or cannot
    be written.
    """
    text = _read(file)
    boards = list(load_bench(file, check_files=False).boards) if text else []
    text = text or _HEAD
    changes: list[Change] = []
    taken = {board.id for board in boards}
    entries: list[str] = []
    for plug in [plug for plug in seen if plug.port] + _only_asked(seen, answers):
        answer = answers.get(plug.port, Answer(plug.port))
        index = next((i for i, board in enumerate(boards) if _stands_for(board, plug, answer)), None)
        if index is None:
            name = _new_id(plug, answer, taken)
            taken.add(name)
            entries.append(_entry(name, plug, answer, (settings or {}).get(plug.port, ())))
            changes.append(Change("added", name, plug.port, plug.what, entries[-1]))
            continue
        board = boards[index]
        told = {
            key: value for key, value in (("mac", answer.mac), ("uid", answer.uid)) if value and _esp_or_uid(board, key)
        }
        new = {key: value for key, value in told.items() if getattr(board.identity, key) is None}
        wrong = [key for key, value in told.items() if key not in new and getattr(board.identity, key) != value]
        if wrong:
            expected = getattr(board.identity, wrong[0])
            changes.append(
                Change("differs", board.id, plug.port, f"{wrong[0]} {expected} expected, {told[wrong[0]]} came")
            )
        elif new:
            text = _with_identity(text, index, new, file)
            changes.append(Change("updated", board.id, plug.port, ", ".join(f"{k} {v}" for k, v in new.items())))
        else:
            changes.append(Change("known", board.id, plug.port))
    if entries:
        text = _with_entries(text, entries, file)
    if write and any(change.what in ("added", "updated") for change in changes):
        _replace(file, text)
    return changes


def board_at(address: str, chip: str, runtime: str = DEFAULT_RUNTIME) -> Board:
    """A board that stands in no file: all defaults, found by its port. Raises UsageError for what is no port."""
    port = real_address(address)
    try:
        identity = Identity.model_validate({"url" if "://" in port else "port": port})
    except ValueError:
        raise UsageError(
            f"{address[:100]!a} is no port that can be opened", hint="/dev/ttyUSB0, rfc2217://host:4000 and the like"
        ) from None
    return Board(id="board", chip=chip, runtime=runtime, identity=identity)


def real_address(address: str) -> str:
    """``address``, where it is a link: what it leads to. Links in /dev are those of udev, and stay behind as well."""
    return address if "://" in address else os.path.realpath(address)


def _only_asked(seen: list[Plugged], answers: Mapping[str, Answer]) -> list[Plugged]:
    """Ports that answered and are no USB device: a UART of this machine, a pty, a port on another machine."""
    known = {plug.port for plug in seen}
    return [
        Plugged("port", answer.port, "", "", "", "", "a serial port that is not on USB")
        for answer in answers.values()
        if answer.port not in known and (answer.runtime or answer.chip)
    ]


def _stands_for(board: Board, plug: Plugged, answer: Answer) -> bool:
    identity = board.identity
    if identity is None or identity.labgrid:
        return False
    if identity.port or identity.url:
        return plug.port in (identity.port, identity.url)
    if identity.usb_serial or identity.usb_location or identity.vid_pid:
        port = Port(plug.port, plug.usb_serial or None, plug.usb_location, plug.vid_pid, plug.product)
        return bool(candidates(board, [port]))
    return bool(answer.mac and answer.mac == identity.mac) or bool(answer.uid and answer.uid == identity.uid)


def _esp_or_uid(board: Board, key: str) -> bool:
    """A MAC belongs to an ESP chip, a UID to any other."""
    return (key == "mac") == CHIPS[board.chip].family.startswith("esp")


def _new_id(plug: Plugged, answer: Answer, taken: set[str]) -> str:
    base = answer.chip or "board"
    number_of = re.sub(r"[^0-9a-z]", "", answer.mac or answer.uid)
    mark = number_of[-6:] or re.sub(r"[^0-9]+", "-", plug.usb_location).strip("-")
    first = name = f"{base}-{mark}"[:36].strip("-")
    number = 1
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    return name


def _entry(name: str, plug: Plugged, answer: Answer, settings: Sequence[str]) -> str:
    """One item of ``boards`` at column 0. A chip that is not known is ``generic``: it is never written to."""
    lines = [f"# {one_line(plug.what)}, found at {plug.usb_location or plug.port}"]
    if not (answer.runtime or answer.chip):
        lines[0] += f"; to learn more: harness discover --probe {plug.port} --write FILE"
    elif answer.version:
        lines.append(f"# {one_line(answer.version, 100)}")  # a board may hold ends of lines that YAML knows
    lines += [f"- id: {name}", f"  chip: {answer.chip or GENERIC}", f"  runtime: {answer.runtime or DEFAULT_RUNTIME}"]
    identity = dict(plug.identity)
    if answer.mac and (answer.chip or GENERIC).startswith("esp"):
        identity["mac"] = answer.mac
    elif re.fullmatch(_PROVING_UID, answer.uid):
        identity["uid"] = answer.uid
    lines.append("  identity:")
    lines += [f"    {key}: {_quoted(value)}" for key, value in identity.items()]
    lines += [f"  {line}" for line in settings]
    return "".join(f"{line}\n" for line in lines)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- places in the text ----------------------------------------------------------------------------


def _boards_node(text: str, file: Path) -> yaml.SequenceNode | None:
    """None when ``boards:`` has nothing in it, as in a file that was just begun."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    value = _value(root, "boards")
    if isinstance(value, yaml.SequenceNode) and value.flow_style:
        raise UsageError(
            f"{short_name(file)}: 'boards' is written as [...]; nothing was changed",
            hint="write each board as a '- id: ...' of its own",
        )
    return value if isinstance(value, yaml.SequenceNode) else None


def _value(mapping: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _with_entries(text: str, entries: list[str], file: Path) -> str:
    node = _boards_node(text, file)
    if node is None:
        return text.rstrip("\n") + "\n" + _indented("\n".join(entries), 2)
    at = _line_after(text, _end(node))
    return text[:at] + _indented("".join("\n" + entry for entry in entries), node.start_mark.column) + text[at:]


def _with_identity(text: str, index: int, new: Mapping[str, str], file: Path) -> str:
    boards = _boards_node(text, file)
    assert boards is not None
    identity = _value(boards.value[index], "identity")
    assert isinstance(identity, yaml.MappingNode)
    if identity.flow_style:
        at = identity.end_mark.index - 1  # before the brace
        return text[:at] + "".join(f", {key}: {_quoted(value)}" for key, value in new.items()) + text[at:]
    at = _line_after(text, _end(identity))
    lines = "".join(f"{key}: {_quoted(value)}\n" for key, value in new.items())
    return text[:at] + _indented(lines, identity.start_mark.column) + text[at:]


def _end(node: yaml.Node) -> int:
    """Where the last value within ``node`` ends. The node's own end mark is behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_after(text: str, at: int) -> int:
    if at > 0 and text[at - 1] == "\n":
        return at  # a block scalar ends behind its line already
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _indented(text: str, columns: int) -> str:
    return "".join(" " * columns + line if line.strip() else line for line in text.splitlines(keepends=True))


# -- the file --------------------------------------------------------------------------------------


def _read(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{short_name(file)} cannot be read: {problem}") from None
    return text if not text or text.endswith("\n") else text + "\n"


def _replace(file: Path, text: str) -> None:
    """Written aside, loaded, and only then renamed: a reader never sees half a file, nor a wrong one."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode("utf-8"))
        if file.exists():
            part.chmod(file.stat().st_mode & 0o7777)
        load_bench(part, check_files=False)
        part.replace(file)
    except OSError as problem:
        raise UsageError(f"{short_name(file)} cannot be written: {problem.strerror}") from None
    except UsageError as problem:
        message = problem.message.replace(short_name(part), "the new text")
        raise UsageError(
            f"{short_name(file)} was left as it is, for the new entries do not fit in:\n{message}",
            hint="add the board by hand; `harness discover` shows what to put in",
        ) from None
    finally:
        part.unlink(missing_ok=True)
