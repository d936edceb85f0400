"""``harness onboard`` as a user calls it: on boards that nobody told it of, and on what is no board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.bench import host_machine as machine
from harness.bench import probe_port as probe
from harness.bench.probe_port import Answer
from harness.cli import main
from harness.cli import onboard as command
from harness.errors import BenchFault, PortBusy
from harness.flashing.flasher import ChipIdentity, Security
from harness.formats.virtual_image import flash_offset
from harness.inventory.load import load_bench
from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.looked import Look
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware
from tests.bench.fake_machines import Tree, raspberry_pi
from tests.running_boards import tool, write_flash_file

MAC = "24:6f:28:00:00:01"
ESP = ChipIdentity(
    "esp32", "ESP32-D0WD-V3 (revision v3.0)", MAC, 4 << 20, security=Security(False, False, False, False)
)
#: The boards of the shipped bench.
SHIPPED = {
    "vesp32": ("esp32", "micropython"),
    "vesp8266": ("esp8266", "micropython"),
    "vstm32": ("stm32f405", "micropython"),
    "vfeather": ("esp32", "circuitpython"),
    "vnodemcu": ("esp8266", "nodemcu"),
}


def harness(*arguments: str, said: str | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, list(arguments), input=said)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The current folder is empty, and the machine is a Raspberry Pi."""
    tree = raspberry_pi(tmp_path / "pi")
    (tmp_path / "bench").mkdir()
    monkeypatch.chdir(tmp_path / "bench")
    monkeypatch.setattr(machine, "Machine", lambda: tree.machine)
    return tree


def answers(monkeypatch: pytest.MonkeyPatch, told: Answer | Exception) -> None:
    def asked(_address: str, **_how: object) -> Answer:
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(probe, "probe", asked)


def devkit(port: str = "/dev/ttyUSB1", **more: object) -> Answer:
    look = Look(floats=True, paste_window=128, folder="/", files=(("main.py", 30),), start_files={"main.py": b"go()"})
    fields: dict[str, object] = {"look": look, "esp": ESP, **more}
    return Answer(port, "micropython", "v1.28.0", "ESP32 module with ESP32", "esp32", MAC, **fields)  # type: ignore[arg-type]


# -- boards that run -------------------------------------------------------------------------------


@contextmanager
def unknown(folder: Path, name: str) -> Iterator[RunningBoard]:
    """A board of the shipped bench, of which only its ports are known."""
    chip, runtime = SHIPPED[name]
    size = 1 << 20 if chip.startswith("stm32") else 4 << 20
    spec = VirtualSpec(name, chip, str(folder / "boards"), flash_size=size)
    offset = 0 if chip.startswith("stm32") else flash_offset(chip)
    write_flash_file(spec, offset, build_firmware(chip, runtime=runtime, flash_size=size))
    with start(spec) as board:
        yield board


@pytest.mark.parametrize("name", SHIPPED)
def test_the_entry_of_an_unknown_board_runs_as_it_is(tmp_path: Path, name: str) -> None:
    chip, runtime = SHIPPED[name]
    with unknown(tmp_path, name) as board:
        by_url = harness("onboard", board.url)
        assert by_url.exit_code == 0, by_url.output
        by_pty = harness("onboard", str(board.pty), "--bench", "pty.yaml")
        assert by_pty.exit_code == 0, by_pty.output
    for done, file, resets in ((by_url, "boards.yaml", "dtr-rts"), (by_pty, "pty.yaml", "none")):
        assert " 0 failed, 0 errors" in done.output
        page, _, _ = done.output.partition(f"{file}: ")
        report = page[page.index("\n\n") :].strip().splitlines()
        assert len(report) <= 60 and max(map(len, report)) <= 120, page
        (entry,) = load_bench(file).boards
        assert (entry.chip, entry.runtime, entry.reset.method) == (chip, runtime, resets)
        assert entry.identity is not None
        assert entry.identity.uid if chip.startswith("stm32") else entry.identity.mac


@pytest.mark.parametrize("name", ["vesp32", "vstm32", "vnodemcu"])
def test_the_look_writes_nothing(tmp_path: Path, name: str) -> None:
    with unknown(tmp_path, name) as board:
        assert harness("onboard", board.url, "--dry-run").exit_code == 0  # the first start makes its filesystem
        flash = tmp_path / "boards" / f"{name}.flash"
        before = flash.read_bytes()
        done = harness("onboard", board.url, "--dry-run")
        assert done.exit_code == 0, done.output
        assert flash.read_bytes() == before
    assert "nothing was written (--dry-run)" in done.output
    assert not Path("boards.yaml").exists()


def test_a_chip_without_a_vm_is_told_with_what_it_prints_and_holds(tmp_path: Path) -> None:
    spec = VirtualSpec("other", "esp32", str(tmp_path / "boards"), app="echo")
    write_flash_file(spec, 0x1000, build_firmware("esp32"))
    with start(spec) as board:
        done = harness("onboard", board.url)
    assert done.exit_code == 0, done.output
    assert "something else: no VM answers" in done.output
    assert "echo: payload of" in done.output
    assert "the application micropython" in done.output
    assert "no first run: nothing runs on it" in done.output
    assert load_bench("boards.yaml").boards[0].chip == "esp32"


def test_burnt_fuses_are_told_and_the_chip_is_never_written(tmp_path: Path) -> None:
    spec = VirtualSpec("fused", "esp32", str(tmp_path / "boards"), app="echo", fuses=("secure-boot",))
    write_flash_file(spec, 0x1000, build_firmware("esp32"))
    with start(spec) as board:
        done = harness("onboard", board.url, "--no-run")
    assert done.exit_code == 0, done.output
    assert "secure boot ON, flash encryption off" in done.output
    assert "no: secure boot is on" in done.output
    assert load_bench("boards.yaml").boards[0].flash_method == "none"


# -- what it writes, and asks ----------------------------------------------------------------------


def test_the_entry_is_shown_before_it_is_added_and_what_stands_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    own = "# mine\nboards:\n  - {id: v, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}\n"
    Path("boards.yaml").write_text(own)
    answers(monkeypatch, devkit())
    dry = harness("onboard", "/dev/ttyUSB1", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert Path("boards.yaml").read_text() == own
    done = harness("onboard", "/dev/ttyUSB1", "--no-run")
    assert done.exit_code == 0, done.output
    text = Path("boards.yaml").read_text()
    assert text.startswith(own)
    shown = done.output.partition("The entry for boards.yaml\n")[2].partition("boards.yaml: ")[0]
    assert all(line.strip() in text for line in shown.splitlines())
    assert shown in dry.output
    assert [board.id for board in load_bench("boards.yaml").boards] == ["v", "esp32-000001"]
    again = harness("onboard", "/dev/ttyUSB1", "--no-run")
    assert "has an entry for it already: esp32-000001, which stays as it is" in again.output
    assert Path("boards.yaml").read_text() == text


def test_another_chip_in_a_boards_socket_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, devkit())
    assert harness("onboard", "/dev/ttyUSB1", "--no-run").exit_code == 0
    text = Path("boards.yaml").read_text()
    other = ChipIdentity("esp32", "ESP32", "24:6f:28:00:00:02", 4 << 20)
    answers(monkeypatch, Answer("/dev/ttyUSB1", "micropython", chip="esp32", mac=other.mac, esp=other))
    done = harness("onboard", "/dev/ttyUSB1")
    assert done.exit_code == 3
    assert f"mac {MAC} expected, 24:6f:28:00:00:02 came" in done.output
    assert Path("boards.yaml").read_text() == text


def test_nothing_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, devkit())
    done = harness("onboard", "/dev/ttyUSB1", "--no-run", said="")
    assert done.exit_code == 0
    assert "?" not in done.output.partition("The entry")[0].partition("What may")[2]
    assert "# two pins wired together?" in Path("boards.yaml").read_text()
    assert load_bench("boards.yaml").boards[0].application == "aside"


def test_a_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, devkit())
    monkeypatch.setattr(command, "_at_terminal", lambda: True)
    done = harness("onboard", "/dev/ttyUSB1", "--no-run", said="n\n18\n300 301\nD4D4D4D4D4D4D4D4D4\n18, 019\ny\n")
    assert done.exit_code == 0, done.output
    assert "Error: two pins, such as 18 19" in done.output
    assert "Error: expected a pin number (0 to 255)" in done.output
    assert "came 'D4D4D4D4D4D4D4D4D4'" in done.output
    (entry,) = load_bench("boards.yaml").boards
    assert (entry.application, entry.wiring.loopback) == ("keep", ((18, 19),))
    assert "pin_loopback" in entry.capabilities


def test_a_person_may_say_no_to_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, devkit())
    monkeypatch.setattr(command, "_at_terminal", lambda: True)
    done = harness("onboard", "/dev/ttyUSB1", said="\n\nn\n")
    assert done.exit_code == 0, done.output
    assert not Path("boards.yaml").exists()


# -- what is no board, or is hostile ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (BenchFault("/dev/ttyUSB1: no permission to open the port", hint="add yourself to the group"), "usermod -aG"),
        (PortBusy("/dev/ttyUSB1: the port is in use by screen (process 7)", hint="close it"), "in use by screen"),
        (Answer("/dev/ttyUSB1", problems=("no VM: silence",)), "no VM and no boot loader answers at 115200 baud"),
        (Answer("/dev/ttyUSB1", heard="login: "), "it prints 'login: '"),
    ],
)
def test_a_board_that_cannot_be_asked_is_told_with_what_to_try(
    monkeypatch: pytest.MonkeyPatch, told: Answer | Exception, words: str
) -> None:
    answers(monkeypatch, told)
    done = harness("onboard", "/dev/ttyUSB1")
    assert done.exit_code == 3
    assert words in done.output
    assert "try: " in done.output
    assert not Path("boards.yaml").exists()


def test_modem_manager_is_named_where_it_may_be_in_the_way(here: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write("proc/77/comm", "ModemManager\n")
    answers(monkeypatch, Answer("/dev/ttyUSB1", problems=("no VM: garbage",)))
    assert "ModemManager" in harness("onboard", "/dev/ttyUSB1").output


def test_a_port_that_is_not_there_is_a_fault_of_the_bench() -> None:
    done = harness("onboard", "/dev/no-such-port")
    assert done.exit_code == 3
    assert "there is no such port" in done.output


def test_what_a_board_says_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J\u202egnp.exe\n- id: evil"
    look = Look(version=evil, machine=evil, folder=evil, files=((evil, 3),), modules=(evil,), mounts=(evil,))
    told = Answer("/dev/ttyUSB1", "micropython", evil, evil, problems=(evil,), look=look, heard=evil)
    answers(monkeypatch, told)
    done = harness("onboard", "/dev/ttyUSB1", "--no-run")
    assert done.exit_code == 0, done.output
    assert not set("\x1b\u202e") & set(done.output + Path("boards.yaml").read_text())
    assert [board.id for board in load_bench("boards.yaml").boards] != ["evil"]
    assert "\n- id: evil" not in done.output


def test_the_application_of_a_former_owner_is_told_and_kept(tmp_path: Path) -> None:
    application = b"import time\nwhile True:\n    print('soil')\n    time.sleep(0.1)\n"
    with unknown(tmp_path, "vesp32") as board:
        runtime = MicroPythonBoard(Session(open_port(board.url)), boot_timeout=60)
        runtime.put("main.py", application)
        runtime.close()
        tool("esptool", "--port", board.url, "run")
        done = harness("onboard", board.url)
        runtime = MicroPythonBoard(Session(open_port(board.url)), boot_timeout=60)
        kept = runtime.get("main.py")
        runtime.close()
    assert done.exit_code == 0, done.output
    assert "main.py: an application that runs at each start of the chip" in done.output
    assert "application: aside  # main.py runs at each start" in Path("boards.yaml").read_text()
    assert kept == application
