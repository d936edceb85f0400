"""An unknown board that has answered: what it is, in words; what may be done with it, and why; its entry.

Nothing here talks to the board. What it told is untrusted: what prints it neutralises it, and
comments of the entry hold it as one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.bench.plugged import USB_JTAG, Plugged
from harness.bench.probe_port import Answer
from harness.chips import CHIPS, GENERIC
from harness.flashing.flasher import Security
from harness.inventory.fields import CAPABILITIES
from harness.link.ports import PTY_BUFFER
from harness.runtimes.abilities import OWN_FOLDER
from harness.runtimes.looked import Look
from harness.runtimes.traits import traits_of_vm
from harness.shown import one_line

#: A line of a report: what it is about, and words.
Row = tuple[str, str]

#: Lines of a start file that keep nobody from the board: comments, modules that do nothing by being imported, a print.
_MODULES = r"(?:u?os|machine|gc|pyb|esp|sys|time|board|micropython|digitalio)"
_IDLE_PYTHON = re.compile(
    rf"\s*(?:#.*|import {_MODULES}(?:, ?{_MODULES})*|gc\.collect\(\)|pass|print\(['\"][^'\"]*['\"]\))?\s*(?:#.*)?"
)
_IDLE_LUA = re.compile(r"\s*(?:--.*|print\(['\"][^'\"]*['\"]\))?\s*")
#: How much of what a board prints is shown: the end, for the beginning is its ROM's.
_PRINTS = 200
#: Pins that are often wired together, by chip or family and runtime; only ever a proposal.
_PAIRS = {"esp32": "[18, 19]", "esp8266": "[4, 5]", "stm32": "[A0, A1]"}
#: Scenarios of a first run: quick, and without a wire. By runtime, as for ``-k``.
FIRST_PLAN: Mapping[str, tuple[str, ...]] = {
    "micropython": (
        "calibration: allocations",
        "calibration: floats come back from their text",
        "calibration: long integers are exact",
        "reload: globals modules and paths are gone",
        "reload: files are kept",
    ),
    "circuitpython": (
        "calibration: allocations",
        "reload: circuitpython reloads keep the heap",
        "reload: files are kept",
    ),
    "nodemcu": (
        "calibration: lua objects take what their structures say",
        "reload: restarts leave the heap as it was",
        "reload: timers end with a restart",
    ),
}


@dataclass(frozen=True)
class Question:
    """What only a person knows. ``default`` is taken when nobody answers; ``kind`` says what an answer looks like."""

    key: str
    text: str
    default: str
    kind: str = "yes or no"


@dataclass(frozen=True)
class Onboarding:
    """One board: what ``answer`` told, at the port ``plug`` (None: it is not on USB). ``held`` is what the flash of one
    without a VM says that it holds."""

    answer: Answer
    plug: Plugged | None = None
    baud: int = 115200
    held: str = ""

    # -- what is known ---------------------------------------------------------------------------

    @property
    def look(self) -> Look:
        return self.answer.look or Look()

    @property
    def chip(self) -> str:
        return self.answer.chip or GENERIC

    @property
    def family(self) -> str:
        return CHIPS[self.chip].family

    @property
    def known_vm(self) -> bool:
        """Whether a VM answered that the harness has a client for."""
        return traits_of_vm(self.answer.runtime) is not None if self.answer.runtime else False

    @property
    def native_usb(self) -> bool:
        return self.plug is not None and self.plug.native_usb

    @property
    def resets(self) -> bool | None:
        """Whether DTR and RTS reset the chip; None: that could not be tried."""
        if self.answer.no_lines:
            return False
        return True if self.answer.esp is not None else self.look.resets

    @property
    def security(self) -> Security | None:
        return self.answer.esp.security if self.answer.esp else None

    @property
    def forbidden(self) -> list[str]:
        """What of the chip's fuses keeps its flash from being written as that of any other."""
        security = self.security
        if security is None:
            return []
        said = (
            (security.secure_download, "secure download mode"),
            (security.secure_boot, "secure boot"),
            (security.flash_encryption, "flash encryption"),
        )
        return [name for on, name in said if on]

    @property
    def application(self) -> list[str]:
        """The files that run by themselves and do something."""
        language = traits.language if (traits := traits_of_vm(self.answer.runtime)) else "python"
        sizes = dict(self.look.files)
        return [
            name
            for name, text in self.look.start_files.items()
            if not _idle(text, language) or sizes.get(name, 0) > len(text)
        ]

    # -- in words --------------------------------------------------------------------------------

    def found(self) -> list[Row]:
        """What was found, a row for each thing."""
        answer, look, esp = self.answer, self.look, self.answer.esp
        rows: list[Row] = [("port", self._port_words()), ("chip", self._chip_words())]
        if esp is not None:
            rows.append(("security", _security_words(esp.security)))
        elif self.family.startswith("esp"):
            rows.append(("security", "not known: the boot loader does not answer, so no fuse was read"))
        rows.append(("runs", self._runs_words()))
        if self.held:
            rows.append(("holds", self.held))
        if answer.heard:
            noise = f"bytes that are no text at {self.baud} baud (an ESP8266's ROM has 74880; or --baud is wrong)"
            rows.append(("prints", noise if _is_noise(answer.heard) else f"… {answer.heard[-_PRINTS:]}"))
        if look.heap:
            words = f", words of {look.word_size} bytes" if look.word_size else ""
            rows.append(("memory", f"heap of {look.heap // 1024} KB{words}{', floats' if look.floats else ''}"))
        if self.known_vm:
            rows += [("filesystem", self._filesystem_words()), ("files", self._files_words())]
            rows.append(("starts", self._starts_words()))
        if look.modules:
            rows.append(("modules", ", ".join(look.modules)))
        rows.append(("native USB", self._usb_words()))
        problems = [text.partition("; came")[0] for text in answer.problems if not _expected(text, self)]
        return rows + [("not told", text) for text in problems]

    def _port_words(self) -> str:
        plug = self.plug
        if plug is None:
            return f"not on USB{f' ({self.answer.no_lines})' if self.answer.no_lines else ''}"
        serial = f"serial number {plug.usb_serial}" if plug.usb_serial else "no serial number"
        shared = ", which another one has too" if plug.shared_serial else ""
        return f"{plug.what}, {plug.vid_pid}, {serial}{shared}, socket {plug.usb_location}"

    def _chip_words(self) -> str:
        answer, esp = self.answer, self.answer.esp
        if esp is not None:
            size = f"{esp.flash_size >> 20} MB" if esp.flash_size and esp.flash_size >= 1 << 20 else ""
            size = size or (f"{esp.flash_size >> 10} KB" if esp.flash_size else "of a size that it does not tell")
            return f"{esp.description}, MAC {esp.mac or 'not told'}, flash {size}"
        number = f", unique id {answer.uid}" if answer.uid else ""
        most = CHIPS[self.chip].flash_size
        flash = f", flash at most {most >> 10} KB" if most else ""
        if self.chip == GENERIC:
            return f"not one that the harness knows: it calls itself {answer.machine or 'nothing'}{number}"
        return f"{self.chip}, as its VM says ({answer.machine}){number}{flash}"

    def _runs_words(self) -> str:
        answer = self.answer
        if self.known_vm:
            traits = traits_of_vm(answer.runtime)
            machine = f", on {answer.machine}" if answer.machine else ""
            return f"{traits.title if traits else ''}: {self.look.version or answer.version}{machine}"
        if answer.runtime:
            return f"a VM that calls itself {answer.runtime}, for which there is no client: {answer.version}"
        if self.held.startswith("nothing"):
            return "nothing: there is no firmware that could start"
        if answer.heard:
            return "something else: no VM answers, though it prints when it starts"
        return "nothing that answers or prints"

    def _filesystem_words(self) -> str:
        look = self.look
        if not look.files and not look.mounts and not look.filesystem_size:
            return "none that it tells of"
        room = ""
        if look.filesystem_size:
            room = f", {look.filesystem_size >> 10} KB, {(look.filesystem_free or 0) >> 10} KB free"
        mounted = f"; mounted: {', '.join(look.mounts)}" if look.mounts else ""
        rom = f"; ROMFS of {look.rom_size >> 10} KB" if look.rom_size else ""
        lfs = f"; Lua Flash Store of {look.lfs >> 10} KB" if look.lfs else ""
        return f"{look.folder or 'the working folder'}{room}{mounted}{rom}{lfs}"

    def _files_words(self) -> str:
        names = [f"{name}/" if size < 0 else f"{name} ({size})" for name, size in self.look.files]
        more = self.look.more_files + max(0, len(names) - 12)
        return (", ".join(names[:12]) or "none") + (f" and {more} more" if more else "")

    def _starts_words(self) -> str:
        starts = list(self.look.start_files)
        if not starts:
            return "no start file: no application is in the way"
        if not self.application:
            return f"{', '.join(starts)}: only what a new board has; no application is in the way"
        return f"{', '.join(self.application)}: an application that runs at each start of the chip"

    def _usb_words(self) -> str:
        if self.native_usb:
            return "yes: the port goes when the chip is reset, and comes back"
        return "no: the port stays when the chip is reset"

    def allowed(self, answers: Mapping[str, str]) -> list[Row]:
        """What the harness may do with it and what not, and why."""
        rows: list[Row] = [("reset", self._reset_words(answers)), ("flash", self._flash_words())]
        if self.application:
            how = "renamed for the time of a run and put back after it" if self._aside(answers) else "left to run"
            rows.append(("application", f"{', '.join(self.application)}: {how} (application: in the entry)"))
        if self.known_vm:
            own = "files called hx_…" if self.answer.runtime == "nodemcu" else f"the folder {OWN_FOLDER}"
            other = " but that" if self._aside(answers) else ""
            rows.append(("files", f"yes: tests write {own}, which the next run removes; no other is touched{other}"))
        if not self.known_vm:
            return rows
        wired = "those that were named" if answers.get("loopback") else "none: no wire is known"
        rows.append(("pins", f"{wired}; 'harness wiring' checks wires before they are used"))
        rows.append(("deep sleep", self._sleep_words(answers)))
        rows.append(("power", "no: nothing is known that cuts it (power: in the entry; docs/setting-up.md)"))
        return rows

    def _reset_words(self, answers: Mapping[str, str]) -> str:
        if self.answer.no_lines:
            return f"no: this port has no DTR and RTS ({self.answer.no_lines}); the VM alone is restarted"
        if self.resets:
            how = "its boot loader was reached by them" if self.answer.esp else "a pulse restarted its VM"
            return f"yes, by DTR and RTS: {how}"
        if self.resets is None and answers.get("reset") == "yes":
            return "yes, by DTR and RTS, as you say"
        return "no: a pulse on DTR and RTS restarted nothing" if self.resets is False else "no: not known to be wired"

    def _flash_words(self) -> str:
        if self.forbidden:
            return (
                f"no: {' and '.join(self.forbidden)} {'is' if len(self.forbidden) == 1 else 'are'} on. What is not "
                "signed or encrypted for this very chip would not start, for good"
            )
        if self.chip == GENERIC:
            return "no: a generic chip is never written (but by flash.method command)"
        if self.family == "stm32" and not self._boots_by_lines:
            return "no: no boot loader is reached over this port; dfu or swd may write it (docs/stm32-boards.md)"
        return "not yet: the entry names no firmware, so the board is tested with what it holds; --backup reads it"

    def _sleep_words(self, answers: Mapping[str, str]) -> str:
        if "deep_sleep" in self._capabilities(answers):
            return "yes: it is let sleep, and wakes by its timer"
        if self.chip == "esp8266":
            return "no: without GPIO16 at RST it would never wake"
        if not self.resets and self.chip != GENERIC:
            return "no: nothing here could wake it if it overslept"
        return "no: what its chip or VM promises of sleep is not known"

    # -- the entry -------------------------------------------------------------------------------

    def questions(self) -> list[Question]:
        """What the board cannot tell."""
        asked = []
        if self.application:
            asked.append(
                Question("aside", f"May {', '.join(self.application)} be renamed for the time of each run?", "yes")
            )
        if self.resets is None and not self.native_usb and self.known_vm:
            asked.append(Question("reset", "Is the chip's reset wired to RTS, as on a devkit?", "no"))
        if self.known_vm and self.chip == "esp8266":
            asked.append(Question("gpio16_rst", "Is GPIO16 (D0) wired to RST, so that deep sleep can end?", "no"))
        if self.known_vm and self.chip != GENERIC:
            pair = self._pair.strip("[]").replace(",", "")
            asked.append(
                Question(
                    "loopback", f"Which two pins are wired together, such as {pair}? (none: no wire)", "", "two pins"
                )
            )
        return asked

    @property
    def _pair(self) -> str:
        return "[14, 32]" if self.answer.runtime == "circuitpython" else _PAIRS.get(self.family, "[18, 19]")

    @property
    def _boots_by_lines(self) -> bool:
        return self.family == "stm32" and bool(self.resets)

    def _aside(self, answers: Mapping[str, str]) -> bool:
        return bool(self.application) and answers.get("aside", "yes") == "yes"

    def settings(self, answers: Mapping[str, str]) -> list[str]:
        """The lines of its entry behind the identity; what nobody answered is a comment."""
        lines = []
        console = {
            **({"baud": str(self.baud)} if self.baud != 115200 else {}),
            # BOOT0 hangs on RTS: released, the next reset would start the boot loader.
            **({"rts": "true"} if self._boots_by_lines else {}),
            **({"buffer": str(PTY_BUFFER)} if self._needs_buffer else {}),
        }
        if console:
            lines.append(f"console: {{{', '.join(f'{key}: {value}' for key, value in console.items())}}}")
        resets = self.resets or (self.resets is None and answers.get("reset") == "yes")
        if not resets:
            lines.append(f"reset: {{method: none}}  # {self._reset_words(answers).removeprefix('no: ')}")
        elif self.plug is not None and self.plug.vid_pid == USB_JTAG:
            lines.append("reset: {method: usb-jtag}")
        if self.chip != GENERIC:
            if self.forbidden or (self.family == "stm32" and not self._boots_by_lines):
                lines.append(f"flash: {{method: none}}  # {self._flash_words().removeprefix('no: ')}")
            else:
                lines.append("# firmware: {path: IMAGE.bin}  # without it nothing is written to its flash")
        if self.application:
            names = ", ".join(one_line(name, 40) for name in self.application)
            aside = self._aside(answers)
            lines.append(
                f"application: {'aside' if aside else 'keep'}  # {names} runs at each start"
                + (": renamed for the time of a run, and put back" if aside else "")
            )
        wiring = self._wiring(answers)
        if wiring:
            lines.append(f"wiring: {{{', '.join(wiring)}}}")
        capabilities = self._capabilities(answers)
        if capabilities:
            lines.append(f"capabilities: [{', '.join(capabilities)}]")
        return lines + self._open_questions(answers)

    @property
    def _needs_buffer(self) -> bool:
        """Nothing slows a pseudo-terminal down, and this VM takes no program piece by piece."""
        python = self.answer.runtime in ("micropython", "circuitpython")
        return "pseudo-terminal" in self.answer.no_lines and python and not self.look.paste_window

    def _wiring(self, answers: Mapping[str, str]) -> list[str]:
        wires = []
        if pins := answers.get("loopback"):
            wires.append(f"loopback: [[{', '.join(pins.split())}]]")
        if answers.get("gpio16_rst") == "yes":
            wires.append("gpio16_rst: true")
        return wires

    def _open_questions(self, answers: Mapping[str, str]) -> list[str]:
        lines = []
        for question in self.questions():
            if question.key == "loopback" and not answers.get("loopback"):
                lines.append(f"# two pins wired together? wiring: {{loopback: [{self._pair}]}}, and pin_loopback above")
            elif question.key == "gpio16_rst" and answers.get("gpio16_rst") != "yes":
                lines.append("# GPIO16 wired to RST? wiring: {gpio16_rst: true}, and deep_sleep above")
            elif question.key == "reset" and answers.get("reset") != "yes":
                lines.append("# is its reset wired to RTS? Then take the line 'reset' out")
        port = CHIPS[self.chip].port
        if self.answer.runtime == "micropython" and port is not None and port.hard_pin_irq and port.hard_timer:
            lines.append("# its port promises hard handlers: hard_irq above holds it to that")
        return lines

    def _capabilities(self, answers: Mapping[str, str]) -> list[str]:
        """What its chip's port promises and what its VM showed; what could lose a board that nothing resets is not
        claimed."""
        if not self.known_vm:
            return []
        port = CHIPS[self.chip].port
        has: dict[str, bool] = {"float": self.look.floats, "native_usb": self.native_usb}
        has["pin_loopback"] = bool(answers.get("loopback"))
        has["threads"] = "_thread" in self.look.modules
        resets = bool(self.resets) or answers.get("reset") == "yes"
        sleeps = resets and (self.chip != "esp8266" or answers.get("gpio16_rst") == "yes")
        if self.answer.runtime == "micropython" and port is not None:
            has["deep_sleep"], has["watchdog"] = sleeps, resets
            has["rtc_memory"] = bool(port.rtc_memory or port.backup_registers)
            has["light_sleep"] = not self.native_usb
            has["timer_irq"] = bool(port.virtual_timers or port.hardware_timers)
        elif self.answer.runtime == "circuitpython" and self.chip != GENERIC:
            has["deep_sleep"], has["light_sleep"] = sleeps, not self.native_usb
        elif self.answer.runtime == "nodemcu":
            has.update(deep_sleep=sleeps, rtc_memory="rtcmem" in self.look.modules)
            has.update(timer_irq="tmr" in self.look.modules, watchdog=resets, lfs=self.look.lfs > 0)
        return [name for name in CAPABILITIES if has.get(name)]


def _is_noise(text: str) -> bool:
    """Whether little of what came at this rate is text."""
    return 4 * sum(not char.isascii() or char == "?" for char in text) > len(text)


def _idle(text: bytes, language: str) -> bool:
    line = _IDLE_LUA if language == "lua" else _IDLE_PYTHON
    return all(line.fullmatch(part) for part in text.decode("utf-8", "replace").splitlines())


def _expected(problem: str, board: Onboarding) -> bool:
    """Whether that something did not answer is no news: a VM answered, so the boot loader is no loss on other chips."""
    return board.known_vm and problem.startswith("no ESP boot loader") and not board.family.startswith("esp")


def _security_words(security: Security | None) -> str:
    if security is None:
        return "this chip has no fuses for it"

    def word(on: bool | None) -> str:
        return "not told" if on is None else "ON" if on else "off"

    text = f"secure boot {word(security.secure_boot)}, flash encryption {word(security.flash_encryption)}, "
    text += f"secure download mode {word(security.secure_download)}"
    return text + (", no encrypted download" if security.plain_only else "")
