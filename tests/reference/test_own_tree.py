"""What is read off a source tree before anything is compiled, and which reference a board gets.

The trees here hold just what is read; real ones are built in tests/emulated/test_own_tree.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory.model import Board
from harness.judging import chosen_reference
from harness.judging.rules import OWN_TREE, heap_rule, release_of
from harness.reference.engine import vm_cache
from harness.reference.engine.tree_vm import TREE_SECTION, tree_section
from harness.reference.engine.wasm_module import custom_section
from harness.reference.own_tree import build, kept
from harness.reference.own_tree.board_settings import Setting, _decided
from harness.reference.own_tree.rom_names import names_of_build, names_of_sources
from harness.reference.own_tree.tree import content_of, find_firmware, open_tree
from harness.runtimes.interface import Facts

EMPTY = b"\0asm\x01\0\0\0"


def a_tree(folder: Path, version: tuple[int, int, int] = (1, 26, 1)) -> Path:
    (folder / "py").mkdir(parents=True)
    names = ("MAJOR", "MINOR", "MICRO")
    text = "".join(f"#define MICROPY_VERSION_{name} {n}\n" for name, n in zip(names, version, strict=True))
    (folder / "py" / "mpconfig.h").write_text(text)
    for board in ("GENERIC", "GENERIC_S2"):
        (folder / "ports" / "esp32" / "boards" / board).mkdir(parents=True)
    (folder / "ports" / "esp32" / "boards" / "GENERIC" / "mpconfigvariant_OTA.cmake").write_text("")
    return folder


def test_a_tree_says_its_version_and_its_boards(tmp_path: Path) -> None:
    tree = open_tree(a_tree(tmp_path))
    assert tree.version == "1.26.1"
    assert find_firmware(tree, "esp32/GENERIC", "OTA").name == "esp32/GENERIC-OTA"


@pytest.mark.parametrize(
    ("name", "variant", "said", "hint"),
    [
        ("esp3/GENERIC", "", "no port 'esp3'", "esp32"),
        ("esp32/GENERC", "", "no board 'GENERC'", "esp32/GENERIC"),
        ("esp32", "", "which board of port esp32", "esp32/GENERIC"),
        ("esp32/GENERIC", "OTTA", "no variant 'OTTA'", "OTA"),
        ("../esp32/GENERIC", "", "no port '..'", ""),
    ],
)
def test_what_the_tree_has_not_is_told_with_the_nearest_name(
    tmp_path: Path, name: str, variant: str, said: str, hint: str
) -> None:
    tree = open_tree(a_tree(tmp_path))
    with pytest.raises(UsageError, match=said) as caught:
        find_firmware(tree, name, variant)
    assert hint in caught.value.hint


@pytest.mark.parametrize("version", [(1, 19, 1), (2, 0, 0), (0, 1, 0)])
def test_a_release_out_of_range_is_refused(tmp_path: Path, version: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=r"expected 1\.20 or a newer"):
        open_tree(a_tree(tmp_path, version))


def test_a_folder_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no source tree"):
        open_tree(tmp_path)
    (tmp_path / "py").mkdir()
    (tmp_path / "py" / "mpconfig.h").write_text("#define MICROPY_VERSION_MAJOR 1\n")
    with pytest.raises(UsageError, match="names no version"):
        open_tree(tmp_path)


def test_each_change_of_the_tree_is_another_build(tmp_path: Path) -> None:
    a_tree(tmp_path)
    firmware = find_firmware(open_tree(tmp_path), "esp32/GENERIC")
    request = build.Request(firmware)
    keys = {build.key_of(request), build.key_of(replace(request, defines={"MICROPY_FLOAT_IMPL": "1"}))}
    (tmp_path / "py" / "gc.c").write_text("int a;")
    keys.add(build.key_of(request))
    (tmp_path / "ports" / "esp32" / "boards" / "GENERIC" / "mpconfigboard.h").write_text("#define A 1")
    keys.add(build.key_of(request))
    before = content_of(firmware)
    (tmp_path / "ports" / "esp32" / "boards" / "GENERIC_S2" / "mpconfigboard.h").write_text("#define A 1")
    assert content_of(firmware) == before, "another board's settings are not its own"
    (tmp_path / "ports" / "esp32" / "boards" / "manifest.py").write_text("")
    keys.add(build.key_of(request))
    assert len(keys) == 5


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        ("MICROPY_ALLOC_PARSE_CHUNK_INIT", "(64)", "(64)"),
        ("MICROPY_OBJ_REPR", "(MICROPY_OBJ_REPR_C)", "(MICROPY_OBJ_REPR_C)"),
        ("MICROPY_FLOAT_IMPL", "(MICROPY_FLOAT_IMPL_FLOAT)", "(MICROPY_FLOAT_IMPL_FLOAT)"),
        ("MICROPY_SCHEDULER_DEPTH", "(8)", "(8)"),
        ("MICROPY_PY_SYS_PLATFORM", '"esp8266"', '"esp8266"'),
        ("MICROPY_PY_MACHINE_PIN_BASE", "(1)", "(1)"),
        ("MICROPY_EMIT_XTENSAWIN", "(1)", None),
        ("MICROPY_PY_MACHINE_I2S", "(1)", None),
        ("MICROPY_PY_BLUETOOTH", "(1)", None),
        ("MICROPY_GC_SPLIT_HEAP_AUTO", "(1)", None),
        ("MICROPY_VM_HOOK_LOOP", "ets_loop_iter();", None),
        ("MICROPY_PY_BUILTINS_HELP_TEXT", "esp_help_text", None),
        ("MICROPY_EVENT_POLL_HOOK", "do { poll(); } while (0)", None),
    ],
)
def test_what_decides_about_the_language_vm_is_taken(name: str, value: str, ours: str | None) -> None:
    known = {name, "MICROPY_OBJ_REPR_C", "MICROPY_FLOAT_IMPL_FLOAT"}
    decided = _decided(name, value, known)
    assert decided.ours == ours
    assert bool(decided.why) == (ours is None), "whatever is left out has a reason"


@given(st.text(alphabet="(){};#ab1_ \"'\\", max_size=30))
def test_no_code_of_a_port_is_taken(value: str) -> None:
    decided = _decided("MICROPY_PY_THING", value, {"MICROPY_PY_THING"})
    assert decided.ours is None or not set("{};#") & set(decided.ours.replace('"', ""))


# -- names ---------------------------------------------------------------------------------------


def test_names_are_read_from_a_build_folder(tmp_path: Path) -> None:
    (tmp_path / "genhdr").mkdir()
    lines = [
        'QDEF0(MP_QSTRnull, 0, 0, "")',
        'QDEF0(MP_QSTR_, 5, 0, "")',
        'QDEF1(MP_QSTR__lt_stdin_gt_, 1, 7, "<stdin>")',
    ]
    lines += [f'QDEF1(MP_QSTR_name{n}, {n}, 5, "name{n}")' for n in range(120)]
    (tmp_path / "genhdr" / "qstrdefs.generated.h").write_text("\n".join(lines))
    names = names_of_build(tmp_path)
    assert "Q(<stdin>)" in names
    assert len(names) == 121


def test_a_folder_in_which_nothing_was_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        names_of_build(tmp_path)
    (tmp_path / "genhdr").mkdir()
    (tmp_path / "genhdr" / "qstrdefs.generated.h").write_text("")
    with pytest.raises(UsageError, match="expected hundreds"):
        names_of_build(tmp_path)


def test_names_are_collected_from_sources(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("{ MP_ROM_QSTR(MP_QSTR_Pin), MP_QSTR_irq, NOT_MP_QSTR_x }")
    assert names_of_sources([tmp_path]) == ["Q(Pin)", "Q(irq)"]


# -- which reference a board gets ----------------------------------------------------------------


FACTS = Facts("micropython", "3.4.0; MicroPython v1.26.1 on 2025-09-13", "a board", 4, "A", 100000, 774)


def a_build(
    firmware: str = "esp32/GENERIC", version: str = "1.26.1", key: str = "aa" * 32
) -> tuple[bytes, build.Build]:
    settings = (Setting("MICROPY_VFS_ROM", "", "(1)", "needed"),)
    said = build.Build(key, firmware, version, 1.0, 2, "its C sources", "", settings)
    import json

    return EMPTY + custom_section(TREE_SECTION, json.dumps(said.described()).encode()), said


def a_board(reference: dict[str, str] | None = None, chip: str = "esp32") -> Board:
    entry = {"id": "b", "chip": chip, "runtime": "micropython", "identity": {"port": "/dev/ttyX"}}
    return Board.model_validate({**entry, **({"reference": reference} if reference else {})})


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("HARNESS_VM", raising=False)
    return tmp_path


def keep(*builds: tuple[bytes, build.Build]) -> None:
    for module, said in builds:
        vm_cache.keep(kept._file(said.key), module)


def test_the_nearest_build_is_taken_and_the_reason_told(cache: Path) -> None:
    keep(a_build("stm32/PYBV11", key="11" * 32), a_build(key="22" * 32), a_build(version="1.25.0", key="33" * 32))
    chosen = chosen_reference.choose(a_board(), FACTS, print)
    assert "esp32/GENERIC" in chosen.label
    assert "1.26.1" in chosen.label
    assert "boards.yaml names none" in chosen.why
    assert not chosen.own, "the nearest is not the board's own"


def test_without_a_build_it_is_the_prepared_one(cache: Path) -> None:
    keep(a_build(version="1.25.0"))
    chosen = chosen_reference.choose(a_board(), FACTS, print)
    assert chosen.module is None
    assert "none was built here for 1.26.1" in chosen.why


def test_a_named_build_of_the_boards_version_is_its_own(cache: Path) -> None:
    keep(a_build())
    assert chosen_reference.choose(a_board({"built": "esp32/GENERIC"}), FACTS, print).own


def test_the_prepared_one_can_be_asked_for(cache: Path) -> None:
    keep(a_build())
    chosen = chosen_reference.choose(a_board({"built": "prepared"}), FACTS, print)
    assert chosen.module is None
    assert not chosen.own


def test_a_named_build_of_another_version_is_not(cache: Path) -> None:
    keep(a_build())
    facts = replace(FACTS, version="3.4.0; MicroPython v1.26.0 on 2025-08-01")
    chosen = chosen_reference.choose(a_board({"built": "esp32/GENERIC"}), facts, print)
    assert not chosen.own
    assert "the board has MicroPython 1.26.0" in chosen.why


def test_a_name_of_no_build_and_one_of_several_are_refused(cache: Path) -> None:
    keep(a_build(), a_build("esp32/OTHER", key="44" * 32))
    with pytest.raises(UsageError, match="no reference 'esp8266/X' was built"):
        kept.find("esp8266/X")
    with pytest.raises(UsageError, match="several references"):
        kept.find("1.26.1")
    assert kept.find("4" * 12)[1].firmware == "esp32/OTHER"


def test_a_damaged_build_in_the_cache_is_none(cache: Path) -> None:
    keep(a_build())
    path = cache / "cache" / "compiled" / kept._file("aa" * 32)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert kept.all_kept() == []


def test_a_removed_build_is_gone(cache: Path) -> None:
    keep(a_build())
    kept.remove("esp32/GENERIC@1.26.1")
    assert kept.all_kept() == []


def test_a_file_that_is_no_reference_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.wasm"
    file.write_bytes(EMPTY)
    with pytest.raises(UsageError, match="no reference that was built from a tree"):
        kept.from_file(file)
    file.write_bytes(EMPTY + custom_section(TREE_SECTION, b'{"key": 1}'))
    with pytest.raises(UsageError, match="damaged"):
        kept.from_file(file)


@given(st.binary(max_size=60))
def test_a_description_may_be_anything(content: bytes) -> None:
    module = EMPTY + custom_section(TREE_SECTION, content)
    try:
        said = tree_section(module)
    except ValueError:
        return
    assert isinstance(said, dict)


def test_with_its_own_tree_a_board_is_held_to_the_byte() -> None:
    reference = replace(FACTS, machine="another")
    assert not heap_rule(FACTS, reference).exact
    rule = heap_rule(FACTS, reference, own_tree=True)
    assert rule.exact
    assert rule.words == OWN_TREE
    other = replace(reference, object_repr="C")
    assert not heap_rule(FACTS, other, own_tree=True).exact, "another representation is another build, whatever it says"


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("3.4.0; MicroPython v1.26.1+ds-1 on 2025-09-13", "1.26.1"),
        ("3.4.0; MicroPython v1.25 on 2025-04-15", "1.25.0"),
        ("3.4.0; MicroPython v1.27.0-preview.1.g1234 on 2025-09-13", "1.27.0"),
        ("no version", ""),
    ],
)
def test_the_release_is_read_off_what_a_vm_says(version: str, release: str) -> None:
    assert release_of(version) == release


def test_one_source_of_a_reference_is_given() -> None:
    with pytest.raises(ValueError, match="exactly one of built, file, tree"):
        a_board({"built": "x", "file": "y"})
    with pytest.raises(ValueError, match="'tree' needs 'board'"):
        a_board({"tree": "/x"})
    with pytest.raises(ValueError, match="belongs to 'tree'"):
        a_board({"built": "x", "variant": "y"})
