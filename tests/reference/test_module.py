import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reference.engine.prepare import vm_module
from harness.reference.engine.wasm_module import (
    compiled,
    custom_section,
    custom_sections,
    leb128,
    without_custom_sections,
)

EMPTY = b"\0asm\x01\0\0\0"


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=300), max_size=5))
def test_custom_sections_come_back_and_do_not_change_the_code(sections: dict[str, bytes]) -> None:
    module = EMPTY + b"".join(custom_section(name, content) for name, content in sections.items())
    assert custom_sections(module) == sections
    assert without_custom_sections(module) == EMPTY


@given(st.binary(max_size=200))
def test_any_bytes_are_a_module_or_a_value_error(data: bytes) -> None:
    for candidate in (data, EMPTY + data):
        with contextlib.suppress(ValueError):
            custom_sections(candidate)


@given(st.integers(0, 2**32 - 1))
def test_leb128_is_the_shortest_form(value: int) -> None:
    encoded = leb128(value)
    assert sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(encoded)) == value
    assert len(encoded) == max(1, -(-value.bit_length() // 7))


def test_a_truncated_module_is_refused() -> None:
    with pytest.raises(ValueError, match="past the end|refuses|middle"):
        compiled(vm_module()[:-1000])


def test_variants_that_differ_in_scripts_share_the_compiled_code() -> None:
    module = vm_module()
    variant = module + custom_section("harness.port", b"pass")
    one, other = (hashlib.sha256(without_custom_sections(m)).digest() for m in (module, variant))
    assert one == other
