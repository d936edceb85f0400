"""Pins and wires against a plain model that works out every level from scratch."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.chips import CHIPS
from harness.errors import UsageError
from harness.reference.pins import IN, OPEN_DRAIN, OUT, Pin, Pins

NAMES = list(range(5))
pins_of_five = st.sampled_from(NAMES)


class WiredPins(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.edges: list[tuple[str, int]] = []
        self.pins = Pins(CHIPS["esp32"].promised(), lambda pin: self.edges.append((pin.name, pin.level)))
        for name in NAMES:
            self.pins.pin(name)
        self.groups = [{name} for name in NAMES]
        self.outside: dict[int, int] = {}
        self.settings: dict[int, tuple[int, int, int]] = dict.fromkeys(NAMES, (IN, 0, 0))
        self.before = dict.fromkeys(NAMES, 0)

    def expected(self) -> dict[int, int]:
        levels: dict[int, int] = {}
        for group in self.groups:
            driven = {self.outside[n] for n in group if n in self.outside}
            driven |= {self.settings[n][1] for n in group if self.settings[n][0] == OUT}
            driven |= {0 for n in group if self.settings[n][:2] == (OPEN_DRAIN, 0)}
            pulled = any(self.settings[n][2] == 1 for n in group)
            levels |= dict.fromkeys(group, 0 if 0 in driven else 1 if driven or pulled else 0)
        return levels

    @rule(a=pins_of_five, b=pins_of_five)
    def wire(self, a: int, b: int) -> None:
        self.pins.wire(a, b)
        joined = {n for group in self.groups if a in group or b in group for n in group}
        self.groups = [group for group in self.groups if not group & joined] + [joined]

    @precondition(lambda self: any(len(group) > 1 for group in self.groups))
    @rule(data=st.data())
    def unwire(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from([g for g in self.groups if len(g) > 1]))
        a, b = data.draw(st.permutations(sorted(group)))[:2]
        self.pins.unwire(a, b)
        group.discard(b)
        self.groups.append({b})

    @rule(name=pins_of_five, level=st.sampled_from([0, 1, None]))
    def drive(self, name: int, level: int | None) -> None:
        self.pins.drive(name, level)
        if level is None:
            self.outside.pop(name, None)
        else:
            self.outside[name] = level

    @rule(
        name=pins_of_five, mode=st.sampled_from([IN, OUT, OPEN_DRAIN]), output=st.integers(0, 1), pull=st.integers(0, 2)
    )
    def set_up(self, name: int, mode: int, output: int, pull: int) -> None:
        pin = self.pins.pin(name)
        pin.mode, pin.output, pin.pull = mode, output, pull
        self.pins.changed(pin)
        self.settings[name] = (mode, output, pull)

    @rule(soft=st.booleans())
    def reset(self, soft: bool) -> None:
        self.pins.reset(soft=soft)
        if not soft:
            self.settings = dict.fromkeys(NAMES, (IN, 0, 0))

    @invariant()
    def every_level_is_what_the_drivers_say_and_every_change_was_told_once(self) -> None:
        expected = self.expected()
        assert {n: self.pins.pin(n).level for n in NAMES} == expected
        assert sorted(self.edges) == sorted((str(n), expected[n]) for n in NAMES if expected[n] != self.before[n])
        self.before = expected
        self.edges.clear()


WiredPins.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestWiredPins = WiredPins.TestCase


@pytest.mark.parametrize(
    ("trigger", "rises", "falls"), [(1, True, False), (2, False, True), (3, True, True), (0, False, False)]
)
def test_edge_triggers(trigger: int, rises: bool, falls: bool) -> None:
    pin = Pin("x", trigger=trigger)
    assert (pin.fires_at(1), pin.fires_at(0)) == (rises, falls)


@pytest.mark.parametrize(("trigger", "level"), [(4, 0), (5, 1)])
def test_level_triggers_fire_when_the_level_comes(trigger: int, level: int) -> None:
    pin = Pin("x", trigger=trigger)
    assert pin.fires_at(level)
    assert not pin.fires_at(1 - level)


@pytest.mark.parametrize("name", ["40", "-1", "A0", "", "1e1"])
def test_a_pin_that_the_esp32_has_not(name: str) -> None:
    with pytest.raises(UsageError, match="expected 0 to 39"):
        Pins(CHIPS["esp32"].promised(), lambda _pin: None).key(name)


@pytest.mark.parametrize(("name", "key"), [("A0", 0), ("PA0", 0), ("pc13", 45), ("B15", 31)])
def test_the_names_of_stm32_pins(name: str, key: int) -> None:
    pins = Pins(CHIPS["stm32f405"].promised(), lambda _pin: None)
    assert pins.key(name) == key
    assert pins.key(pins.name(key)) == key


@pytest.mark.parametrize("name", ["A16", "Z1", "5", "A", "PA"])
def test_a_pin_that_the_stm32_has_not(name: str) -> None:
    with pytest.raises(UsageError, match="such as"):
        Pins(CHIPS["stm32f405"].promised(), lambda _pin: None).key(name)
