"""boards.yaml: each mistake is one line with file, line number, what was expected and what to write."""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.chips import CHIPS
from harness.errors import UsageError
from harness.inventory import load
from harness.inventory.fields import CAPABILITIES
from harness.inventory.load import load_bench
from harness.inventory.model import (
    Board,
    ConsoleSettings,
    Firmware,
    Flash,
    Identity,
    Limit,
    Power,
    Reset,
    Virtual,
    Wiring,
)
from harness.inventory.schema import schema_text

ROOT = Path(__file__).parents[2]

GOOD = """\
name: lab
boards:
  - id: one
    chip: esp32
    runtime: micropython
    identity: {usb_serial: 0001, vid_pid: 10C4:EA60}
    flash: {baud: 921600}
  - id: two
    chip: esp8266
    runtime: nodemcu
    virtual: {flash_size: 2MB}
"""

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "boards.yaml"
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    return write


def problems(path: Path) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_bench(path)
    name = load.short_name(path)
    lines = caught.value.message.splitlines()
    assert all(line.startswith(f"{name}:") or line.startswith(f"{name}: ") for line in lines)
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{name}:") for line in lines]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_good_file_becomes_values(write: Write) -> None:
    bench = load_bench(write(GOOD))
    one, two = bench.boards
    assert bench.name == "lab"
    assert one.identity is not None and one.identity.usb_serial == "0001"
    assert one.identity.vid_pid == "10c4:ea60"
    assert one.flash.baud == 921600 and one.flash_method == "esptool"
    assert two.virtual is not None and two.virtual.flash_size == 2 * 1024 * 1024
    assert bench.board("two") is two and bench.board("three") is None


def test_a_mac_of_decimal_digits_stays_text(write: Write) -> None:
    bench = load_bench(write(changed("usb_serial: 0001", "mac: 24:10:50:14:33:22, usb_serial: 12E4567")))
    identity = bench.boards[0].identity
    assert identity is not None
    assert (identity.mac, identity.usb_serial) == ("24:10:50:14:33:22", "12E4567")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "flash: {baud:",
            "flash: {baude:",
            "7: boards[0].flash.baude: unknown key; nearest valid key is 'baud'",
        ),
        ("name: lab", "nam: lab", "1: nam: unknown key; nearest valid key is 'name'"),
        ("921600", "fast", "7: boards[0].flash.baud: expected a whole number, came text 'fast'"),
        ("921600", "[1]", "7: boards[0].flash.baud: expected a whole number, came a list of 1"),
        ("921600", "12345678901234567890", "less than or equal to 4000000; came the number 12345678901234567890"),
        ("id: two", "id: two\n    limits: {x: {min: nan}}", "limits.x.min: expected a finite number, came text 'nan'"),
        (
            "id: two",
            "id: two\n    limits: {x: {max: -inf}}",
            "limits.x.max: expected a finite number, came text '-inf'",
        ),
        ("id: two", "id: two\n    wiring: {loopback: [[4, 4]]}", "two pins that are wired together, came 4 twice"),
        ("id: two", "id: tWo", "small letters, digits, - and _, a letter first, at most 40."),
        ("921600", '"921600"', "7: boards[0].flash.baud: expected a whole number, came text '921600'"),
        ("{baud: 921600}", "3", "7: boards[0].flash: expected a mapping, came the number 3"),
        (
            "0001",
            "123",
            "6: boards[0].identity.usb_serial: expected text, came the number 123; put it in quotes",
        ),
        ("10C4:EA60", "10C4", "6: boards[0].identity.vid_pid: text '10c4' does not have the right form"),
        ("baud: 921600", "stub: yes", "7: boards[0].flash.stub: expected true or false, came text 'yes'"),
        ("chip: esp32\n", "chip: esp33\n", "nearest valid chip is 'esp32"),
        (
            "nodemcu",
            "nodemcux",
            "10: boards[1].runtime: expected one of micropython, circuitpython, nodemcu",
        ),
        ("    chip: esp8266\n", "", "8: boards[1].chip: required key is missing. The chip on it"),
        ("2MB", "2GB", "11: boards[1].virtual.flash_size: expected a number of bytes, or text like 4MB"),
        ("id: two", "id: one", "8: boards[1].id: id 'one' is also that of boards[0].id in line 3"),
        ("id: two", "id: Two", "8: boards[1].id: text 'Two' does not have the right form: Name of the board"),
        ("id: two\n", "id: two\n    id: three\n", "9: boards[1].id: key given twice; the first is in line 8"),
        (
            "chip: esp8266",
            "chip: stm32f407",
            "virtual boards are esp32, esp32c3, esp32c6, esp32s3, esp8266, stm32f405, stm32f411, stm32l476; "
            "came stm32f407",
        ),
        ("  - id: two", "  - 3\n  - id: two", "8: boards[1]: expected a mapping, came the number 3"),
        (
            "flash: {baud",
            "reset: {method: custom}\n    flash: {baud",
            "7: boards[0].reset: expected 'sequence'",
        ),
        ("{baud: 921600}", "{method: dfu}", "flash.method of esp32: expected esptool, command, none; came dfu"),
        (
            "0001",
            "!!python/name:os.system x",
            "6: boards[0].identity.usb_serial: YAML tags are not supported",
        ),
        ("0001", "!!int 1", "6: boards[0].identity.usb_serial: YAML tags are not supported"),
        (
            "{usb_serial: 0001, vid_pid: 10C4:EA60}",
            "{url: 'rfc2217://bench-pi'}",
            "6: boards[0].identity.url: 'rfc2217://bench-pi' names no port server: expected rfc2217://HOST:PORT",
        ),
        ("{usb_serial: 0001, vid_pid: 10C4:EA60}", "{}", "6: boards[0].identity: expected at least one of"),
        ("    virtual: {flash_size: 2MB}", "    tags: [a]", "8: boards[1]: expected either 'identity'"),
    ],
)
def test_one_mistake_one_line(write: Write, old: str, new: str, expected: str) -> None:
    found = problems(write(changed(old, new)))
    assert len(found) == 1 and expected in found[0]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = changed("921600", "fast").replace("name: lab", "nam: lab").replace("nodemcu", "lua")
    assert [line.split(":")[0] for line in problems(write(text))] == ["1", "7", "10"]


BOARD = """\
  - id: {id}
    chip: esp32
    runtime: micropython
    identity: {{{identity}}}
"""


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("mac: '24:6F:28:00:00:01'", "mac: '24:6f:28:00:00:01'", "mac"),
        ("usb_location: 1-1.2", "usb_location: 1-1.2, mac: '24:6f:28:00:00:01'", "usb_location"),
        ("url: 'socket://localhost:1'", "url: 'socket://localhost:1'", "url"),
        ("usb_serial: abc, vid_pid: 10c4:ea60", "usb_serial: abc, vid_pid: 10C4:EA60", "usb_serial"),
        ("usb_serial: abc", "usb_serial: abc, vid_pid: 10C4:EA60", "usb_serial"),
        ("usb_serial: abc, vid_pid: 10c4:ea60", "usb_serial: abc, vid_pid: 1a86:7523", None),
        ("usb_serial: '0001', usb_location: 1-1", "usb_serial: '0001', usb_location: 1-2", None),
        ("vid_pid: 1a86:7523, usb_location: 1-1", "vid_pid: 1a86:7523, usb_location: 1-2", None),
    ],
)
def test_two_boards_at_one_place(write: Write, first: str, second: str, clash: str | None) -> None:
    text = "boards:\n" + BOARD.format(id="a", identity=first) + BOARD.format(id="b", identity=second)
    if clash is None:
        assert len(load_bench(write(text)).boards) == 2
    else:
        (line,) = problems(write(text))
        assert line.startswith(f"9: boards[1].identity.{clash}: ")
        assert line.endswith(f"is also that of boards[0].identity.{clash} in line 5")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "1: expected a mapping with the key 'boards', the file is empty"),
        (b"# only a comment\n", "1: expected a mapping with the key 'boards', the file is empty"),
        (b"\n- a\n- b\n", "2: expected a mapping with the key 'boards', came a list"),
        (b"boards", "1: expected a mapping with the key 'boards', came a single value"),
        (b"boards: []\n", "1: boards: expected at least 1 values, came a list of 0"),
        (b"name: lab\n", "1: boards: required key is missing"),
        (b"boards:\n  - id: [\n", "3: not valid YAML"),
        (b"boards:\n\t- id: a\n", "2: not valid YAML"),
        (b"a: b\n---\nc: d\n", "2: not valid YAML"),
        (b"name: lab\nboards: \xff\n", "2: expected UTF-8 text, found byte 0xff"),
        (b"name: lab\nboards: \x07\n", "2: not valid YAML: character U+0007"),
        (b'name: "\\UFFFFFFFF"\n', "1: not valid YAML"),
        (b"name: *nobody\n", "1: not valid YAML: found undefined alias"),
        (b"? [a, b]\n: 1\nboards: []\n", "1: top level: expected a plain word as key"),
        (b"boards: &a [*a]\n", "nested deeper than"),
        (b"[" * 5000, "nested deeper than"),
        (b"x" * 300_000, " expected at most 256 KB"),
    ],
)
def test_files_that_are_no_bench(write: Write, content: bytes, expected: str) -> None:
    assert any(expected in line for line in problems(write(content)))


def test_aliases_cannot_blow_up(write: Write) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 20):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert any("more than 20000 values, aliases followed" in line for line in problems(write(bomb)))


def test_aliases_are_followed(write: Write) -> None:
    text = changed("{baud: 921600}", "&slow {baud: 9600}") + "    flash: *slow\n"
    assert [board.flash.baud for board in load_bench(write(text)).boards] == [9600, 9600]


def test_no_file_and_no_readable_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a boards file, there is none"):
        load_bench(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_bench(tmp_path)


def firmware(text: str) -> str:
    return changed("flash: {baud: 921600}", f"firmware: {text}")


def test_firmware_files_are_checked_with_their_line(write: Write, tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_bytes(b"firmware")
    good = hashlib.sha256(b"firmware").hexdigest()
    bad = "0" * 64
    (board, _) = load_bench(write(firmware(f"{{path: fw.bin, sha256: {good.upper()}}}"))).boards
    assert [(i.path, i.offset, i.kind) for i in board.images] == [(tmp_path / "fw.bin", 0x1000, "firmware")]

    (line,) = problems(write(firmware("\n      path: gone.bin\n      sha256: " + bad)))
    assert line.startswith("8: boards[0].firmware.path: firmware file ") and "No such file" in line
    (line,) = problems(write(firmware(f"\n      path: fw.bin\n      sha256: {bad}")))
    assert line.startswith("9: boards[0].firmware.sha256: ") and f"expected {bad}, came {good}" in line
    (line,) = problems(write(firmware("\n      images:\n        - path: fw.bin\n        - path: .")))
    assert line.startswith("10: boards[0].firmware.images[1].path: ") and "not a regular file" in line
    (tmp_path / "empty.bin").touch()
    (line,) = problems(write(firmware("{path: empty.bin}")))
    assert "is empty" in line


def test_firmware_files_can_be_left_unchecked(write: Write) -> None:
    path = write(firmware("{path: gone.bin, offset: 0x10000}"))
    bench = load_bench(path, check_files=False)
    assert bench.boards[0].images[0].offset == 0x10000
    with pytest.raises(UsageError, match=r"boards\[0\]\.firmware\.path: firmware file .*gone\.bin"):
        load.check_files(bench)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "expected exactly one of path, images, build; came none"),
        ("{path: a, build: virtual}", "expected exactly one of path, images, build; came path, build"),
        ("{path: a, variant: leaky}", "'variant' belongs to 'build', which is not given"),
        ("{build: virtual}", "'build: virtual' makes firmware for virtual boards only"),
        ("{path: ''}", "expected the path of a file; came ''"),
    ],
)
def test_firmware_has_one_source(write: Write, text: str, expected: str) -> None:
    (line,) = problems(write(firmware(text)))
    assert expected in line


def test_limits_and_wiring_are_checked(write: Write) -> None:
    text = changed(
        "flash: {baud: 921600}",
        "limits: {'reload.*heap*': {maxi: 3}, 'a.b': {}, c: {min: 2, max: 1}, d: {equal: 1, max: 1}}\n"
        "    wiring: {loopback: [[4, PA5], [1], [1, 2, 3], [1, true]]}",
    )
    found = "\n".join(problems(write(text)))
    assert "boards[0].limits['reload.*heap*'].maxi: unknown key; nearest valid key is 'max'" in found
    assert "boards[0].limits['a.b']: expected at least one of min, max, equal" in found
    assert "boards[0].limits.c: min 2 is greater than max 1" in found
    assert "boards[0].limits.d: 'equal' excludes min, max and within_percent" in found
    assert "8: boards[0].wiring.loopback[1][1]: expected 2 values" in found
    assert "8: boards[0].wiring.loopback[2]: expected at most 2 values" in found
    assert "8: boards[0].wiring.loopback[3][1]: expected a pin number" in found
    assert "loopback[0]" not in found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes_give_values_or_one_usage_error(write: Write, data: bytes) -> None:
    path = write(data)
    with pytest.raises(UsageError):
        load_bench(path)


_WORD = st.sampled_from(
    ["boards", "id", "chip", "esp32", "flash", "identity", "mac", "firmware", "limits", "wiring", "loopback"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | _WORD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORD | st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(board=_JSON, where=st.integers(0, 12), junk=st.text(max_size=12))
def test_any_structure_gives_values_or_one_usage_error(write: Write, board: object, where: int, junk: str) -> None:
    try:
        load_bench(write(json.dumps({"boards": [board]})))
    except UsageError as error:
        assert all("\x1b" not in line and line.isprintable() for line in error.message.splitlines())
    lines = GOOD.splitlines()
    lines.insert(where, junk)
    try:
        load_bench(write("\n".join(lines)))
    except UsageError as error:
        assert ":" in error.message


def test_the_shipped_bench_holds_the_virtual_boards() -> None:
    bench = load_bench(ROOT / "boards.yaml")
    assert [(b.id, b.chip, b.runtime) for b in bench.boards] == [
        ("vesp32", "esp32", "micropython"),
        ("vesp8266", "esp8266", "micropython"),
        ("vs3", "esp32s3", "micropython"),
        ("vstm32", "stm32f405", "micropython"),
        ("vfeather", "esp32", "circuitpython"),
        ("vnodemcu", "esp8266", "nodemcu"),
    ]
    for board in bench.boards:
        assert board.virtual is not None and board.virtual.pty
        assert board.firmware is not None and board.firmware.build == "virtual"
        assert (
            board.runtime == "circuitpython"
            or {"micropython": "romfs", "nodemcu": "lfs"}[board.runtime] in board.capabilities
        )


def test_the_commented_examples_are_valid(write: Write) -> None:
    lines = (ROOT / "boards.yaml").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("  # - id:"))
    # Example lines are comments whose text is indented as YAML or starts a list item; prose is not.
    example = ["  " + line[4:] for line in lines[begin:] if line.startswith(("  # - ", "  #   "))]
    text = "\n".join(lines[:begin] + example)
    bench = load_bench(write(text), check_files=False)
    real = [b for b in bench.boards if b.virtual is None]
    assert [b.id for b in real] == ["devkit32", "nodemcu8266", "nucleo476", "feather32"]
    assert [b.images[0].offset for b in real] == [0x1000, 0, 0x0800_0000, 0]


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "docs" / "boards.schema.json").read_text()
    assert published == schema_text(), "run: python -m harness.inventory.schema > docs/boards.schema.json"
    first = (ROOT / "boards.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=docs/boards.schema.json"


def test_every_key_is_described_in_the_schema() -> None:
    schema = json.loads(schema_text())
    for name, model in {"Bench": schema, **schema["$defs"]}.items():
        for key, entry in model["properties"].items():
            target = schema["$defs"].get(entry.get("$ref", "").rpartition("/")[2], {})
            assert entry.get("description") or target.get("description"), f"{name}.{key} has no description"
        assert model["additionalProperties"] is False


def test_the_page_on_boards_yaml_names_everything(write: Write) -> None:
    page = (ROOT / "docs" / "boards-yaml.md").read_text()
    for name, sentence in CAPABILITIES.items():
        assert f"| `{name}` | {sentence} |" in page
    for chip in CHIPS:
        assert chip in page
    words = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    for model in (Board, Identity, Virtual, Firmware, Flash, ConsoleSettings, Reset, Power, Wiring, Limit):
        assert set(model.model_fields) <= words, model.__name__
    example = page.split("```yaml\n")[1].split("```")[0]
    assert load_bench(write(example), check_files=False).boards[0].id == "devkit32"


def test_keys_that_were_never_read_may_stand_with_what_is_done_anyway(write: Write) -> None:
    bench = load_bench(write(changed("{baud: 921600}", "{baud: 921600, after: hard-reset, verify: true}")))
    assert bench.boards[0].flash.baud == 921600


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("after: no-reset", "'after' was never carried out and is no key any more: the board is always started"),
        ("verify: false", "'verify' was never carried out and is no key any more: what was written is always verified"),
    ],
)
def test_keys_that_were_never_read_are_refused_when_they_ask_for_something_else(
    write: Write, key: str, sentence: str
) -> None:
    (found,) = problems(write(changed("{baud: 921600}", f"{{{key}}}")))
    assert found.startswith("7: boards[0].flash: ")
    assert sentence in found


@pytest.mark.parametrize(
    ("flash", "sentence"),
    [
        ("{method: command}", "expected 'command' with 'method: command'"),
        ("{command: [picotool]}", "'command', 'verify_command', 'start_command' and 'enter' go with 'method: command'"),
        ("{method: none, enter: bootloader}", "'start_command' and 'enter' go with 'method: command'"),
        ("{method: comand, command: [a]}", "nearest valid flash.method is 'command'"),
        ("{method: command, command: [a], timeout: 0}", "greater than 0"),
    ],
)
def test_flashing_by_a_program_is_checked_when_the_file_is_read(write: Write, flash: str, sentence: str) -> None:
    assert any(sentence in problem for problem in problems(write(changed("{baud: 921600}", flash))))


def test_a_generic_board_is_written_by_a_program_alone(write: Write) -> None:
    firmware = "chip: generic\n    firmware: {path: one.bin}\n"
    text = changed("chip: esp32\n", firmware)
    by_program = text.replace("{baud: 921600}", "{method: command, command: [picotool, load, '{image}']}")
    path = write(by_program)
    (path.parent / "one.bin").write_bytes(b"x")
    board = load_bench(path).boards[0]
    assert board.flash.command == ("picotool", "load", "{image}")
    assert [image.offset for image in board.images] == [0]
    (found,) = problems(write(text.replace("{baud: 921600}", "{}")))
    assert "only flash.method command writes to a generic chip" in found
