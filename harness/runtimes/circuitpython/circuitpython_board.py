"""A CircuitPython board over a serial session: the REPL of a MicroPython fork, and a supervisor around it.

CircuitPython runs ``code.py`` when the chip starts or at Ctrl-D, says so, waits for a key, and gives each run and each
REPL a VM of its own (CircuitPython ``main.c``). Programs run in the raw REPL, as on MicroPython; what only a code file
may do (deep sleep) or can tell (how it was started) goes through :meth:`CircuitPythonBoard.run_code`, as a file of the
harness's own that ``supervisor.set_next_code_file`` names, so that the board's ``code.py`` is left alone.
"""

from __future__ import annotations

import contextlib
import re
import time

from harness.errors import BenchFault, FirmwareFailure, Refused
from harness.link.panics import printable
from harness.link.session import Read, Reason, Session
from harness.runtimes.interface import LAST_RECORD, Intervention, Restart
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.micropython.raw_repl import EOF, GRACE, RAW_PROMPT
from harness.runtimes.recorded import recorded_call
from harness.runtimes.traits import Means

#: The file in which a program runs that is to run as ``code.py`` does.
CODE_FILE = "hx_code.py"
_MOMENT = 0.1
PRESS_ANY_KEY = b"Press any key to enter the REPL. Use CTRL-D to reload."
_WAITS = PRESS_ANY_KEY + b"\r\n"
_DONE = b"\r\nCode done running.\r\n"
#: How a start says whether auto-reload is on: the first text of CircuitPython's own.
_STATUS = b"Auto-reload is o"
_AUTO_RELOADED = b"Code stopped by auto-reload. Reloading soon."
_OUTPUT = b" output:\r\n"
_RUN = re.compile(rb" output:\r\n(.*?)\r\nCode (?:done running|stopped by auto-reload)\b", re.DOTALL)
_SAFE_MODE_BEGINS = b"You are in safe mode because:"
_SAFE_MODE = re.compile(rb"You are in safe mode because:\s+(.{1,400}?)\s+(?:Please file|Press reset)", re.DOTALL)
_SAFE_MODE_TEXT = re.compile(rb"You are in safe mode|CircuitPython core code crashed")
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
print("hx-mode " + str(getattr(_s.runtime, "safe_mode_reason", "NONE")).split(".")[-1])
del _s
"""


def safe_mode_text(text: bytes) -> str:
    """Why CircuitPython says that it is in safe mode, as one line; empty when it does not say so."""
    reason = _SAFE_MODE.search(text)
    return printable(b" ".join(reason[1].split())) if reason else ""


class CircuitPythonBoard(MicroPythonBoard):
    """Implements :class:`harness.runtimes.interface.BoardRuntime` and :class:`harness.runtimes.interface.CodeRuntime`.

    What is not here is as on MicroPython. A board that is found in safe mode is reset, and the failure says why it was
    there.
    """

    _started = (_WAITS, b">>> ", RAW_PROMPT)
    #: What the last start of the chip printed, as far as it was read here.
    _said = b""

    def _check_panic(self, read: Read) -> None:
        # In safe mode the VM answers all the same: :meth:`_entered` says so, and ends it.
        self._said = (self._said + read.data)[-_KEPT:]
        if read.panic is None or not (
            _SAFE_MODE_TEXT.search(read.panic.text.encode()) or _SAFE_MODE_BEGINS in read.data
        ):
            super()._check_panic(read)

    def _entered(self, heard: bytes) -> None:
        said, self._said = self._said, b""
        told = re.search(rb"hx-mode (\w{1,40})", self._run(_ASK).stdout)
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
        data = _OUTPUT
        if interrupt_at:
            read = self.session.read_until(interrupt_at, _WAITS, idle=timeout, deadline=timeout)
            data += read.data
            if read.matched == interrupt_at:
                # No timer of its own could tell when it sleeps: it is given a moment to get there.
                data += self.session.read_until(idle=_MOMENT, deadline=_MOMENT).data
                self.session.write(b"\x03")
            elif not read.ok:
                raise self._lost(f"{interrupt_at!r}", read)
        if not data.endswith(_WAITS):
            data += self._until_wait(timeout)
        return self._outputs(data)

    @recorded_call
    def reload(self, *, timeout: float = 30.0) -> tuple[bytes, ...]:
        """Ctrl-D at the friendly prompt: what each run of the code files prints until the board waits for a key."""
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
        if _AUTO_RELOADED in data:
            raise BenchFault(
                "the program was stopped by auto-reload: something has written to the board's drive",
                hint="keep the host from writing to CIRCUITPY (editors, indexers) while boards are tested",
            )
        return tuple(run[1] for run in _RUN.finditer(data))

    def _to_friendly_prompt(self) -> None:
        self._take_in_hand()
        self._in_hand = False
        self.session.write(b"\x02")
        read = self.session.read_until(b">>> ", idle=GRACE, deadline=GRACE)
        if not read.ok:
            raise self._lost("its friendly prompt", read)

    def _start_code(self, source: str) -> None:
        """Start a program as a code file: its output is what comes next."""
        self.put(CODE_FILE, source.encode())
        error = self._run(f"import supervisor\nsupervisor.set_next_code_file({CODE_FILE!r})").stderr
        if error:
            raise FirmwareFailure(
                f"no code file can be chosen: {printable(error[-200:])}",
                hint="supervisor.set_next_code_file is there since CircuitPython 7.0",
            )
        self._to_friendly_prompt()
        self.session.write(EOF)
        start = CODE_FILE.encode() + _OUTPUT
        read = self.session.read_until(start, _WAITS, idle=5.0, deadline=self._boot_timeout)
        if read.matched == _WAITS:
            raise FirmwareFailure(f"the chosen code file was not run; came {printable(read.data[-300:])!r}")
        if not read.ok:
            raise self._lost(f"{start!r}", read)

    def _until_wait(self, timeout: float) -> bytes:
        """What comes until the board waits for a key. A program that goes on is stopped, and reported."""
        read = self.session.read_until(_WAITS, idle=timeout, deadline=timeout)
        if read.ok:
            return read.data
        if read.reason in (Reason.IDLE, Reason.DEADLINE):
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
            tail = self.session.read_until(_WAITS, idle=0.25, deadline=GRACE)
            if b"Traceback" in tail.data.partition(_DONE)[0]:
                raise FirmwareFailure(f"the program did not reset the chip: {printable(tail.data[-400:])}")
            if b"soft reboot" in tail.data:
                raise FirmwareFailure("the program restarted the VM, not the chip")
            asleep = tail.ok and _STATUS not in tail.data
            first = b"" if asleep else tail.data
            if asleep:
                ended = time.perf_counter()
            with self.session.expecting_disconnect(within=within):
                if not first:
                    read = self.session.read_exactly(1, deadline=within if intervention is None else intervention.after)
                    if read.reason is Reason.DEADLINE and intervention is not None:
                        self._intervene(intervention)
                        read = self.session.read_exactly(1, deadline=within)
                    if read.reason is Reason.DEADLINE:
                        raise FirmwareFailure(f"the chip did not start again within {within:g} s")
                    first = read.data
            silent = time.perf_counter() - ended
            self.session.transcript.note(f"started again after {silent:.3f} s")
            boot = first
            if not first.endswith(_WAITS):
                rest = self.session.read_until(*self._started, idle=3.0, deadline=self._boot_timeout)
                self._check_panic(rest)
                boot += rest.data
        self._in_hand, self._said = False, boot
        self.enter()
        return Restart(output, silent, boot)

    def _until_last_record(self) -> bytes:
        output = b""
        for wanted in (LAST_RECORD, b"\x03\r\n"):
            read = self.session.read_until(wanted, _DONE, idle=30.0, deadline=30.0)
            output += read.data
            if read.matched == _DONE:
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
