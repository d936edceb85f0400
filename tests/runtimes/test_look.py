"""What a VM at an unknown port holds: also where it holds much."""

from __future__ import annotations

from harness.reference.nodemcu.lua_reference import LuaReference
from harness.runtimes.looked import FILES_SHOWN, START_FILE_LIMIT
from harness.runtimes.micropython.look import look as look_at_micropython
from harness.runtimes.nodemcu.look import look as look_at_nodemcu
from harness.runtimes.traits import Means
from tests.suites.chip_on_a_queue import VirtualChip

MANY = [f"a{number:02}.txt" for number in range(FILES_SHOWN + 6)]


def test_a_start_file_behind_many_others_is_seen() -> None:
    with VirtualChip() as chip:
        for name in MANY:
            chip.client.run(f"open({name!r}, 'w').close()")
        chip.client.put("main.py", b"print(1)\n")
        chip.client.put("boot.py", b"#" * (START_FILE_LIMIT + 1))
        found = look_at_micropython(chip.client.session, Means(), ("boot.py", "main.py"))
    assert found.start_files == {"main.py": b"print(1)\n", "boot.py": b""}  # too long to be idle: not read
    assert dict(found.files)["boot.py"] == START_FILE_LIMIT + 1
    assert len(found.files) + found.more_files == len(MANY) + 2
    assert len(found.files) <= FILES_SHOWN + 2


def test_so_is_one_on_nodemcu() -> None:
    with LuaReference() as reference:
        for name in MANY:
            reference.put(name, b"x")
        reference.put("init.lua", b"print(1)" + b" " * 300)
        found = look_at_nodemcu(reference.session, Means(), ("init.lua",))
    assert list(found.start_files) == ["init.lua"]
    assert dict(found.files)["init.lua"] == 308
    assert found.more_files == len(MANY) - FILES_SHOWN
