"""The doctor finds what is in the way of a bench, says with what command it is mended, and invents nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.doctor import Patient, examine
from harness.bench.finding import Finding
from harness.bench.host_machine import Access, Machine
from harness.inventory.model import Bench, Board
from tests.bench.fake_machines import Tree, raspberry_pi, seven_port_hub, stm32_bench


def bench(*boards: dict[str, object]) -> Bench:
    usual = {"chip": "esp32", "runtime": "micropython"}
    return Bench(boards=tuple(Board.model_validate({**usual, "id": f"b{n}", **b}) for n, b in enumerate(boards)))


def found(tree: Tree, check: str, boards: Bench | None = None) -> list[Finding]:
    patient = Patient(tree.machine, boards, tree.root / "state", "lab")
    return [finding for finding in examine(patient) if finding.check == check]


def only(tree: Tree, check: str, boards: Bench | None = None) -> Finding:
    findings = found(tree, check, boards)
    assert len(findings) == 1, findings
    return findings[0]


@pytest.fixture
def pi(tmp_path: Path) -> Tree:
    return raspberry_pi(tmp_path)


# -- permissions -----------------------------------------------------------------------------------


def test_a_user_outside_the_group_gets_the_command_that_adds_him(pi: Tree) -> None:
    finding = only(pi, "permissions")
    assert finding.severity == "problem"
    assert "/dev/ttyUSB1, /dev/ttyUSB0, /dev/ttyUSB2: only the group dialout" in finding.what
    assert finding.fix == "sudo usermod -aG dialout lab, then log out and in again"


def test_a_user_who_was_added_after_logging_in_is_told_to_log_in_again(pi: Tree) -> None:
    pi.write("etc/group", "dialout:x:20:bob,lab\n")
    finding = only(pi, "permissions")
    assert "were not when you logged in" in finding.what
    assert "usermod" not in finding.fix


def test_a_member_of_the_group_is_fine(tmp_path: Path) -> None:
    tree = Tree(tmp_path, gids=(1000, 20))
    tree.adapter("1-1", "1a86:7523", "ttyUSB0")
    assert only(tree, "permissions") == Finding("permissions", "ok", "1 device can be opened")


def test_a_boot_loader_that_only_root_may_use_gets_a_udev_rule(tmp_path: Path) -> None:
    tree = stm32_bench(tmp_path)
    dfu = next(device for device in tree.machine.usb_devices() if device.vid_pid == "0483:df11")
    tree.machine.owners[dfu.bus_file] = Access(0o664, 0, 0, "root")
    (finding,) = [f for f in found(tree, "permissions") if "DFU" in f.what]
    assert finding.severity == "problem"
    assert 'ATTR{idVendor}=="0483", ATTR{idProduct}=="df11"' in finding.fix
    assert "udevadm control --reload" in finding.fix


@pytest.mark.parametrize(
    ("mode", "uid", "gids", "may"),
    [
        (0o660, 1000, (20,), True),
        (0o660, 1000, (1000,), False),
        (0o640, 1000, (20,), False),
        (0o606, 1000, (20,), False),  # the group's bits count for its members, also when others may do more
        (0o666, 1000, (), True),
        (0o000, 0, (), True),
    ],
)
def test_mode_bits_are_read_as_the_kernel_does(mode: int, uid: int, gids: tuple[int, ...], may: bool) -> None:
    machine = Machine("/nowhere", ids=(uid, frozenset(gids)))
    assert machine.may_use(Access(mode, 0, 20, "dialout")) is may


# -- services that take ports ------------------------------------------------------------------------


def test_modem_manager_is_told_only_when_a_port_is_open_to_it(pi: Tree) -> None:
    assert only(pi, "ModemManager").severity == "ok"
    pi.process(812, "ModemManager")
    finding = only(pi, "ModemManager")
    assert finding.severity == "warning"
    assert "10c4:ea60, 1a86:7523" in finding.what
    rule = 'ATTRS{{idVendor}}=="{}", ATTRS{{idProduct}}=="{}", ENV{{ID_MM_DEVICE_IGNORE}}="1"\n'
    pi.write("etc/udev/rules.d/99-mm.rules", rule.format("10c4", "ea60") + "# " + rule.format("1a86", "7523"))
    assert "1a86:7523" in only(pi, "ModemManager").what
    assert "10c4" not in only(pi, "ModemManager").what
    pi.write("etc/udev/rules.d/99-mm.rules", rule.format("10c4", "ea60") + rule.format("1a86", "7523"))
    assert only(pi, "ModemManager").severity == "ok"


@pytest.mark.parametrize(
    "rule",
    [
        'ENV{PRODUCT}=="1a86/7523/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm", GOTO="brltty_usb_run"',
        'ATTRS{idVendor}=="1a86", ATTRS{idProduct}=="7523", RUN+="/lib/udev/brltty start"',
    ],
)
def test_brltty_claims_what_its_rules_name(pi: Tree, rule: str) -> None:
    assert only(pi, "brltty").severity == "ok"
    pi.write("usr/lib/udev/rules.d/85-brltty.rules", rule + "\n")
    finding = only(pi, "brltty")
    assert (finding.severity, "at 1-1.4" in finding.what) == ("problem", True)
    pi.unplug("1-1.4")
    assert only(pi, "brltty").severity == "ok"


def test_a_device_that_may_be_suspended_is_named_and_the_keyboard_is_not(tmp_path: Path) -> None:
    tree = seven_port_hub(tmp_path)
    assert only(tree, "autosuspend").severity == "ok"
    for place in ("3-2.4.1", "3-2.4.2"):
        tree.write(f"sys/bus/usb/devices/{place}/power/control", "auto\n")
    finding = only(tree, "autosuspend")
    assert "3-2.4.1" in finding.what
    assert "/sys/bus/usb/devices/3-2.4.1/power/control" in finding.fix


# -- identities ------------------------------------------------------------------------------------


def test_identities_are_judged_by_what_is_plugged_in(pi: Tree) -> None:
    boards = bench(
        {"identity": {"usb_serial": "0001"}},
        {"identity": {"usb_location": "1-1.2"}},
        {"identity": {"vid_pid": "1a86:7523"}},
        {"identity": {"mac": "24:6f:28:00:00:01"}},
        {"identity": {"usb_serial": "nobody"}},
        {"virtual": {}},
    )
    findings = found(pi, "identities", boards)
    assert [(f.severity, f.what.split(":")[0].split(" ")[0]) for f in findings] == [
        ("note", "serial"),
        ("problem", "b0"),
        ("ok", "b1"),
        ("warning", "b2"),
        ("problem", "b3"),
        ("warning", "b4"),
    ]
    assert "/dev/ttyUSB0" in findings[1].what
    assert "/dev/ttyUSB1" in findings[1].what
    assert findings[3].fix == "add usb_location: 1-1.4"


@pytest.mark.parametrize(
    ("identity", "method", "told"),
    [
        ({"url": "socket://pi:4000"}, "dtr-rts", True),
        ({"port": "/dev/pts/3"}, "classic", True),
        ({"url": "socket://pi:4000"}, "none", False),
        ({"url": "rfc2217://pi:4000"}, "dtr-rts", False),
        ({"port": "/dev/ttyAMA0"}, "dtr-rts", False),
    ],
)
def test_reset_lines_that_end_nowhere_are_told(pi: Tree, identity: object, method: str, told: bool) -> None:
    boards = bench({"identity": identity, "reset": {"method": method}})
    assert bool(found(pi, "control lines", boards)) is told


# -- tools, disk, reference --------------------------------------------------------------------------


def test_a_missing_tool_is_a_problem_only_when_the_bench_needs_it(pi: Tree) -> None:
    pi.machine.tools = {"esptool": "esptool v5.2"}
    severities = {f.what.split(" ")[0].rstrip(":"): f.severity for f in found(pi, "tools")}
    assert severities["esptool"] == "ok"
    assert severities["uhubctl"] == "note"
    boards = bench(
        {
            "identity": {"usb_location": "1-1.2"},
            "power": {"method": "uhubctl", "hub": "1-1", "port": 2},
        },
        {"identity": {"usb_location": "1-1.3"}, "chip": "stm32f405", "flash": {"method": "swd"}},
    )
    severities = {f.what.split(" ")[0]: f.severity for f in found(pi, "tools", boards)}
    assert severities["uhubctl"] == severities["pyocd"] == severities["openocd"] == "problem"
    pi.machine.tools["openocd"] = "Open On-Chip Debugger 0.12.0"
    severities = {f.what.split(" ")[0]: f.severity for f in found(pi, "tools", boards)}
    assert severities["pyocd"] == "note"  # one of the two is enough


@pytest.mark.parametrize(("free", "severity"), [(50 << 20, "problem"), (500 << 20, "warning"), (5 << 30, "ok")])
def test_little_room_is_told_before_it_is_none(pi: Tree, free: int, severity: str) -> None:
    pi.machine.free = free
    assert {finding.severity for finding in found(pi, "disk")} == {severity}


def test_a_reference_that_is_not_prepared_is_told(pi: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_VM", raising=False)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "empty"))
    assert only(pi, "reference VM").severity == "note"
    own = tmp_path / "vm.wasm"
    monkeypatch.setenv("HARNESS_VM", str(own))
    assert only(pi, "reference VM").severity == "note"
    own.write_bytes(b"\0asm")
    assert only(pi, "reference VM").severity == "ok"


def test_a_machine_without_boards_has_no_problem(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    findings = examine(Patient(tree.machine, None, tmp_path, "lab"))
    assert not [finding for finding in findings if finding.severity in ("problem", "warning")]
    assert only(tree, "permissions").what == "nothing is plugged in that looks like a board"


def test_every_problem_and_warning_says_what_to_do(pi: Tree) -> None:
    pi.process(1, "ModemManager")
    pi.write("etc/udev/rules.d/85-brltty.rules", 'ENV{PRODUCT}=="10c4/ea60/*", RUN+="brltty"\n')
    pi.write("sys/bus/usb/devices/1-1.2/power/control", "auto\n")
    pi.machine.free = 0
    boards = bench({"identity": {"usb_serial": "0001"}}, {"identity": {"url": "socket://pi:1"}})
    findings = examine(Patient(pi.machine, boards, pi.root, "lab"))
    bad = [finding for finding in findings if finding.severity in ("problem", "warning")]
    assert {finding.check for finding in bad} >= {"permissions", "ModemManager", "brltty", "autosuspend", "disk"}
    assert [finding for finding in bad if not finding.fix] == []
