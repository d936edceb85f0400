"""machine.UART of the reference VM: times of bytes, time-outs, interrupts (MicroPython's documentation of it)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.reference.vm import ReferenceVm

BYTE_US = 10 * 1_000_000 / 9600


def lines(vm: ReferenceVm, source: str) -> list[str]:
    result = vm.run(source)
    assert result.stderr == b"", result.stderr.decode()
    return result.stdout.decode().split("\r\n")[:-1]


SETUP = """
import select, time
from machine import Timer, UART
log = []
def us(): return time.ticks_us()
def note(uart): log.append((us() - t0, uart.any(), uart.irq().flags()))
"""


@pytest.fixture
def esp32() -> Iterator[ReferenceVm]:
    with ReferenceVm(chip="esp32") as vm:
        vm.wire(18, 19)
        lines(vm, f"{SETUP}uart = UART(1, 9600, tx=18, rx=19, timeout=20, timeout_char=5)")
        yield vm


@pytest.fixture
def stm32() -> Iterator[ReferenceVm]:
    with ReferenceVm(chip="stm32f405") as vm:
        vm.wire_uart(4)
        lines(vm, f"{SETUP}uart = UART(4, 9600, timeout=20, timeout_char=5)")
        yield vm


def test_a_byte_takes_ten_bits(esp32: ReferenceVm) -> None:
    """8.3 ms at 1200 baud, beside which the calls themselves take little."""
    source = "uart.init(1200)\nt0 = us()\nuart.write('abc')\n"
    source += "for n in range(3):\n    while uart.any() == n: pass\n    print(us() - t0)"
    for n, came in enumerate(lines(esp32, source), 1):
        assert int(came) == pytest.approx(n * 8 * BYTE_US, abs=1500)


def test_parity_and_a_second_stop_bit_take_their_time(esp32: ReferenceVm) -> None:
    source = "uart.init(1200, 8, 0, 2)\nt0 = us()\nuart.write('a')\nwhile not uart.any(): pass\nprint(us() - t0)"
    assert int(lines(esp32, source)[0]) == pytest.approx(1.2 * 8 * BYTE_US, abs=1000)


def test_an_esp32_writes_into_a_buffer_and_an_stm32_waits(esp32: ReferenceVm, stm32: ReferenceVm) -> None:
    source = "t0 = us()\nprint(uart.write(bytes(20)), us() - t0)"
    for vm, waits in ((esp32, 0), (stm32, 20 * BYTE_US)):
        (count, took) = map(int, lines(vm, source)[0].split())
        assert count == 20
        assert took == pytest.approx(waits, abs=1000)


def test_idle_is_told_once_when_the_line_was_idle(esp32: ReferenceVm, stm32: ReferenceVm) -> None:
    """One character on the STM32; on the ESP32 the second tick, of 20 bits each, after the last of eight bytes."""
    source = (
        "uart.irq(note, UART.IRQ_RXIDLE)\nt0 = us()\nuart.write('12345678')\ntime.sleep_ms(30)\n"
        "print(len(log), *log[0])"
    )
    for vm, characters, flag in ((stm32, 9, 0x10), (esp32, 1 + 2 * (7 // 2 + 2), 0x1000)):
        calls, at, count, flags = map(int, lines(vm, source)[0].split())
        assert (calls, count, flags) == (1, 8, flag)
        assert at == pytest.approx(characters * BYTE_US, abs=1000)


def test_a_second_write_before_the_line_is_idle_is_the_same_message(esp32: ReferenceVm) -> None:
    source = "uart.irq(note, UART.IRQ_RXIDLE)\nt0 = us()\nuart.write('12')\ntime.sleep_us(2500)\nuart.write('3')\n"
    assert lines(esp32, source + "time.sleep_ms(20)\nprint([entry[1] for entry in log])") == ["[3]"]


def test_each_byte_is_told_where_that_is_asked_for(esp32: ReferenceVm) -> None:
    source = "uart.irq(note, UART.IRQ_RX)\nt0 = us()\nuart.write('123')\ntime.sleep_ms(20)\n"
    assert lines(esp32, source + "print([entry[1:] for entry in log])") == ["[(1, 1), (2, 1), (3, 1)]"]
    assert lines(esp32, "uart.irq(None)\nlog.clear()\nuart.write('1')\ntime.sleep_ms(20)\nprint(log)") == ["[]"]


def test_it_is_a_stream_for_select(esp32: ReferenceVm) -> None:
    source = """
p = select.poll()
p.register(uart, select.POLLIN)
print(p.poll(5))
uart.write("x")
t0 = us()
print([flags for _, flags in p.poll(50)], 0 < us() - t0 < 3000, uart.read())
p.modify(uart, select.POLLOUT)
print([flags for _, flags in p.poll(5)])
"""
    assert lines(esp32, source) == ["[]", "[1] True b'x'", "[4]"]


def test_a_read_waits_for_its_time_outs_and_callbacks_run_meanwhile(esp32: ReferenceVm) -> None:
    source = """
t0 = us()
print(uart.read(4), us() - t0 >= 20_000)
tick = Timer(1)
tick.init(mode=Timer.ONE_SHOT, period=10, callback=lambda timer: uart.write("abcd"))
print(uart.read(4), us() - t0 < 40_000)
uart.write("ef")
t0 = us()
print(uart.read(4), us() - t0 < 12_000)
buf = bytearray(4)
uart.write("ghij")
print(uart.readinto(buf, 2), bytes(buf), uart.readinto(buf), bytes(buf), uart.readinto(buf))
"""
    assert lines(esp32, source) == [
        "None True",
        "b'abcd' True",
        "b'ef' True",
        "2 b'gh\\x00\\x00' 2 b'ij\\x00\\x00' None",
    ]


def test_what_does_not_fit_into_the_buffer_is_lost(stm32: ReferenceVm) -> None:
    assert lines(stm32, "uart.write(bytes(range(80)))\ntime.sleep_ms(3)\nprint(uart.any(), uart.read(64)[-1])") == [
        "64 63"
    ]


def test_without_the_wire_nothing_comes(esp32: ReferenceVm, stm32: ReferenceVm) -> None:
    esp32.unwire(18, 19)
    assert lines(esp32, "uart.write('a')\nprint(uart.read(1))") == ["None"]
    assert lines(stm32, "other = UART(2, 9600)\nother.write('a')\ntime.sleep_ms(5)\nprint(other.any())") == ["0"]


def test_a_soft_reset_ends_what_was_on_the_line(esp32: ReferenceVm) -> None:
    lines(esp32, "uart.irq(lambda uart: print('told'), UART.IRQ_RXIDLE)\nuart.write(bytes(20))")
    esp32.soft_reset()
    source = f"{SETUP}time.sleep_ms(50)\nuart = UART(1, 9600, tx=18, rx=19)\nprint(uart.any())"
    assert lines(esp32, source) == ["0"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("UART(3)", "UART(3) does not exist"),
        ("uart.irq(note, UART.IRQ_RX, hard=True)", "hard IRQ is not supported"),
        ("uart.irq(note, 0x4)", "trigger 0x0004 unsupported"),
    ],
)
def test_what_the_port_refuses(esp32: ReferenceVm, call: str, error: str) -> None:
    assert f"ValueError: {error}".encode() in esp32.run(call).stderr


def test_a_hard_handler_may_not_allocate(stm32: ReferenceVm) -> None:
    source = "uart.irq(lambda uart: bytearray(99), UART.IRQ_RXIDLE, hard=True)\nuart.write('a')\ntime.sleep_ms(5)"
    told = stm32.run(source).stdout
    assert told.startswith(b"Uncaught exception in IRQ callback handler")
    assert b"MemoryError" in told
    assert stm32.run("uart.write('a')\ntime.sleep_ms(5)").stdout == b""


def test_an_esp8266_has_none() -> None:
    """Its only UART that receives is the console."""
    with ReferenceVm(chip="esp8266") as vm:
        assert b"ImportError" in vm.run("from machine import UART").stderr
