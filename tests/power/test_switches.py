"""Power switches that are programs: what is started, and whether their word is taken for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import BenchFault, UsageError
from harness.inventory.model import Power
from harness.power.command_switch import CommandSwitch
from harness.power.gpio_line import GpioSwitch
from harness.power.http_relay import HttpRelay
from harness.power.switch import cycle
from harness.power.switches import switch_for
from harness.power.uhubctl import UhubctlSwitch


def program(folder: Path, body: str) -> str:
    """An executable that notes its arguments in ``calls`` beside it."""
    file = folder / "tool"
    log = folder / "calls"
    file.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(log)!r}, 'a').write(repr(sys.argv[1:]) + '\\n')\n{body}"
    )
    file.chmod(0o755)
    return str(file)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_arguments_reach_the_command_untouched_by_a_shell(tmp_path: Path) -> None:
    tool = program(tmp_path, "")
    switch = CommandSwitch((tool, "on", "$HOME; touch x"), (tool, "off"))
    switch.off()
    switch.on()
    assert calls(tmp_path) == ["['off']", "['on', '$HOME; touch x']"]


def test_a_command_that_fails_tells_the_last_thing_it_said(tmp_path: Path) -> None:
    tool = program(tmp_path, "print('start')\nprint('no relay \\x1b[1m')\nsys.exit(4)")
    with pytest.raises(BenchFault, match=r"code 4 and said: no relay \?\[1m"):
        CommandSwitch((tool,), (tool,)).off()


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    tool = program(tmp_path, "import time\ntime.sleep(60)")
    with pytest.raises(BenchFault, match=r"did not end within 0\.2 s"):
        CommandSwitch((tool,), (tool,), timeout=0.2).on()


def test_a_command_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="there is no program 'no-such-tool'"):
        CommandSwitch(("no-such-tool",), ("no-such-tool",)).on()


#: What uhubctl prints for a port before and after switching (its README, "Usage").
HUB = (
    "Current status for hub 1-1 [2109:3431 USB2.0 Hub, USB 2.10, 4 ports, ppps]\n"
    "  Port 3: 0103 power enable connect [10c4:ea60 Silicon Labs CP2102 0001]\n"
    "Sent power {action} request\n"
    "New status for hub 1-1 [2109:3431 USB2.0 Hub, USB 2.10, 4 ports, ppps]\n"
    "  Port 3: {after}\n"
)


@pytest.mark.parametrize(
    ("action", "after"), [("off", "0000 off"), ("on", "0100 power"), ("on", "0101 power connect []")]
)
def test_uhubctl_gets_one_hub_and_one_port(tmp_path: Path, action: str, after: str) -> None:
    tool = program(tmp_path, f"print({HUB.format(action=action, after=after)!r})")
    switch = UhubctlSwitch("1-1", 3, program=tool)
    switch.on() if action == "on" else switch.off()
    assert calls(tmp_path) == [f"['--location', '1-1', '--ports', '3', '--action', '{action}']"]


def test_a_hub_that_reports_power_after_off_is_a_fault(tmp_path: Path) -> None:
    after = "0103 power enable connect [10c4:ea60]"
    tool = program(tmp_path, f"print({HUB.format(action='off', after=after)!r})")
    with pytest.raises(BenchFault, match=r"reports port 3 of 1-1 as '.*power enable connect"):
        UhubctlSwitch("1-1", 3, program=tool).off()


def test_an_answer_about_another_port_is_no_answer(tmp_path: Path) -> None:
    tool = program(tmp_path, "print('  Port 2: 0000 off')")
    with pytest.raises(BenchFault, match="did not say how port 3"):
        UhubctlSwitch("1-1", 3, program=tool).off()


def test_a_gpio_line_is_held_as_long_as_the_switch_has_it(tmp_path: Path) -> None:
    # The same file says when the holder has begun, so that no time has to be guessed.
    tool = program(tmp_path, "import time\ntime.sleep(60)")
    switch = GpioSwitch("gpiochip0", 17, active_low=True, program=tool)
    switch.off()
    holder = switch._holder
    assert holder is not None
    assert holder.poll() is None
    switch.on()
    assert holder.poll() is not None  # one line has one holder
    last = switch._holder
    switch.close()
    assert last is not None
    assert last.poll() is not None


def test_a_gpio_line_that_is_refused_is_a_fault(tmp_path: Path) -> None:
    tool = program(tmp_path, "sys.stderr.write('unable to request lines: busy')\nsys.exit(1)")
    switch = GpioSwitch("gpiochip0", 17, program=tool, settle=10)
    with pytest.raises(BenchFault, match="busy"):
        switch.off()
    assert calls(tmp_path) == ["['--chip', 'gpiochip0', '17=0']"]


class Recorder:
    name = "recorder"

    def __init__(self, *, broken: bool = False) -> None:
        self.done: list[str] = []
        self._broken = broken

    def on(self) -> None:
        self.done.append("on")

    def off(self) -> None:
        self.done.append("off")
        if self._broken:
            raise BenchFault("stuck")


def test_a_cycle_waits_between_off_and_on() -> None:
    switch = Recorder()
    cycle(switch, 2.5, lambda seconds: switch.done.append(f"{seconds} s"))
    assert switch.done == ["off", "2.5 s", "on"]


def test_a_cycle_that_fails_leaves_the_board_powered() -> None:
    switch = Recorder(broken=True)
    with pytest.raises(BenchFault, match="stuck"):
        cycle(switch, 2.5, lambda _: None)
    assert switch.done == ["off", "on"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"method": "uhubctl", "hub": "1-1", "port": 3}, UhubctlSwitch),
        ({"method": "command", "on_command": ["a"], "off_command": ["b"]}, CommandSwitch),
        ({"method": "http", "relay": "tasmota", "url": "http://relay"}, HttpRelay),
        ({"method": "gpio", "chip": "gpiochip0", "line": 17}, GpioSwitch),
        ({}, type(None)),
    ],
)
def test_each_method_of_the_bench_file_has_its_switch(given: dict[str, object], kind: type) -> None:
    assert isinstance(switch_for(Power.model_validate(given)), kind)


@pytest.mark.parametrize(("relay", "first"), [("tasmota", 1), ("shelly1", 0), ("shelly2", 0)])
def test_the_first_relay_has_the_devices_own_number(relay: str, first: int) -> None:
    switch = switch_for(Power.model_validate({"method": "http", "relay": relay, "url": "http://relay"}))
    assert isinstance(switch, HttpRelay)
    assert switch.channel == first


@pytest.mark.parametrize("method", ["uhubctl", "command", "http", "gpio"])
def test_a_method_without_what_it_needs_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match=f"with 'method: {method}'"):
        Power.model_validate({"method": method})
