"""What a first meeting with a real board can bring, each rehearsed on a virtual one: what the harness says then.

A situation is a function of a folder that returns the words. Nothing in it waits by the clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.boot_slot import unconfirmed_update
from harness.bench.checked_firmware import firmware_of
from harness.bench.doctor import Patient, examine
from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.ports_together import ports_together
from harness.errors import BenchFault, HarnessError
from harness.formats import esp_image
from harness.formats.esp_image import build_esp32
from harness.formats.partitions import build_table
from harness.inventory.discover import Port, find_port
from harness.inventory.load import load_bench
from harness.inventory.model import Board
from harness.link.ports import open_port
from harness.results.run_record import BoardRecord, Event, RunRecord
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware
from tests.bench.fake_machines import raspberry_pi
from tests.bench.test_boot_slot import BENCH as OTA_BENCH
from tests.bench.test_boot_slot import BOOT, ROWS, SECOND, application
from tests.bench.test_boot_slot import Flash as OtaFlash
from tests.running_boards import write_flash_file

#: A process that has a pseudo-terminal under a name that is not its own, until its input ends.
_HOLDER = """
import pathlib, sys, serial
pathlib.Path("/proc/self/comm").write_text(sys.argv[1])
port = serial.Serial(sys.argv[2], exclusive=True)
print("has it", flush=True)
sys.stdin.read()
"""
#: An ESP image's header, and where its SHA-256 covers it up to.
_HASH = 32


@dataclass(frozen=True)
class Situation:
    """``slug`` names it in tests, ``title`` for people; ``rehearse`` returns what the harness says."""

    slug: str
    title: str
    rehearse: Callable[[Path], str]


SITUATIONS: dict[str, Situation] = {}


def _situation(title: str) -> Callable[[Callable[[Path], str]], Callable[[Path], str]]:
    def add(rehearse: Callable[[Path], str]) -> Callable[[Path], str]:
        slug = rehearse.__name__.replace("_", "-")
        SITUATIONS[slug] = Situation(slug, title, rehearse)
        return rehearse

    return add


def plain(words: str) -> str:
    """``words`` without what is another at each run: addresses, process ids, and what the board itself said."""
    words = re.sub(r"rfc2217://127\.0\.0\.1:\d+|/dev/pts/\d+", "PORT", words)
    words = re.sub(r"\(process \d+\)", "(process 812)", words)
    words = re.sub(r"(does not start \([a-z -]+\): )[^\n]*", r"\1…", words)
    words = re.sub(r"(?<=[( ])'[^'\n]{60,}'(?=[),;\n]|$)|(?<=at 74880 baud: )'[^'\n]*'", "'…'", words)
    words = re.sub(r"\(\d+ bytes\)", "(… bytes)", words)
    return re.sub(r"usermod -aG \S+ \S+,", "usermod -aG dialout lab,", words)


# -- how a board is met ------------------------------------------------------------------------------


def _board(chip: str = "esp32", *traits: str, **entry: object) -> Board:
    virtual = {"pace": "fast", "faults": [{"kind": kind} for kind in traits], **_taken(entry, "virtual")}
    usual = {"id": "b", "chip": chip, "runtime": "micropython", "firmware": {"build": "virtual"}, "virtual": virtual}
    return Board.model_validate({**usual, **entry})


def _taken(entry: dict[str, object], key: str) -> dict[str, object]:
    value = entry.pop(key, {})
    assert isinstance(value, dict)
    return value


def _met(board: Board, folder: Path, *, flash: bool = True) -> str:
    """What is said of a board that cannot be made ready."""
    try:
        attach(board, Options(folder, flash=flash), lambda *_: None).close()
    except HarnessError as problem:
        return str(problem)
    raise AssertionError("it was made ready")


@contextmanager
def _on_the_desk(folder: Path, *traits: str, chip: str = "esp32") -> Iterator[tuple[RunningBoard, Board]]:
    """A board that runs already, with its firmware, and an entry that finds it by its port."""
    spec = VirtualSpec("v", chip, str(folder / "v"), pace="fast", faults=tuple({"kind": kind} for kind in traits))
    write_flash_file(spec, 0x1000 if chip == "esp32" else 0, build_firmware(chip))
    with start(spec) as running:
        yield running, _entry(folder, f'url: "{running.url}"', chip)


def _entry(folder: Path, identity: str, chip: str = "esp32") -> Board:
    file = folder / "boards.yaml"
    entry = f"id: b, chip: {chip}, runtime: micropython, identity: {{{identity}}}, flash: {{method: none}}"
    file.write_text(f"boards:\n  - {{{entry}}}\n")
    return load_bench(file).boards[0]


def _with_image(folder: Path, image: bytes, **entry: object) -> Board:
    (folder / "firmware.bin").write_bytes(image)
    board = {"id": "b", "chip": "esp32", "runtime": "micropython", "firmware": {"path": "firmware.bin"}}
    virtual = {"pace": "fast", **_taken(entry, "virtual")}
    (folder / "boards.yaml").write_text(json.dumps({"boards": [{**board, "virtual": virtual, **entry}]}))
    return load_bench(folder / "boards.yaml").boards[0]


def with_header(image: bytes, *, mode: int, fast: bool) -> bytes:
    """The same firmware for a flash in another ``mode`` (0 is qio, 2 dio) and at 80 MHz when ``fast``: the boot
    loader's header and its hash."""
    length = esp_image.parse(image).length
    changed = bytearray(image)
    changed[2], changed[3] = mode, changed[3] & 0xF0 | (0xF if fast else 0)
    body = bytes(changed[: length - _HASH])
    return body + hashlib.sha256(body).digest() + bytes(changed[length:])


# -- reset lines and straps --------------------------------------------------------------------------


@_situation("An adapter without auto-reset; boards.yaml does not say so")
def no_auto_reset(folder: Path) -> str:
    return _met(_board("esp32", "lines-stuck", flash={"connect_attempts": 1}), folder)


@_situation("The same with `flash: {before: manual}`, in a job without a terminal: it is said at once")
def nobody_at_a_terminal(folder: Path) -> str:
    return _met(_board("esp32", "lines-stuck", flash={"before": "manual"}, reset={"method": "none"}), folder)


@_situation("The same at a terminal: it asks, waits for both buttons, and goes on")
def asked_for_its_buttons(folder: Path) -> str:
    board = _board("esp32", "lines-stuck", flash={"before": "manual"}, reset={"method": "none"})
    asked = []

    def person(step: str, _done: int, _total: int) -> None:
        if "press EN" in step and step not in asked:
            asked.append(step)
            injector = attached.device.injector
            assert isinstance(injector, RunningBoard)
            injector.press_reset(boot="hold BOOT" in step)

    attached = AttachedBoard(board, Options(folder, attended=True), person)
    try:
        attached.make_ready()
        assert attached.flashed is not None and attached.flashed.written and attached.flashed.by_hand
    finally:
        attached.close()
    return "\n".join(asked)


@_situation("RTS resets the chip, DTR does not reach its boot strap")
def dtr_not_wired(folder: Path) -> str:
    return _met(_board("esp32", "strap-high", flash={"connect_attempts": 1}), folder)


@_situation("The boot strap is held low: the chip sits in download mode after it was written")
def strap_low(folder: Path) -> str:
    return _met(_board("esp32", "strap-low"), folder)


@_situation("The same on an ESP8266, whose ROM speaks at 74880 baud")
def strap_low_on_an_esp8266(folder: Path) -> str:
    return _met(_board("esp8266", "strap-low"), folder)


@_situation("A port behind which nothing answers (no power, another port, TX and RX crossed)")
def nothing_answers(folder: Path) -> str:
    spec = VirtualSpec("v", "esp32", str(folder / "v"), app="echo")
    with start(spec) as running:
        running.power(on=False)
        entry = f"id: b, chip: esp32, runtime: micropython, identity: {{url: {json.dumps(running.url)}}}"
        rest = "flash: {connect_attempts: 1}, firmware: {path: firmware.bin}"
        (folder / "firmware.bin").write_bytes(build_firmware("esp32"))
        (folder / "boards.yaml").write_text(f"boards:\n  - {{{entry}, {rest}}}\n")
        return _met(load_bench(folder / "boards.yaml").boards[0], folder)


# -- supply and USB ------------------------------------------------------------------------------------


@_situation("A port too weak for the chip's start: it browns out again and again")
def brown_out_loop(folder: Path) -> str:
    with _on_the_desk(folder, "brown-out-loop") as (_, board):
        return _met(board, folder)


@_situation("A USB hub that resets: all ports go and come back (at the end of the run)")
def hub_resets(folder: Path) -> str:
    events: dict[str, list[Event]] = {"left": [], "right": []}
    with ExitStack() as stack:
        boards = {}
        for name, told in events.items():
            at = iter((100.0, 100.5))  # what a clock would say

            def tell(kind: str, text: str, told: list[Event] = told, at: Iterator[float] = at) -> None:
                if kind == "reopened":
                    told.append(Event(kind, text, next(at)))

            boards[name] = attach(_board(id=name), Options(folder), lambda *_: None, tell)
            stack.callback(boards[name].close)
        for board in boards.values():
            injector = board.device.injector
            assert injector is not None
            injector.fault(kind="vanish", direction="to-board", seconds=0.2)
        for board in boards.values():
            try:
                for _ in range(1000):  # the port goes on a thread of its own
                    board.runtime.run("print(1)")
            except HarnessError as problem:
                board.recover(problem.message)
    record = [BoardRecord(name, "esp32", FirmwareRecord("", "", ""), events=tuple(events[name])) for name in events]
    (words,) = ports_together(RunRecord(1, 0.0, 1.0, "harness run", tuple(record)))
    return words


@_situation("ModemManager has the port")
def port_of_modem_manager(folder: Path) -> str:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, "ModemManager", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"has it\n"
        return _said_by(lambda: open_port(name))
    finally:
        holder.communicate()
        os.close(master)
        os.close(slave)


@_situation("ModemManager runs, and the board's adapter is open to it (`harness doctor`)")
def modem_manager_runs(folder: Path) -> str:
    tree = raspberry_pi(folder)
    tree.process(812, "ModemManager")
    (finding,) = (f for f in examine(Patient(tree.machine, None, folder, "lab")) if f.check == "ModemManager")
    return f"{finding.severity}: {finding.what}\n  try: {finding.fix}"


@_situation("You may not open the port")
def no_permission(folder: Path) -> str:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    user, group = os.geteuid(), os.getegid()
    os.chown(name, -1, 20 if user == 0 else group)
    Path(name).chmod(0o060)
    try:
        if user == 0:  # which may open everything
            os.setegid(65534)
            os.seteuid(65534)
        with mock.patch("pwd.getpwuid", lambda _: mock.Mock(pw_name="lab")):
            return _said_by(lambda: open_port(name))
    finally:
        if user == 0:
            os.seteuid(user)
            os.setegid(group)
        os.close(master)
        os.close(slave)


@_situation("Two adapters with one serial number")
def two_with_one_serial(folder: Path) -> str:
    ports = [Port(f"/dev/ttyUSB{n}", "0001", f"1-1.{n + 2}", "10c4:ea60", "CP2102") for n in range(2)]
    with mock.patch("harness.inventory.discover.list_ports", lambda: ports):
        return _said_by(lambda: find_port(_entry(folder, 'usb_serial: "0001", vid_pid: "10c4:ea60"')))


def _said_by(act: Callable[[], object]) -> str:
    try:
        act()
    except BenchFault as problem:
        return str(problem)
    raise AssertionError("nothing was said")


# -- what is in the flash ------------------------------------------------------------------------------


@_situation("In the middle of an OTA update: otadata points to the other slot, which holds another build")
def other_slot(folder: Path) -> str:
    spec = VirtualSpec("v", "esp32", str(folder / "virtual"), app="echo")
    content = OtaFlash({0x11000: SECOND, 0x120000: application("old")}).content
    write_flash_file(spec, 0, bytes(content))
    for name, data in {"boot": BOOT, "table": build_table(ROWS, 0x10000), "app": application("new")}.items():
        (folder / f"{name}.bin").write_bytes(data)
    with start(spec) as running:
        (folder / "boards.yaml").write_text(OTA_BENCH.format(url=running.url, table=0x10000))
        return _met(load_bench(folder / "boards.yaml").boards[0], folder)


@_situation("The slot that starts waits for its confirmation (pending verify; a warning beside the write)")
def pending_verify(folder: Path) -> str:
    pending = bytearray(SECOND)
    pending[24:28] = (1).to_bytes(4, "little")
    flash = OtaFlash({0x10000: build_table(ROWS, 0x10000), 0x11000: bytes(pending), 0x120000: application("new")})
    return unconfirmed_update(flash, [])


@_situation("The image's header asks for quad mode (qio), and this flash has two lines")
def wrong_flash_mode(folder: Path) -> str:
    image = with_header(build_firmware("esp32"), mode=0, fast=False)
    return _met(_with_image(folder, image, virtual={"faults": [{"kind": "no-quad-flash"}]}), folder)


@_situation("The image's header asks for 80 MHz, and this flash does not follow")
def wrong_flash_frequency(folder: Path) -> str:
    image = with_header(build_firmware("esp32"), mode=2, fast=True)
    return _met(_with_image(folder, image, virtual={"faults": [{"kind": "slow-flash"}]}), folder)


@_situation("A chip that was never written, tested with `--no-flash`")
def blank_flash(folder: Path) -> str:
    return _met(_board("esp32"), folder, flash=False)


@_situation("Firmware for octal flash on a module with quad flash")
def octal_firmware(folder: Path) -> str:
    return _met(_board("esp32", "octal-build"), folder)


@_situation("Firmware that needs PSRAM, on a module without")
def psram_missing(folder: Path) -> str:
    return _met(_board("esp32", "no-psram-abort"), folder)


@_situation("MicroPython's SPIRAM variant on a module without: it runs (event `start`)")
def psram_not_found(folder: Path) -> str:
    told: list[str] = []
    board = _board("esp32", "no-psram")
    attach(board, Options(folder), lambda *_: None, lambda kind, text: told.append(f"{kind}: {text}")).close()
    (words,) = told
    return words


# -- another chip ---------------------------------------------------------------------------------------


@_situation("Firmware for an ESP32-S3, an entry for an ESP32")
def firmware_of_an_s3(folder: Path) -> str:
    image = build_esp32([(0x4037_4000, bytes(64))], entry=0x4037_4000, chip_id=9)
    try:
        firmware_of(_with_image(folder, image), None, lambda *_: None)
    except HarnessError as problem:
        return str(problem)
    raise AssertionError("it was taken")


@_situation("An entry (and firmware) for an ESP32-C3, an ESP32 at the port")
def another_chip(folder: Path) -> str:
    image = build_esp32([(0x4037_4000, bytes(64))], entry=0x4037_4000, chip_id=5)
    (folder / "c3.bin").write_bytes(image)
    with start(VirtualSpec("v", "esp32", str(folder / "v"), app="echo")) as running:
        (folder / "boards.yaml").write_text(
            f'boards:\n  - {{id: b, chip: esp32c3, runtime: micropython, identity: {{url: "{running.url}"}},\n'
            "     firmware: {path: c3.bin}}\n"
        )
        return _met(load_bench(folder / "boards.yaml").boards[0], folder)


@_situation("Firmware for another revision of the chip")
def another_revision(folder: Path) -> str:
    image = build_esp32([(0x4008_0400, bytes(64))], entry=0x4008_0400, revisions=(300, 399))
    return _met(_with_image(folder, image, virtual={"revision": "v1.0"}), folder)


@_situation("A chip that encrypts its flash: nothing is written")
def encrypted_flash(folder: Path) -> str:
    said = _met(_board("esp32", virtual={"fuses": ["flash-encryption"]}), folder)
    assert (folder / "virtual" / "b.flash").read_bytes() == b"\xff" * (4 << 20)
    return said


@_situation("A 26 MHz crystal under firmware for 40 MHz: the console is at 115200 * 26 / 40 baud")
def another_crystal(folder: Path) -> str:
    return _met(_board("esp32", "slow-crystal"), folder)
