"""A board-side program with its inputs: loaded from ``fixtures/programs/``, run the same everywhere."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from harness.errors import BenchFault, ProgramFailed, UsageError
from harness.paths import fixtures_dir, shown_path
from harness.runtimes.interface import ChipRuntime, Intervention, Restart, Runtime
from harness.runtimes.pieces import parts_of
from harness.runtimes.records import Decoded, decode, drawn_number
from harness.runtimes.traits import Language, traits_of_vm

_HARNESS = Path(__file__).resolve().parents[1]
#: How a program begins that proves by what it prints that it arrived whole: it is never wrapped in another that does.
PROVES_ITSELF = "#proof\n"


@dataclass(frozen=True)
class Program:
    """``inputs`` are plain JSON values; the program finds them in its global ``INPUT``.

    ``file`` is where it was loaded from, and ``ahead`` how many lines of ``source`` stand before that file's.
    """

    name: str
    source: str
    inputs: Mapping[str, object] = field(default_factory=dict)
    language: Language = "python"
    file: Path | None = None
    ahead: int = 0

    @classmethod
    def load(cls, name: str, *, using: str = "", **inputs: object) -> Program:
        """The program ``<name>.py`` beside the suite that asks for it (or in its folder ``programs``), else the one in
        ``fixtures/programs/``; after the piece ``fixtures/agent/<using>.py`` that it builds on.

        Raises UsageError when there is none.
        """
        file = find_program(name, sys._getframe(1).f_globals.get("__file__"))
        piece = cls.piece(using)
        return cls(name, f"{piece}{_read(file)}", inputs, file=file, ahead=piece.count("\n"))

    @staticmethod
    def piece(name: str) -> str:
        """The source of ``fixtures/agent/<name>.py``; nothing for no name."""
        return _read(fixtures_dir() / "agent" / f"{name}.py") + "\n" if name else ""

    @classmethod
    def load_lua(cls, name: str, **inputs: object) -> Program:
        """The program ``fixtures/lua/<name>.lua``. Raises UsageError when there is none."""
        file = fixtures_dir() / "lua" / f"{name}.lua"
        if not file.is_file():
            near = get_close_matches(name, sorted(path.stem for path in file.parent.glob("*.lua")), n=3)
            raise UsageError(f"there is no program {file.name!a} in fixtures/lua", hint=" or ".join(near))
        return cls(name, _read(file), inputs, "lua", file)

    @staticmethod
    def module(name: str) -> bytes:
        """The source of ``fixtures/modules/<name>.py``."""
        return _read(fixtures_dir() / "modules" / f"{name}.py").encode()

    def run(
        self, runtime: Runtime, *, timeout: float = 60.0, interrupt_at: bytes = b"", drawn: int | None = None
    ) -> Decoded:
        """Send the agent and the inputs (unless the program does without), then the program; decode its records.

        It gets a Ctrl-C as soon as its output contains ``interrupt_at``. ``drawn`` is for the same run again, to the
        last instruction: the number that its records are counted from otherwise is another each time. Raises
        FirmwareFailure when it ended with a traceback, BenchFault when records are missing or damaged.
        """
        first = (drawn_number() if drawn is None else drawn) if self._is_numbered else 0
        for part, text in self._preparations(runtime, first):
            self._checked(part, runtime.run(text, timeout=timeout).stderr)
        output = b""
        source = _numbered(self.source, first)
        parts = [source] if self.language == "lua" else self._parts(source, runtime)
        for text in parts:
            due = b"" if interrupt_at in output else interrupt_at
            result = runtime.run(text, timeout=timeout, interrupt_at=due)
            output += result.stdout
            self._checked(f"program {self.name}", result.stderr, of_suite=True)
        return decode(output, first)

    def texts(self) -> list[str]:
        """What is sent to a Lua board for it, in order: what of these texts stays in RAM is there while it measures."""
        return [*(text for _, text in self._lua_preparations(0)), self.source]

    @property
    def _is_numbered(self) -> bool:
        """Whether its records are counted from what it is given: by the agent, or in its line ``HX_FIRST = 0``."""
        return "agent." in self.source or _numbered(self.source, 1) != self.source

    def _parts(self, source: str, runtime: Runtime) -> list[str]:
        try:
            return parts_of(source, runtime.facts)
        except SyntaxError as problem:
            raise UsageError(f"{self.place(problem.lineno or 0)}: SyntaxError: {problem.msg}") from None

    def run_to_reset(
        self, runtime: ChipRuntime, *, within: float = 30.0, intervention: Intervention | None = None
    ) -> tuple[Decoded, Restart]:
        """The same for a program that resets the chip or lets it sleep; see :class:`Runtime`."""
        first = drawn_number() if self._is_numbered else 0
        source = _numbered(self.source, first)
        traits = traits_of_vm(runtime.facts.name)
        if traits is not None and traits.resets_from_code_file:
            source = self.whole(first)
        else:
            for part, text in self._preparations(runtime, first):
                self._checked(part, runtime.run(text).stderr)
        restart = runtime.run_to_reset(source, within=within, intervention=intervention)
        return decode(restart.stdout, first), restart

    def place(self, line: int = 0) -> str:
        """``line`` of :attr:`source` (0: unknown) in words: ``file:line``, or the program's name and the line."""
        line = max(0, line - self.ahead)
        if self.file is None:
            return f"program {self.name!a}, line {line}" if line else f"program {self.name!a}"
        return f"{shown_path(self.file)}:{line}" if line else shown_path(self.file)

    def whole(self, first: int = 0) -> str:
        """Agent, inputs and program in one, for a VM that starts with nothing (a code file); its records are counted
        from ``first``."""
        source = _numbered(self.source, first)
        return f"{self._prelude(first)}{source}" if "agent." in source else source

    def _prelude(self, first: int) -> str:
        return f"{agent_source()}\nagent.first = agent.seq = {first}\nINPUT = {_literal(self.inputs)}\n"

    def _preparations(self, runtime: Runtime, first: int) -> list[tuple[str, str]]:
        if "agent." not in self.source:
            return []
        if self.language == "lua":
            return self._lua_preparations(first)
        parts = parts_of(self._prelude(first), runtime.facts, user=self.source)
        return [("the measuring agent", text) for text in parts]

    def _lua_preparations(self, first: int) -> list[tuple[str, str]]:
        agent = _read(fixtures_dir() / "agent" / "agent.lua")
        count = f"agent.first, agent.seq = {first}, {first}"
        return [("the measuring agent", f"INPUT = {_lua_literal(self.inputs)}\n{agent}\n{count}")]

    @staticmethod
    def _checked(part: str, stderr: bytes, *, of_suite: bool = False) -> None:
        if stderr:
            trace = "\n".join(stderr.decode("utf-8", "backslashreplace").strip().splitlines())
            last = last_line(trace)[:200] or "a traceback without text"
            raise ProgramFailed(f"{part} ended with {last!r}\n{trace[-2000:]}", trace=trace if of_suite else "")


def last_line(trace: str) -> str:
    """The last line of a traceback, which says what was wrong."""
    return (trace.splitlines() or [""])[-1].strip()


_FIRST = re.compile(r"^(local )?HX_FIRST = 0$", re.MULTILINE)


def _numbered(source: str, first: int) -> str:
    """``source`` with ``first`` in its line ``HX_FIRST = 0``: a program that prints its records itself may have one."""
    return _FIRST.sub(rf"\g<1>HX_FIRST = {first}", source)


_ASK = """{first}
HX_FIRST = 0
from binascii import crc32
def _hq(text):
    text = "".join(["%%%02X" % byte for byte in bytes(text, "utf-8")])
    for body in ("%d|state|answer|-|%s" % (HX_FIRST, text), "%d|end|-|-|1" % (HX_FIRST + 1)):
        print("\\x02%s|%08x\\x03" % (body, crc32(bytes(body, "utf-8")) & 0xFFFFFFFF))
_hq(str({expression}))
del _hq, HX_FIRST
"""


def ask(runtime: Runtime, expression: str, *, first: str = "") -> str:
    """The value of a Python expression as text, which comes in a record; ``first`` is executed before.

    Raises ProgramFailed when it is an error, BenchFault when the answer arrives damaged.
    """
    answered = Program("question", _ASK.format(first=first, expression=expression)).run(runtime)
    if "answer" not in answered:
        raise BenchFault(f"the board did not answer what {expression[:80]} is")
    return answered.text("answer")


def agent_source() -> str:
    return _read(fixtures_dir() / "agent" / "agent.py")


def read_program(program: Path, folder: str) -> tuple[str, bool]:
    """The text of a program that a user names, by path or by its name in ``fixtures/<folder>/``; whether it is ours.

    Raises UsageError when it cannot be read.
    """
    own = fixtures_dir() / folder
    named = own / f"{program.name.removesuffix('.py')}.py"
    path = named if not program.exists() and named.exists() else program
    try:
        return path.read_text("utf-8"), path.resolve().parent == own.resolve()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"program {str(program)!r} cannot be read: {reason}", hint="give the path of a .py file"
        ) from None


def find_program(name: str, caller: str | None) -> Path:
    """Where the program ``name`` is: beside the suite ``caller``, in its folder ``programs``, or among those of the
    harness. Raises UsageError with the nearest names when there is none."""
    file = f"{name}.py"
    own: list[Path] = []
    if caller is not None and not Path(caller).is_relative_to(_HARNESS):  # there, modules stand beside modules
        own = [Path(caller).parent, Path(caller).parent / "programs"]
    places = [*own, fixtures_dir() / "programs"]
    for place in places:
        if (place / file).is_file():
            return place / file
    beside = own[0].glob("[!_]*.py") if own else ()
    names = {path.stem for path in beside if not path.stem.startswith(("test_", "conftest"))}
    names |= {path.stem for place in places[len(own[:1]) :] for path in place.glob("*.py")}
    near = get_close_matches(name, sorted(names), n=3)
    meant = f"{' or '.join(near)}? " if near else ""
    where = f"looked beside {Path(caller).name}, in its folder 'programs'" if own and caller else "looked"
    raise UsageError(f"there is no program {file!a}", hint=f"{meant}{where} and in fixtures/programs of the harness")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as problem:
        raise UsageError(f"cannot read {path.name}: {problem.strerror}", hint="see fixtures/programs/") from None


def _literal(inputs: Mapping[str, object]) -> str:
    """``inputs`` as a literal that Python and MicroPython read alike. Raises UsageError for other types."""
    try:
        checked = json.loads(json.dumps(dict(inputs)))
    except (TypeError, ValueError) as problem:
        raise UsageError(f"program inputs must be plain JSON values: {problem}") from None
    return repr(checked)


def _lua_literal(value: object) -> str:
    """``value`` as a Lua expression. Raises UsageError for other types than JSON's."""
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else _lua_bytes(c) for c in value)
            + '"'
        )
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{_lua_literal(str(k))}] = {_lua_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "{" + ", ".join(map(_lua_literal, value)) + "}"
    raise UsageError(f"program inputs must be plain JSON values, came a {type(value).__name__}")


def _lua_bytes(character: str) -> str:
    return "".join(f"\\{byte:03d}" for byte in character.encode())
