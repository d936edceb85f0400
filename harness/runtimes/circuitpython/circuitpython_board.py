"""A CircuitPython board over a serial session: the REPL of a MicroPython fork, and a supervisor around it.

CircuitPython runs ``code.py`` when the chip starts or at Ctrl-D, says so, waits for a key, and gives each run and each
REPL a VM of its own (CircuitPython ``main.c``). Programs run in the raw REPL, as on MicroPython; what only a code file
may do (deep sleep) or can tell (how it was started) goes through :meth:`CircuitPythonBoard.run_code`, as a file of the
harness's own that ``supervisor.set_next_code_file`` names, so that the board's ``code.py`` is left alone.

What the supervisor says is translated into the language that a build was made for (CircuitPython ``locale/``): nothing
here needs its words. They are taken from the board itself, from one run of a file whose output is known.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass

from harness.errors import BenchFault, FirmwareFailure, ProgramFailed, Refused
from harness.link.panics import BANNER, printable
from harness.link.session import Reason, Session
from harness.runtimes.abilities import OWN_FOLDER
from harness.runtimes.interface import LAST_RECORD, Intervention, Restart
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.micropython.raw_programs import EOF, GRACE
from harness.runtimes.micropython.raw_repl import RAW_PROMPT
from harness.runtimes.recorded import recorded_call
from harness.runtimes.traits import Means

#: The file in which a program runs that is to run as ``code.py`` does, in the harness's own folder.
CODE_FILE = f"{OWN_FOLDER}/hx_code.py"
#: Makes that folder.
MAKE_FOLDER = f"import os\ntry:\n os.mkdir({OWN_FOLDER!r})\nexcept OSError:\n pass"
_MOMENT = 0.1
#: Nothing for so long: the supervisor waits for a key, in seconds.
_SETTLED = 0.6
#: In English, so that a wait ends sooner; other languages are learned (:class:`_Words`).
PRESS_ANY_KEY = b"Press any key to enter the REPL. Use CTRL-D to reload."
#: What a status bar sends to a terminal's title, between any two lines (CircuitPython ``status_bar.c``).
_TITLE = re.compile(rb"\x1b\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)")
_NAME = rb"[\w./-]{1,60}\.(?:py|txt)"
_SAFE_MODE_BEGINS = b"You are in safe mode because:"
_SAFE_MODE = re.compile(rb"You are in safe mode because:\s+(.{1,400}?)\s+(?:Please file|Press reset)", re.DOTALL)
#: How much of what a start prints is kept, in bytes.
_KEPT = 4000
#: EROFS as CircuitPython prints it, and by the number that it has in the virtual boards' WASI build.
_READ_ONLY = re.compile(rb"OSError: (?:\[Errno 30\]|30\b|69\b)")
#: Prints the safe mode's name; also ends auto-reload, which would stop a program when a host writes to the drive.
#: ``autoreload`` and ``safe_mode_reason``: ``supervisor.Runtime`` since CircuitPython 8.
_ASK = """
import supervisor as _s
try:
    _s.runtime.autoreload = False
except AttributeError:
    getattr(_s, "disable_autoreload", int)()
print(str(getattr(_s.runtime, "safe_mode_reason", "NONE")).split(".")[-1])
del _s
"""


@dataclass(frozen=True)
class _Words:
    """What the supervisor says round a run, in the board's own language: lines without their ends.

    ``before`` and ``after`` stand round the name of the file in the line before its output.
    """

    soft_reboot: bytes
    before: bytes
    after: bytes
    done: bytes
    waits: bytes

    def begins(self, file: str) -> bytes:
        return self.before + file.encode() + self.after + b"\r\n"

    @property
    def ends(self) -> bytes:
        return b"\r\n" + self.done + b"\r\n"

    @property
    def waiting(self) -> bytes:
        return self.waits + b"\r\n"

    @property
    def header(self) -> re.Pattern[bytes]:
        """The line before a run's output."""
        return re.compile(rb"(?<![^\n])" + re.escape(self.before) + _NAME + re.escape(self.after) + rb"(?=\r\n)")

    @property
    def run(self) -> re.Pattern[bytes]:
        """A run; group 1: what it printed, group 2: how it ended."""
        ends = re.escape(self.done) + b"|" + re.escape(self.soft_reboot)
        return re.compile(self.header.pattern + rb"\r\n(.*?)\r\n(" + ends + rb")(?=\r\n)", re.DOTALL)


_ENGLISH = _Words(b"soft reboot", b"", b" output:", b"Code done running.", PRESS_ANY_KEY)


def safe_mode_text(text: bytes) -> str:
    """Why CircuitPython says that it is in safe mode, as one line; empty when it does not say so."""
    reason = _SAFE_MODE.search(text)
    return printable(b" ".join(reason[1].split())) if reason else ""


class CircuitPythonBoard(MicroPythonBoard):
    """Implements :class:`harness.runtimes.interface.BoardRuntime` and :class:`harness.runtimes.interface.CodeRuntime`.

    What is not here is as on MicroPython. A board that is found in safe mode is reset, and the failure says why it was
    there.
    """

    _started: tuple[bytes, ...] = (PRESS_ANY_KEY + b"\r\n", b">>> ", RAW_PROMPT)
    #: What the last start of the chip printed, as far as it was read here.
    _said = b""
    _words_learned: _Words | None = None

    def _check_crash(self, data: bytes) -> None:
        # In safe mode the VM answers all the same: :meth:`_entered` says so, and ends it.
        if _SAFE_MODE_BEGINS not in data:
            super()._check_crash(data)

    @property
    def _words(self) -> _Words:
        """Learned from the board when they are first needed. One that restarts in English is known."""
        if self._words_learned is None:
            self.soft_reset()
            self._words_learned = _ENGLISH if _ENGLISH.soft_reboot in self._restart_said else self._learn()
            self._started = (self._words_learned.waiting, *self._started)
        return self._words_learned

    def _learn(self) -> _Words:
        mark = b"hx%d" % self._random.randrange(10**8, 10**9)
        self._choose_code(f"print({mark.decode()!r})\n")
        self._to_friendly_prompt()
        self.session.write(EOF)
        read = self.session.read_until(mark + b"\r\n", idle=5.0, deadline=self._boot_timeout)
        if not read.ok:
            raise self._lost("the output of a code file", read)
        rest = self.session.read_until(idle=_SETTLED, deadline=GRACE, watch_panics=False).data
        first, *_, header = _lines(read.data.removesuffix(mark + b"\r\n")) or [b"", b""]
        before, found, after = header.partition(CODE_FILE.encode())
        said = _lines(rest)
        if not found or not before + after or len(said) < 2:
            raise BenchFault(
                "the board does not say where the output of a code file begins and ends; "
                f"came {printable(read.data + rest)!r}",
                hint="does something else write to its console?",
            )
        return _Words(first, before, after, said[0], said[-1])

    def _entered(self, heard: bytes) -> None:
        said, self._said = self._said, b""
        told = re.search(rb"^([A-Z][A-Z0-9_]{2,39})\r?$", self._run(_ASK).stdout, re.MULTILINE)
        name = told[1].decode("ascii", "replace") if told else ""
        if name in ("", "NONE"):
            return
        why = safe_mode_text(said) or safe_mode_text(heard)
        self.session.transcript.note(f"safe mode: {name}")
        self._leave_safe_mode()
        # A supply that dips is the bench's; all other reasons are the firmware's.
        raise (BenchFault if name == "BROWNOUT" else FirmwareFailure)(
            f"CircuitPython is in safe mode ({name[:40]}){': ' + why if why else ''}",
            hint="it has been reset, which ends safe mode; run again, and read the transcript before it",
        )

    def _leave_safe_mode(self) -> None:
        with contextlib.suppress(BenchFault, FirmwareFailure):
            if self._reset is not None:
                self._pulse_reset()
            else:
                self._send_program(b"import microcontroller; microcontroller.reset()")
            self.session.read_until(*self._started, idle=3.0, deadline=self._boot_timeout)
        self._in_hand = False

    # -- code files ------------------------------------------------------------------------------

    @recorded_call
    def run_code(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> tuple[bytes, ...]:
        self._start_code(source)
        words = self._words
        data = words.begins(CODE_FILE)
        if interrupt_at:
            read = self.session.read_until(interrupt_at, words.waiting, idle=timeout, deadline=timeout, of_program=True)
            data += read.data
            if read.matched == interrupt_at:
                # No timer of its own could tell when it sleeps: it is given a moment to get there.
                data += self.session.read_until(idle=_MOMENT, deadline=_MOMENT).data
                self.session.write(b"\x03")
            elif not read.ok:
                raise self._lost(f"{interrupt_at!r}", read)
        if not data.endswith(words.waiting):
            data += self._until_wait(timeout)
        return self._outputs(data)

    @recorded_call
    def reload(self, *, timeout: float = 30.0) -> tuple[bytes, ...]:
        """Ctrl-D at the friendly prompt: what each run of the code files prints until the board waits for a key."""
        self._words  # noqa: B018 - learned before
        self._to_friendly_prompt()
        self.session.write(EOF)
        return self._outputs(self._until_wait(timeout))

    @recorded_call
    def reload_while_waiting(self, *, timeout: float = 30.0) -> tuple[bytes, ...]:
        """The same while it waits for a key, as after :meth:`run_code`."""
        self._in_hand = False
        self.session.write(EOF)
        return self._outputs(self._until_wait(timeout))

    def _outputs(self, data: bytes) -> tuple[bytes, ...]:
        text = _TITLE.sub(b"", data)
        runs = list(self._words.run.finditer(text))
        begun = len(self._words.header.findall(text))
        if len(runs) < begun or any(run[2] != self._words.done for run in runs):
            raise BenchFault(
                "the program was stopped by auto-reload: something has written to the board's drive",
                hint="keep the host from writing to CIRCUITPY (editors, indexers) while boards are tested",
            )
        return tuple(run[1] for run in runs)

    def _to_friendly_prompt(self) -> None:
        self._take_in_hand()
        self._in_hand = False
        self.session.write(b"\x02")
        read = self.session.read_until(b">>> ", idle=GRACE, deadline=GRACE)
        if not read.ok:
            raise self._lost("its friendly prompt", read)

    def _choose_code(self, source: str) -> None:
        """Write a program to the file that is run next as ``code.py`` is."""
        self._run(MAKE_FOLDER)
        self.put(CODE_FILE, source.encode())
        error = self._run(f"import supervisor\nsupervisor.set_next_code_file({CODE_FILE!r})").stderr
        if error:
            raise ProgramFailed(
                f"no code file can be chosen: {printable(error[-200:])}",
                hint="supervisor.set_next_code_file is there since CircuitPython 7.0",
            )

    def _start_code(self, source: str) -> None:
        """Start a program as a code file: its output is what comes next."""
        words = self._words
        self._choose_code(source)
        self._to_friendly_prompt()
        self.session.write(EOF)
        start = words.begins(CODE_FILE)
        read = self.session.read_until(start, words.waiting, idle=5.0, deadline=self._boot_timeout)
        if read.matched == words.waiting:
            raise FirmwareFailure(f"the chosen code file was not run; came {printable(read.data[-300:])!r}")
        if not read.ok:
            raise self._lost(f"{start!r}", read)

    def _until_wait(self, timeout: float) -> bytes:
        """What comes until the board waits for a key. A program that goes on is stopped, and reported."""
        read = self.session.read_until(self._words.waiting, idle=timeout, deadline=timeout, of_program=True)
        if read.ok:
            return read.data
        if read.reason in (Reason.IDLE, Reason.DEADLINE) and read.panic is None:
            self.session.write(b"\x03\x03")
            tail = printable(read.data[-300:])
            raise FirmwareFailure(f"the code file did not end within {timeout:g} s; last output: {tail!r}")
        raise self._lost("the end of a code file", read)

    # -- ends of the chip's run ------------------------------------------------------------------

    def _run_to_reset(self, source: str, within: float, intervention: Intervention | None) -> Restart:
        with self.session.expecting_reset():
            self._start_code(source)
            output = self._until_last_record()
            ended = time.perf_counter()
            # A program that goes to sleep still says that it is done; one that resets the chip says nothing more.
            words = self._words
            tail = self.session.read_until(words.waiting, idle=0.25, deadline=GRACE, watch_panics=False)
            before, done, _ = _TITLE.sub(b"", tail.data).partition(words.ends)
            started = BANNER.search(before) is not None or words.run.search(tail.data) is not None
            if words.soft_reboot + b"\r\n" in tail.data:
                raise FirmwareFailure("the program restarted the VM, not the chip")
            if done and before.strip() and not started:  # it printed why it ended
                raise FirmwareFailure(f"the program did not reset the chip: {printable(tail.data[-400:])}")
            asleep = tail.ok and bool(done) and not started
            first = b"" if asleep else tail.data
            if asleep:
                ended = time.perf_counter()
            with self.session.expecting_disconnect(within=within):
                if not first:
                    read = self._first_of_start(intervention, within)
                    if read.reason is Reason.DEADLINE:
                        raise FirmwareFailure(f"the chip did not start again within {within:g} s")
                    first = read.data
            silent = time.perf_counter() - ended
            self.session.transcript.note(f"started again after {silent:.3f} s")
            boot = first
            if not first.endswith(words.waiting):
                boot += self._until_started(first)
        self._in_hand, self._said = False, boot
        self.enter()
        return Restart(output, silent, boot)

    def _until_last_record(self) -> bytes:
        output = b""
        for wanted in (LAST_RECORD, b"\x03\r\n"):
            read = self.session.read_until(wanted, self._words.ends, idle=30.0, deadline=30.0, of_program=True)
            output += read.data
            if read.matched == self._words.ends:
                raise FirmwareFailure(f"the program did not reset the chip: {printable(output[-400:])}")
            if not read.ok:
                raise self._lost("the program's last record", read)
        return output

    # -- files -----------------------------------------------------------------------------------

    @staticmethod
    def _refused(verb: str, path: str, error: bytes) -> Refused:
        if _READ_ONLY.search(error):
            return Refused(
                f"{path} cannot be {verb}: the filesystem is read-only for the board's own programs (OSError 30)",
                hint="the host has the drive CIRCUITPY: put `import storage; storage.disable_usb_drive()` into boot.py "
                "and reset; without a drive, storage.remount('/', readonly=False)",
            )
        return MicroPythonBoard._refused(verb, path, error)


def _lines(text: bytes) -> list[bytes]:
    return [line.strip() for line in _TITLE.sub(b"", text).splitlines() if line.strip()]


def client(session: Session, means: Means) -> CircuitPythonBoard:
    """See :class:`harness.runtimes.traits.ClientMaker`."""
    return CircuitPythonBoard(
        session,
        reset=means.reset,
        intervene=means.intervene,
        buffer=means.buffer,
        nonces=means.nonces,
        native_usb=means.native_usb,
    )
