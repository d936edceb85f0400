"""Reading boards.yaml: every problem with its file and line, and all of them at once.

The YAML is only composed into nodes and then turned into plain values here, for three reasons: each
value keeps its line, a key given twice is noticed, and nothing but text, numbers, booleans, lists and
mappings can come out of a file. Scalars follow YAML 1.2's core schema, so that a MAC address of
decimal digits is not read as a base-60 number, nor ``0001`` as 1.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import UsageError
from harness.inventory.fields import short
from harness.inventory.model import Bench, Board

MAX_FILE_SIZE = 256 * 1024
MAX_VALUES = 20_000  # after aliases are followed
MAX_DEPTH = 24
MAX_PROBLEMS = 50

Where = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,38})")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{0,18}([eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "~": None, "": None}

_KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "a mapping",
    "model": "a mapping",
    "tuple": "a list",
    "list": "a list",
}


class _PlainLoader(yaml.SafeLoader):
    """Composes nodes and leaves every plain scalar as text."""


_PlainLoader.yaml_implicit_resolvers = {}


@dataclass
class _Document:
    """The values of a file, the line of each (from 1), and what was wrong with the YAML itself."""

    file: str
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    values: int = 0

    def line(self, where: Where) -> int:
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def add(self, line: int, message: str) -> None:
        self.problems.append((line, message))

    def raise_problems(self) -> None:
        if not self.problems:
            return
        problems = sorted(dict.fromkeys(self.problems))
        text = [f"{self.file}:{line}: {message}" for line, message in problems[:MAX_PROBLEMS]]
        if len(problems) > MAX_PROBLEMS:
            text.append(f"{self.file}: and {len(problems) - MAX_PROBLEMS} more problems")
        raise UsageError("\n".join(text), hint=f"correct {self.file}; docs/boards-yaml.md describes each key")


def load_bench(path: Path | str, *, check_files: bool = True) -> Bench:
    """The bench that the YAML file at ``path`` describes, image paths made absolute.

    Raises :class:`UsageError` whose message has one line for each problem, as
    ``boards.yaml:12: boards[0].flash.baude: unknown key; nearest valid key is 'baud'``. With
    ``check_files`` it also reads each firmware image and compares its SHA-256.
    """
    path = Path(path)
    document = _Document(short_name(path))
    root = _compose(_read(path), document)
    document.raise_problems()
    assert root is not None  # _compose adds a problem otherwise
    data = _value(root, (), 0, document)
    told = {line for line, _ in document.problems}  # a value that is no YAML needs no second complaint
    try:
        bench = Bench.model_validate(data, context={"base": path.parent.resolve()})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
                continue  # the items are there, but wrong; each has its own error
            where, message = _explain(details)
            if (line := document.line(where)) not in told:
                document.add(line, f"{spell(where)}: {message}")
        document.raise_problems()
        raise AssertionError("a validation error without details") from error
    document.raise_problems()
    for where, message in _duplicates(bench, document):
        document.add(document.line(where), f"{spell(where)}: {message}")
    document.raise_problems()
    if check_files:
        for where, message in file_problems(bench):
            document.add(document.line(where), f"{spell(where)}: {message}")
        document.raise_problems()
    return bench


def check_files(bench: Bench) -> None:
    """Check that each firmware image exists and has its SHA-256; raises one :class:`UsageError`."""
    problems = [f"{spell(where)}: {message}" for where, message in file_problems(bench)]
    if problems:
        raise UsageError("\n".join(problems), hint="correct the path or the sha256, or fetch the firmware again")


def short_name(path: Path) -> str:
    """The path as the user would type it: relative where that is shorter, always one printable line."""
    text = str(path)
    relative = os.path.relpath(path)
    text = relative if len(relative) < len(text) else text
    return "".join(c if c.isprintable() else "?" for c in text)


def spell(where: Where) -> str:
    """``("boards", 0, "flash")`` as ``boards[0].flash``; keys that are no plain words in quotes."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]{1,60}", part, re.ASCII):
            text += f".{part}" if text else part
        else:
            text += f"[{short(part)}]"
    return text or "top level"


def _read(path: Path) -> str:
    name = short_name(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except FileNotFoundError:
        raise UsageError(
            f"{name}: expected a boards file, there is none",
            hint="give the path of one, or start from the boards.yaml that comes with the harness",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name}: cannot be read: {reason}", hint="expected a YAML file") from None
    if len(data) > MAX_FILE_SIZE:
        raise UsageError(
            f"{name}: expected at most {MAX_FILE_SIZE // 1024} KB, the file is larger",
            hint="is this the boards file? Split a very large bench into several files",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name}:{line}: expected UTF-8 text, found byte 0x{data[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from None


def _compose(text: str, document: _Document) -> yaml.Node | None:
    try:
        loader = _PlainLoader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        document.add(mark.line + 1 if mark else 1, f"not valid YAML: {_printable(what)}")
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.add(
            line,
            f"not valid YAML: character U+{ord(text[min(error.position, len(text) - 1)]):04X} is not allowed",
        )
        return None
    except RecursionError:
        document.add(1, f"nested deeper than {MAX_DEPTH} levels")
        return None
    except (ValueError, OverflowError) as error:
        # PyYAML lets these escape for escapes such as "\U99999999" that name no character.
        document.add(1, f"not valid YAML: {_printable(str(error))}")
        return None
    if root is None:
        document.add(1, "expected a mapping with the key 'boards', the file is empty")
    elif not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        document.add(root.start_mark.line + 1, f"expected a mapping with the key 'boards', came {kind}")
    return root


def _printable(text: str) -> str:
    text = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _value(node: yaml.Node, where: Where, depth: int, document: _Document) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(where, line)
    document.values += 1
    if document.values > MAX_VALUES:
        if document.values == MAX_VALUES + 1:
            document.add(line, f"more than {MAX_VALUES} values, aliases followed; expected a bench of boards")
        return None
    if depth > MAX_DEPTH:
        document.add(line, f"{spell(where[:3])}: nested deeper than {MAX_DEPTH} levels (an alias of itself?)")
        return None
    if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rsplit(":")[-1] not in ("str", "seq", "map"):
        document.add(line, f"{spell(where)}: YAML tags are not supported; came {short(node.tag)}")
        return None
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*where, i), depth + 1, document) for i, item in enumerate(node.value)]
    return _mapping(node, where, depth, document)


def _mapping(node: yaml.Node, where: Where, depth: int, document: _Document) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.add(line, f"{spell(where)}: expected a plain word as key, came a list or mapping")
            continue
        key = key_node.value
        here = (*where, key)
        if key in result:
            first = document.lines[here]
            document.add(line, f"{spell(here)}: key given twice; the first is in line {first}")
            continue
        document.lines[here] = line
        result[key] = _value(value_node, here, depth + 1, document)
    return result


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted or a block: text, whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _explain(details: ErrorDetails) -> tuple[Where, str]:
    """One pydantic error as where it is and what to say about it."""
    where: Where = details["loc"]
    kind, came = details["type"], details["input"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        valid = list(_model_at(where[:-1]).model_fields)
        near = get_close_matches(str(where[-1]), valid, 1, 0.5)
        if near:
            return where, f"unknown key; nearest valid key is {near[0]!r}"
        return where, f"unknown key; valid keys are {', '.join(valid)}"
    if kind == "missing":
        if isinstance(where[-1], int):
            return where, f"expected {where[-1] + 1} values in this list, came fewer"
        description = _model_at(where[:-1]).model_fields[where[-1]].description or ""
        return where, f"required key is missing. {description}".rstrip()
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return where, f"expected {bound} values, came {_came(came)}"
    if kind == "value_error":
        return where, str(context.get("error", details["msg"]))
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        near = get_close_matches(str(came), re.findall(r"'([^']*)'", expected), 1)
        hint = f"; nearest valid value is {near[0]!r}" if near else ""
        return where, f"expected {expected}; came {_came(came)}{hint}"
    if kind == "finite_number":
        return where, f"expected a finite number, came {_came(came)}"
    if kind == "string_pattern_mismatch":
        return where, f"{_came(came)} does not have the right form: {_description_at(where)}"
    base = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    if base in _KINDS:
        quote = "; put it in quotes" if base == "string" and isinstance(came, int | float | bool) else ""
        return where, f"expected {_KINDS[base]}, came {_came(came)}{quote}"
    message = details["msg"]
    return where, f"{message[:1].lower()}{message[1:]}; came {_came(came)}"


def _came(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"text {short(value)}"
    return f"the number {short(value)}"


def _model_at(where: Where) -> type[BaseModel]:
    """The model class that a place in the file is described by."""
    model: type[BaseModel] = Bench
    for part in where:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _description_at(where: Where) -> str:
    names = [part for part in where if isinstance(part, str)]
    entry = _model_at(where[:-1]).model_fields.get(names[-1]) if names else None
    return (entry.description if entry else None) or "see docs/boards-yaml.md"


def _duplicates(bench: Bench, document: _Document) -> Iterator[tuple[Where, str]]:
    """Two boards with one id, or that would be found at one and the same place."""
    seen: dict[tuple[str, str], tuple[Where, Board]] = {}
    for index, board in enumerate(bench.boards):
        base: Where = ("boards", index)
        for key, value, where in _identifiers(board, base):
            if (key, value) not in seen:
                seen[key, value] = (where, board)
                continue
            first_where, first = seen[key, value]
            if key == "usb_serial" and _told_apart(first, board):
                continue
            line = document.line(first_where)
            yield where, f"{key} {short(value)} is also that of {spell(first_where)} in line {line}"


def _identifiers(board: Board, base: Where) -> Iterator[tuple[str, str, Where]]:
    yield "id", board.id, (*base, "id")
    for holder, part in (("identity", board.identity), ("virtual", board.virtual)):
        for key in ("usb_serial", "usb_location", "mac", "uid", "url", "port"):
            if value := getattr(part, key, None):
                yield key, value, (*base, holder, key)
    if board.identity and (lab := board.identity.labgrid) and lab.place:
        yield (
            "place",
            f"{lab.place} at {lab.coordinator}" if lab.coordinator else lab.place,
            (*base, "identity", "labgrid", "place"),
        )


def _told_apart(one: Board, other: Board) -> bool:
    """Whether the same USB serial is made unique by something else: adapters often share a factory serial."""
    if one.identity is None or other.identity is None:
        return False
    pairs = (
        (one.identity.vid_pid, other.identity.vid_pid),
        (one.identity.usb_location, other.identity.usb_location),
    )
    return any(a is not None and b is not None and a != b for a, b in pairs)


def file_problems(bench: Bench) -> Iterator[tuple[Where, str]]:
    """Firmware images that are missing, empty, or not what their SHA-256 says."""
    for index, board in enumerate(bench.boards):
        several = board.firmware is not None and board.firmware.images is not None
        for number, image in enumerate(board.images):
            base: Where = ("boards", index, "firmware", *(("images", number) if several else ()))
            if image.path.exists() and not image.path.is_file():
                yield (*base, "path"), f"firmware file {short_name(image.path)} is not a regular file"
                continue
            try:
                with image.path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                    empty = file.tell() == 0
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                yield (*base, "path"), f"firmware file {short_name(image.path)}: {reason}"
                continue
            if empty:
                yield (*base, "path"), f"firmware file {short_name(image.path)} is empty"
            elif image.sha256 and image.sha256 != sha256:
                yield (
                    (*base, "sha256"),
                    f"SHA-256 of {short_name(image.path)}: expected {image.sha256}, came {sha256}",
                )
