"""Values: what the language itself says a program must get, worked out on the host. No VM is the measure of it."""

from __future__ import annotations

import math
import random
import re
import struct
from fractions import Fraction

import pytest

from harness.judging.board_bench import Pair
from harness.judging.figures import Figure
from harness.judging.limits import at_least, at_most, between, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, STATE
from harness.runtimes.program import Program

# -- floats --------------------------------------------------------------------------------------

FLOATS = 40
#: What Python writes for floats that every width has, and that no VM has reason to write otherwise.
PLAIN = ("0.1", "0.5", "-2.0", "100.0", "1e+20", "inf", "-inf", "nan", "0.0")
#: From this version on a float's text is as long as it must be to read back as that float; before, it was of 7 or 16
#: digits (MicroPython ``py/mpconfig.h``, ``MICROPY_FLOAT_FORMAT_IMPL``; "almost perfect" is its word for singles).
EXACT_SINCE = (1, 26)

BITS = Figure(
    "float.bits", COUNT, limit=between(22, 53, words="22 (singles with a tag of 2 bits) to 53 (doubles), as asked")
)
DIGITS = Figure("float.right_digits", COUNT)
TEXTS_CHANGED = Figure("float.texts_changed", COUNT)
FLOATS_CHANGED = Figure(
    "float.floats_changed", COUNT,
    limit=at_most(FLOATS // 20, words=f"at most one in twenty of {FLOATS} is another float when its text is read"),
)  # fmt: skip
PLAIN_TEXTS = Figure("float.plain", STATE, limit=exactly(" ".join(PLAIN)))


def seeded_floats(bits: int, count: int) -> list[float]:
    """Floats of full width, far from where their exponents end."""
    rng = random.Random(bits)
    reach = 280 if bits > 24 else 90
    return [
        math.ldexp(rng.randrange(1 << bits - 1, 1 << bits), rng.randrange(-reach, reach - bits)) for _ in range(count)
    ]


def decimal_texts(digits: int, reach: int, count: int) -> list[str]:
    """Numbers of ``digits`` decimal digits, as ``%.*g`` writes them with an exponent."""
    rng = random.Random(digits)
    made: list[str] = []
    while len(made) < count:
        text = str(rng.randrange(10 ** (digits - 1), 10**digits))
        exponent = rng.choice([-1, 1]) * rng.randrange(digits + 4, reach)
        if text[-1] != "0":
            made.append(f"{text[0]}.{text[1:]}e{exponent:+03d}")
    return made


def right_digits(text: str, value: float) -> int:
    """To how many decimal digits ``text`` is ``value``: it is off by half a unit of that digit at most."""
    if not re.fullmatch(r"-?\d{1,40}(\.\d{1,40})?(e[+-]?\d{1,4})?", text):
        return 0
    exact = Fraction(value)
    off = abs(Fraction(text) - exact)
    exponent = math.floor(math.log10(abs(value)))
    digits = 0
    while digits < 17 and 2 * off <= Fraction(10) ** (exponent - digits):
        digits += 1
    return digits


@pytest.mark.figures(BITS, DIGITS, TEXTS_CHANGED, FLOATS_CHANGED, PLAIN_TEXTS)
def test_floats_come_back_from_their_text(scenario: Scenario) -> None:
    """Floats of the VM's own width to text and back, and decimal numbers of as many digits as that width holds."""
    width = scenario.run(Program.load("float_width"))
    scenario.take(BITS, *width.value("bits"))
    bits = int(width.board.value("bits"))
    digits = math.floor((bits - 1) * math.log10(2))  # C's FLT_DIG and DBL_DIG: 6 and 15
    code = "<d" if bits > 24 else "<f"
    values = seeded_floats(min(bits, 53), FLOATS)
    texts = decimal_texts(digits, 200 if bits > 24 else 28, FLOATS)
    packed = [struct.pack(code, value).hex() for value in values]
    program = Program.load(
        "float_text", code=code, values=packed, texts=texts, plain=[*PLAIN], format=f"%.{digits}g"
    )  # fmt: skip
    pair = scenario.run(program)
    right, other = (
        min(right_digits(side.text(f"text{n}"), value) for n, value in enumerate(values))
        for side in (pair.board, pair.reference)
    )
    holds = f"what a float of {bits} bits holds"
    scenario.take(DIGITS, right, other, limit=at_least(digits, words=f"at least {digits} digits right: {holds}"))
    changed, others = (
        sum(side.text(f"back{n}") != text for n, text in enumerate(texts)) for side in (pair.board, pair.reference)
    )
    scenario.take(
        TEXTS_CHANGED, changed, others, limit=exactly(0, words=f"none of {FLOATS} texts of {digits} digits: {holds}")
    )
    if _version(scenario) >= EXACT_SINCE:
        scenario.take(FLOATS_CHANGED, *pair.value("changed"))
    else:
        scenario.skip_figure(
            FLOATS_CHANGED, "before MicroPython 1.26 a float's text was of 7 or 16 digits, and no more"
        )
    scenario.take(PLAIN_TEXTS, *pair.text("plain"))


def _version(scenario: Scenario) -> tuple[int, ...]:
    found = re.search(r"v(\d{1,3})\.(\d{1,3})", scenario.board.facts.version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


# -- long integers ---------------------------------------------------------------------------------

#: Sizes of the two operands, in bits.
SIZES = ((64, 64), (65, 31), (128, 64), (256, 128), (512, 64), (512, 256), (512, 511), (512, 512))
WRONG = Figure("integers.{operation}.wrong", STATE, limit=exactly("none"))


def seeded_pairs() -> list[tuple[int, int]]:
    """Operands of :data:`SIZES`; runs of ones and zeros among them, where a carry goes far."""
    rng = random.Random(64)

    def operand(bits: int) -> int:
        value = rng.getrandbits(bits) | 1 << bits - 1
        for _ in range(2):  # a run of ones and one of zeros
            at, length = rng.randrange(bits), rng.randrange(1, bits // 3)
            run = ((1 << length) - 1) << at
            value = value | run if rng.random() < 0.5 else value & ~run
        return (value | 1 << bits - 1) & (1 << bits) - 1

    return [(operand(left), operand(right)) for left, right in SIZES]


def _expected(left: int, right: int) -> dict[str, tuple[str, str]]:
    """What each operation of ``fixtures/programs/big_integers.py`` is, in words, and what it must give."""
    return {
        "product": (f"{left:#x} * {right:#x}", hex(left * right)),
        "quotient": (f"{left:#x} // {right:#x}", hex(left // right)),
        "remainder": (f"{left:#x} % {right:#x}", hex(left % right)),
        "floor": (f"-{left:#x} // {right:#x}", hex(-left // right)),
        "modulo": (f"-{left:#x} % {right:#x}", hex(-left % right)),
        "decimal": (f"str({left:#x})", str(left)),
    }


def _first_wrong(pair: Pair, pairs: list[tuple[int, int]], operation: str) -> tuple[str, str]:
    """For board and reference: the first result that is wrong, or "none"."""
    said = []
    for side in (pair.board, pair.reference):
        wrong = "none"
        for n, (left, right) in enumerate(pairs):
            words, expected = _expected(left, right)[operation]
            if wrong == "none" and side.text(f"{operation}{n}") != expected:
                wrong = f"{words} is {side.text(f'{operation}{n}')}"
        said.append(wrong)
    return said[0], said[1]


def test_long_integers_are_exact(scenario: Scenario) -> None:
    """Products, quotients, remainders and decimal text of integers of 64 to 512 bits, against the host's own."""
    pairs = seeded_pairs()
    pair = scenario.run(Program.load("big_integers", pairs=[[f"{left:x}", f"{right:x}"] for left, right in pairs]))
    if scenario.port_is_unknown and pair.board.text("long") == "False":
        pytest.skip("the VM has no integers of any length")
    for operation in _expected(1, 1):
        scenario.take(WRONG.of(operation), *_first_wrong(pair, pairs, operation))
