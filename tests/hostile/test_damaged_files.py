"""Every file that the harness reads may be damaged: what comes is an error of its own, with the right exit code."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.campaigns.qualify.certificate import seal
from harness.cli import main
from harness.errors import BenchFault, HarnessError, UsageError
from harness.formats import esp_image, partitions
from harness.formats.inspect_image import inspect
from harness.formats.lfs.chunk import read_chunk
from harness.formats.lfs.read import read_image
from harness.formats.romfs import build_romfs
from harness.formats.stm32_image import parse_vectors
from harness.inventory.load import load_bench
from harness.judging.calibration import Calibration, Point
from harness.paths import shipped_bench
from harness.reference.nodemcu.lfs_build import build_file
from harness.results.exchange import export_lines
from tests.campaigns.test_certificate import content
from tests.results.test_exchange import filled

TRANSCRIPTS = sorted((Path(__file__).parents[1] / "runtimes" / "replay").glob("*.jsonl"))
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

#: What stands in place of a value.
HOSTILE: list[Any] = [
    None, True, -1, 0, 10**30, 1 << 63, float("inf"), float("nan"), -1e308, "", "x", "\ud800", "\0", "\x1b]0;title\x07",
    [], {}, [[]], {"bytes": 1}, {"bytes": "\u4e00"}, {"intervention": {}}, {"a": {"b": None}},
]  # fmt: skip


def _spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, part in inner for spot in _spots(part, (*path, key)))]


def _changed(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """``value`` with something else, or nothing, at one place."""
    value = copy.deepcopy(value)
    path = draw(st.sampled_from(_spots(value)))
    if not path:
        return draw(st.sampled_from(HOSTILE))
    place = value
    for key in path[:-1]:
        place = place[key]
    if draw(st.booleans()):
        place[path[-1]] = draw(st.sampled_from(HOSTILE))
    else:
        del place[path[-1]]
    return value


@st.composite
def damaged(draw: Any, text: str) -> bytes:
    """JSON Lines of which some were changed as values, or the text was as bytes."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["value", "inner", "gone", "twice", "cut"]))
        if how == "gone":
            del lines[at]
        elif how == "twice":
            lines.insert(at, lines[at])
        elif how == "cut":
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        else:
            try:
                fields = json.loads(lines[at])
                if how == "inner" and isinstance(fields, dict) and str(fields.get("data", "")).startswith("{"):
                    fields["data"] = json.dumps(_changed(json.loads(fields["data"]), draw))
                else:
                    fields = _changed(fields, draw)
                lines[at] = json.dumps(fields)
            except ValueError:
                continue
        if not lines:
            return b""
    data = bytearray("\n".join(lines).encode())
    for _ in range(draw(st.integers(0, 2)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def _harness(*arguments: str) -> Result:
    """A command; what it raises is no error of ours, and what it prints moves no cursor."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    said = result.output + result.stderr
    assert all(c.isprintable() or c == "\n" for c in said), ascii(said)
    return result


def _with_file(data: bytes, *arguments: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(data)
        return _harness(*(argument.format(file=file, folder=folder) for argument in arguments))


@pytest.mark.parametrize("file", TRANSCRIPTS, ids=lambda file: file.stem)
@MANY
@given(st.data())
def test_transcripts(file: Path, data: st.DataObject) -> None:
    result = _with_file(data.draw(damaged(file.read_text("ascii"))), "replay", "{file}")
    assert result.exit_code in (0, 1, 2)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = filled(tmp_path_factory.mktemp("store") / "results.sqlite")
    lines = list(export_lines(store))
    store.close()
    return "".join(lines)


@MANY
@given(st.data())
def test_exports_of_a_store(export: str, data: st.DataObject) -> None:
    result = _with_file(data.draw(damaged(export)), "store", "import", "{file}", "--store", "{folder}/s.sqlite")
    assert result.exit_code in (0, 2), result.output


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("store") / "results.sqlite"
    filled(file).close()
    return file.read_bytes()


@MANY
@given(st.data())
def test_stores(store: bytes, data: st.DataObject) -> None:
    """A store that is no database any more is the bench's fault, one that never was is the user's."""
    content = bytearray(store)
    for _ in range(data.draw(st.integers(1, 40))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    command = data.draw(st.sampled_from([("store", "info"), ("store", "export", "-"), ("history",)]))
    result = _with_file(bytes(content), *command, "--store", "{file}")
    assert result.exit_code in (0, 2, 3)


@MANY
@given(st.data())
def test_certificates(data: st.DataObject) -> None:
    good = json.dumps(seal(content()).to_json())
    result = _with_file(data.draw(damaged(good)), "verify", "{file}")
    assert result.exit_code in (0, 1, 2)


_YAML = [b"", b"\0", b"\x1b[2J", b"!!python/x ", b"&a [*a]", b"1e999", b"\xed\xa0\x80", b"[", b": ", b"\xe2\x80\xae"]


@MANY
@given(st.data())
def test_benches(data: st.DataObject) -> None:
    good = bytearray(shipped_bench().read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(1, 3))] = data.draw(
            st.sampled_from(
                [b"", b"\0", b"\x1b[2J", b"!!python/x ", b"&a [*a]", b"1e999", b"\xed\xa0\x80", b"[", b": "]
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "boards.yaml"
        file.write_bytes(good)
        with contextlib.suppress(HarnessError):
            load_bench(file)
        assert _harness("boards", "--bench", str(file)).exit_code in (0, 2)


@MANY
@given(st.data())
def test_calibrations(data: st.DataObject) -> None:
    good = Calibration(1.5, 0.1, (Point("loop", 3.0, 2.0),)).to_json()
    text = data.draw(damaged(good)).decode("utf-8", "replace")
    with contextlib.suppress(BenchFault):
        Calibration.from_json(text)


def _lfs() -> bytes:
    return build_file({"a.lua": b"local x = 'text' return function(y) return x .. y, 1.5 end"}, build_time=1)


_IMAGES: dict[str, Callable[[], bytes]] = {
    "lfs": _lfs,
    "romfs": lambda: build_romfs({"a.txt": b"x" * 100}),
    "esp32": lambda: esp_image.build_esp32([(0x3F400020, b"x" * 64)], entry=0x40080000),
    "esp8266": lambda: esp_image.build_esp8266([(0x3FFE8000, b"x" * 64)], entry=0x40100000),
    "nothing": lambda: b"",
}  # fmt: skip

_READERS: dict[str, Callable[[bytes], object]] = {
    "inspect": inspect,
    "partition table": partitions.parse_table,
    "esp image": esp_image.parse,
    "esp8266 image": lambda data: esp_image.parse(data, esp8266=True),
    "stm32 image": parse_vectors,
    "lfs image": read_image,
    "lua chunk": lambda data: read_chunk(data, "chunk"),
}


@pytest.mark.parametrize("reader", _READERS)
@pytest.mark.parametrize("image", _IMAGES)
@MANY
@given(st.data())
def test_images(image: str, reader: str, data: st.DataObject) -> None:
    content = bytearray(_IMAGES[image]())
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    with contextlib.suppress(UsageError, esp_image.ImageError):
        _READERS[reader](bytes(content) + data.draw(st.binary(max_size=40)))
