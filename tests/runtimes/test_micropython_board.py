"""The raw REPL client against boards that behave well and boards that do not."""

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import BenchFault, FirmwareFailure
from harness.formats.virtual_image import flash_offset
from harness.link.ports import open_port
from harness.link.session import Session
from harness.power.reset import HardReset
from harness.reference.guest_rom import OWN_CODE
from harness.runtimes.interface import Runtime
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.board_repl import Repl, SoftReset
from tests.running_boards import CHIPS, write_flash_file


@pytest.fixture(scope="module", params=CHIPS)
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, firmware_files: dict[str, Path]
) -> Iterator[RunningBoard]:
    """One virtual board of each kind for all tests here; each test starts with a hard reset."""
    chip = request.param
    spec = VirtualSpec(f"m{chip}", chip, str(tmp_path_factory.mktemp("machine")))
    write_flash_file(spec, flash_offset(chip), firmware_files[chip].read_bytes())
    with start(spec) as running:
        yield running


@pytest.fixture
def board(machine: RunningBoard) -> Iterator[MicroPythonBoard]:
    port = open_port(machine.url)
    made = MicroPythonBoard(Session(port), reset=lambda: HardReset()(port))
    made.hard_reset()
    yield made
    made.close()


def test_it_is_a_runtime_and_knows_its_board(board: MicroPythonBoard) -> None:
    assert isinstance(board, Runtime)
    facts = board.facts
    # The port's heap (57344 bytes on esp32, 38912 on esp8266) and what the firmware's own modules take of it.
    assert facts.heap_total in [64 * (8 * (heap + OWN_CODE - 1) // 524) for heap in (57344, 38912)]
    assert (facts.word_size, facts.object_repr) == (4, "A")


def test_programs_output_errors_and_state(board: MicroPythonBoard) -> None:
    assert board.run("x = 3\nprint('é', x)").stdout == "é 3\r\n".encode()
    assert b"ZeroDivisionError" in board.run("x / 0").stderr
    assert b"SyntaxError" in board.run("def (").stderr
    board.soft_reset()
    assert b"NameError" in board.run("x").stderr


def test_a_long_program_goes_through_the_paste_window(board: MicroPythonBoard) -> None:
    source = "".join(f"x{i} = {i}\n" for i in range(300)) + "# " + "c" * 20000 + "\nprint(x299)"
    assert board.run(source).stdout == b"299\r\n"


def test_files_of_any_content_come_back(board: MicroPythonBoard) -> None:
    source = random.Random(5)
    for size in (0, 1, 127, 128, 129, 3000):
        data = source.randbytes(size) if size != 128 else bytes([3, 4, 1, 2]) * 32
        board.put("/f.bin", data)
        assert board.get("/f.bin") == data
    assert "f.bin" in board.listdir("/")
    board.remove("/f.bin")
    with pytest.raises(BenchFault, match="cannot be read"):
        board.get("/f.bin")
    with pytest.raises(BenchFault, match="cannot be written"):
        board.put("/nowhere/f.bin", b"x")
    assert board.run("print(1)").stdout == b"1\r\n"


def test_a_full_filesystem_is_said_and_nothing_strays_to_the_prompt(vesp32: RunningBoard) -> None:
    board = MicroPythonBoard(Session(open_port(vesp32.url)))
    with pytest.raises(BenchFault, match="cannot be written.*(ENOSPC|28|51)"):
        board.put("/big.bin", random.Random(3).randbytes(3 * 1024 * 1024))
    assert board.run("print(1)").stdout == b"1\r\n"
    board.close()


@pytest.mark.parametrize("chip", CHIPS)
def test_one_damaged_byte_of_the_image_is_an_error_with_the_boot_text(
    chip: str, tmp_path: Path, firmware_files: dict[str, Path]
) -> None:
    image = bytearray(firmware_files[chip].read_bytes())
    image[len(image) // 2] ^= 1
    spec = VirtualSpec(f"d{chip}", chip, str(tmp_path))
    write_flash_file(spec, flash_offset(chip), bytes(image))
    with start(spec) as running:
        port = open_port(running.url)
        board = MicroPythonBoard(Session(port), reset=lambda: HardReset()(port))
        with pytest.raises(BenchFault, match="does not start .*(Checksum failed|Fatal exception)"):
            board.hard_reset()
        board.close()


def test_names_of_any_kind_are_listed(board: MicroPythonBoard) -> None:
    board.put("/a é%\n.txt", b"x")
    assert "a é%\n.txt" in board.listdir("/")


def test_a_vm_without_binary_input_takes_files_as_text(
    board: MicroPythonBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_vm = "raise AttributeError('kbd_intr')  # %r %d %d"
    monkeypatch.setattr("harness.runtimes.micropython.micropython_board.RECEIVE", old_vm)
    for data in (b"", bytes(range(256)) * 6):
        board.put("/t.bin", data)
        assert board.get("/t.bin") == data


def test_what_the_flash_did_not_keep_is_noticed(board: MicroPythonBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.runtimes.micropython.file_programs import RECEIVE

    worn = RECEIVE.replace("    _c(path)", "    open(path, 'wb').close()\n    _c(path)")
    assert worn != RECEIVE
    monkeypatch.setattr("harness.runtimes.micropython.micropython_board.RECEIVE", worn)
    with pytest.raises(BenchFault, match="expected '3 [0-9a-f]{8}' after writing, the board says '0 00000000'"):
        board.put("/t.bin", b"abc")


def test_a_program_that_never_ends_is_stopped_and_named(board: MicroPythonBoard) -> None:
    with pytest.raises(FirmwareFailure, match="did not end within 0.3 s; last output: 'on'"):
        board.run("print('on')\nwhile True: pass", timeout=0.3)
    assert board.run("print('alive')").stdout == b"alive\r\n"


def test_a_hard_reset_starts_over(board: MicroPythonBoard) -> None:
    board.run("x = 1")
    board.hard_reset()
    assert b"NameError" in board.run("x").stderr


def test_a_main_py_that_never_ends_is_taken_over(board: MicroPythonBoard) -> None:
    board.put("/main.py", b"import time\nwhile True:\n    print('busy')\n    time.sleep(0.01)\n")
    board.hard_reset()
    assert board.run("print('mine')").stdout == b"mine\r\n"
    board.remove("/main.py")


class FakeBoard:
    """A REPL on a pty whose programs run in a table: no VM, but any manner of misbehaving."""

    def __init__(self, *, echo: bool = False, raw_paste: bool = True, dies_at: int = 1 << 30):
        self.master, slave = os.openpty()
        import tty

        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self._echo, self._raw_paste, self._dies_at = echo, raw_paste, dies_at
        self._typed = bytearray()
        self._count = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        if data:
            os.write(self.master, data)

    def getc(self) -> int:
        if not self._typed:
            self._typed += os.read(self.master, 256)
            if self._echo:
                self.send(bytes(self._typed))
        self._count += 1
        if self._count > self._dies_at:
            raise EOFError
        char = self._typed.pop(0)
        return 0x02 if char == 0x05 and not self._raw_paste else char

    def _serve(self) -> None:
        repl = Repl(self, b"FakePython v1 on nothing\r\n")
        try:
            while True:
                try:
                    source = repl.next_program()
                except SoftReset:
                    self.send(b"MPY: soft reboot\r\n")
                    repl.restart()
                    continue
                text = source.decode("utf-8", "replace")
                if text.startswith("print("):
                    left, _, right = text[6:-1].partition("*")
                    self.send(f"{int(left) * int(right or 1)}\r\n".encode())
                repl.finished(b"")
        except (EOFError, OSError):
            pass

    def close(self) -> None:
        """To be called when the client has closed: with the last slave gone the thread's read ends."""
        os.close(self._slave)
        self._thread.join(2)
        os.close(self.master)


def talk_to(fake: FakeBoard) -> MicroPythonBoard:
    return MicroPythonBoard(Session(open_port(fake.path)))


@pytest.mark.parametrize(
    "greeting",
    [b"", random.Random(1).randbytes(600), b"\xf8\x1c\xe0" * 200 + b"\r\n>>> ", b"raw REPL; CTRL-B to ex"],
)
def test_garbage_before_the_prompt_does_no_harm(greeting: bytes) -> None:
    fake = FakeBoard()
    board = talk_to(fake)
    fake.send(greeting)  # after opening, which drops what came before
    board.enter()
    assert board.run("print(6*7)").stdout == b"42\r\n"
    board.close()
    fake.close()


def test_a_board_that_echoes_is_not_taken_for_one_that_answers() -> None:
    master, slave = os.openpty()
    import tty

    tty.setraw(slave)

    def echo() -> None:
        try:
            while True:
                os.write(master, os.read(master, 256))
        except OSError:
            pass

    threading.Thread(target=echo, daemon=True).start()
    board = MicroPythonBoard(Session(open_port(os.ttyname(slave))), boot_timeout=1.0)
    with pytest.raises(BenchFault, match="no raw REPL within 1 s"):
        board.enter()
    os.close(master)
    os.close(slave)


def test_a_board_that_dies_in_the_middle_of_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("raw_programs", "raw_repl"):
        monkeypatch.setattr(f"harness.runtimes.micropython.{module}.GRACE", 0.3)
    fake = FakeBoard(dies_at=400)
    board = talk_to(fake)
    board.enter()
    with pytest.raises(BenchFault, match="did not send"):
        board.run("x = 1\n" * 200)
    board.close()
    fake.close()


def test_a_silent_port_is_a_bench_fault_with_a_hint() -> None:
    master, slave = os.openpty()
    board = MicroPythonBoard(Session(open_port(os.ttyname(slave))), boot_timeout=0.5)
    with pytest.raises(BenchFault, match="came 'nothing'") as caught:
        board.enter()
    assert "console.baud" in str(caught.value)
    os.close(master)
    os.close(slave)
