"""A board made ready for scenarios, and what it can be asked to do then."""

from pathlib import Path

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.errors import UsageError
from harness.formats.romfs import build_romfs
from harness.inventory.load import load_bench

BENCH = """
boards:
  - id: board
    chip: {chip}
    runtime: micropython
    virtual: {{}}
    firmware: {{build: virtual}}
    capabilities: [romfs]
"""


def ready(chip: str, folder: Path) -> AttachedBoard:
    (folder / "boards.yaml").write_text(BENCH.format(chip=chip))
    (board,) = load_bench(folder / "boards.yaml").boards
    return attach(board, Options(folder), lambda *_: None)


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
def test_the_romfs_region_is_written_alone_and_only_when_it_differs(tmp_path: Path, chip: str) -> None:
    attached = ready(chip, tmp_path)
    try:
        board = attached.runtime
        board.put("/kept.txt", b"kept")
        image = build_romfs({"fresh.py": b"def f(): return 'new code'\n"})
        first = attached.write_romfs(image)
        second = attached.write_romfs(image)
        assert first.written > 0
        assert (second.written, second.unchanged) == (0, len(image))
        found = board.run("import fresh, os\nprint(fresh.f(), os.listdir('/rom'), open('/kept.txt').read())").stdout
        assert found == b"new code ['fresh.py'] kept\r\n"
        with pytest.raises(UsageError, match="do not fit"):
            attached.write_romfs(bytes(1 << 22))
        assert board.run("import fresh; print(fresh.f())").stdout == b"new code\r\n"
    finally:
        attached.close()
