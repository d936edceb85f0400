"""What boards.yaml says, as frozen values. Nothing here talks to a board.

The descriptions of the fields are the reference documentation: editors show them through
``docs/boards.schema.json``, which is generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.chips import CHIPS, GENERIC, MB, virtual_chips
from harness.inventory.fields import (
    Argument,
    Baud,
    Capability,
    ChipName,
    FilePath,
    FlashCheck,
    FlashMethod,
    LabTag,
    LabTagValue,
    Mac,
    Offset,
    OpenOcdFile,
    Options,
    Pin,
    PowerMethod,
    RuntimeName,
    Sha256,
    SilkName,
    Size,
    Uid,
    VidPid,
)
from harness.link.port_address import wrong_address


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LabgridSettings(Entry):
    """Where a lab is, and what speaks to it."""

    coordinator: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.\[\]:-]{1,200}$",
        description="Address of labgrid's coordinator, 'lab-server:20408'. Default: LG_COORDINATOR, or this computer.",
    )
    client: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Path of labgrid-client, which lives in an environment of its own (pipx install labgrid). Default: "
        "HARNESS_LABGRID_CLIENT, or the one on the PATH.",
    )


class LabgridPlace(LabgridSettings):
    """A place of a lab that labgrid looks after. One of `place` and `tags`."""

    place: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_][!-<>-~]{0,99}$",
        description="Name of the place, whole: labgrid itself takes a part of it as well.",
    )
    tags: dict[LabTag, LabTagValue] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Any free place that has all these tags: {chip: esp32}.",
    )
    serial: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="What the place calls the board's NetworkSerialPort, where it has several.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> LabgridPlace:
        if (self.place is None) == (self.tags is None):
            came = "neither" if self.place is None else "both"
            raise ValueError(f"expected either 'place' or 'tags'; came {came}")
        return self


class Identity(Entry):
    """How this very board is found again, whatever port name the system gives it. At least one key.

    The keys given must all hold, but a board whose `usb_serial` is its own (not 0001 or the like) is also found in
    another socket than `usb_location`. `mac` and `uid` cannot be seen without talking to the chip: give
    `usb_serial` or `usb_location` as well, so that the harness knows which port to open.
    """

    usb_serial: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Serial number of the USB adapter or of native USB. Beware: CP2102 boards often all have "
        "'0001' and CH340 boards have none; use usb_location for those.",
    )
    usb_location: str | None = Field(
        default=None,
        pattern=r"^[0-9]+-[0-9]+(\.[0-9]+)*(:[0-9]+\.[0-9]+)?$",
        description="The USB socket, as bus and hub ports ('1-1.4.2'; 'harness discover' lists them).",
    )
    vid_pid: VidPid | None = Field(
        default=None,
        description="USB vendor and product id of the adapter, four hex digits each: '10c4:ea60'.",
    )
    also_vid_pid: Annotated[tuple[VidPid, ...], Field(strict=False)] = Field(
        default=(),
        max_length=8,
        description="Native USB: the other ids under which the same board appears, such as its boot loader's "
        "beside the application's: ['303a:1001'].",
    )
    mac: Mac | None = Field(
        default=None,
        description="Base MAC address in the chip's fuses (ESP), checked before anything is written.",
    )
    uid: Uid | None = Field(
        default=None,
        description="Unique id of an STM32 as hex digits, in the order of the bytes in memory.",
    )
    url: str | None = Field(
        default=None,
        pattern=r"^(rfc2217|socket|spy|hwgrep|loop|alt)://[!-~]{0,300}$",
        description="A pyserial URL in place of a local port, such as 'rfc2217://bench-pi:4000'.",
    )
    port: str | None = Field(
        default=None,
        pattern=r"^/dev/[!-~]{1,200}$",
        description="Path of a port that no USB adapter stands behind: an emulator's pseudo-terminal, a UART of the "
        "computer itself. Nothing else can tell such a board; for USB give one of the keys above.",
    )
    labgrid: LabgridPlace | None = Field(
        default=None,
        description="A place of a lab: it is acquired before the board is touched, and released at the end. "
        "docs/lab.md.",
    )

    @field_validator("url")
    @classmethod
    def _whole_url(cls, url: str | None) -> str | None:
        if url is not None and (wrong := wrong_address(url)):
            raise ValueError(f"{url!r} names no port server: {wrong}")
        return url

    @model_validator(mode="after")
    def _in_a_lab(self) -> Identity:
        here = ("usb_serial", "usb_location", "vid_pid", "url", "port")
        if self.labgrid and (given := [name for name in here if getattr(self, name) is not None]):
            raise ValueError(f"a board of a lab is found by its place; '{given[0]}' would say another one")
        return self

    @model_validator(mode="after")
    def _also_needs_vid_pid(self) -> Identity:
        if self.also_vid_pid and self.vid_pid is None:
            raise ValueError("'also_vid_pid' belongs to 'vid_pid', which is not given")
        return self

    @model_validator(mode="after")
    def _some(self) -> Identity:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError(f"expected at least one of {', '.join(type(self).model_fields)}; came none")
        return self


class VirtualFault(Entry):
    """Something that goes wrong with a virtual board; docs/faults.md lists the kinds."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Name of the fault: 'harness soak --list'.")
    rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        strict=False,
        description="Its chance at each byte that passes. Default: 1e-4, or at once for what happens only once.",
    )
    seed: int = Field(default=0, description="The same seed and the same bytes give the same damage.")
    direction: Literal["to-host", "to-board", "both"] | None = Field(
        default=None, description="Which bytes it counts and damages, as seen from the line. Default: by kind."
    )
    after: int = Field(default=0, ge=0, description="Bytes that pass before it can happen.")
    count: int | None = Field(default=None, ge=1, description="How often it happens at most.")
    seconds: float = Field(
        default=1.0, ge=0, le=3600, strict=False, description="How long a stall lasts, or a port stays away."
    )
    behind: str = Field(
        default="", max_length=200, description="Text that has to pass in its direction before it counts anything."
    )


class Virtual(Entry):
    """The board is a virtual one, run by the harness itself."""

    flash_size: Size = Field(
        default=4 * MB, description="Size of its flash: bytes, or text like 4MB. An STM32 has its own."
    )
    mac: Mac | None = Field(default=None, description="Its MAC address; by default one is made of the board's id.")
    pty: bool = Field(default=False, description="Offer a pseudo-terminal as well as the RFC 2217 port (no DTR/RTS).")
    port: int | None = Field(
        default=None, ge=0, le=65535, description="TCP port on loopback; by default a free one is taken."
    )
    pace: Literal["chip", "fast"] = Field(
        default="chip",
        description="chip: waits, sleeps and an STM32's erasing take their time. fast: they take none, and the board's "
        "clock jumps.",
    )
    language: Literal["de", "xx"] | None = Field(
        default=None,
        description="CircuitPython: the language that its firmware is built for, in place of English. de: German. xx: "
        "an invented one.",
    )
    lines: Annotated[
        tuple[Literal["swapped", "reset-inverted", "boot0-inverted", "boot0-unwired"], ...], Field(strict=False)
    ] = Field(
        default=(),
        max_length=4,
        description="STM32: how NRST and BOOT0 differ from DTR (asserted: reset) and RTS (asserted: BOOT0 low).",
    )
    fuses: Annotated[
        tuple[Literal["secure-boot", "flash-encryption", "no-encrypted-download"], ...], Field(strict=False)
    ] = Field(
        default=(),
        max_length=3,
        description="ESP32 family: fuses that are burnt, to rehearse what may no longer be written. They can be read; "
        "nothing is verified or encrypted by them.",
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^v[0-3]\.[0-3]$",
        description="ESP32 family: revision of its silicon, 'v1.0'. Default: by chip (ESP32: v3.0).",
    )
    usb: Literal["none", "serial-jtag", "cdc"] = Field(
        default="none",
        description="The chip's own USB as its console, whose port goes at each reset and in deep sleep and then comes "
        "back. serial-jtag: the unit of the newer ESP32 chips, whose DTR and RTS reset them. cdc: the firmware's, with "
        "no port while none runs, and no lines. none: an adapter, which stays.",
    )
    faults: Annotated[tuple[VirtualFault, ...], Field(strict=False)] = Field(
        default=(), max_length=32, description="What goes wrong with it, to rehearse a bad bench."
    )

    @property
    def revision_numbers(self) -> tuple[int, int] | None:
        """(major, minor) of ``revision``; None for the usual one."""
        return (int(self.revision[1]), int(self.revision[3])) if self.revision else None


class Flash(Entry):
    """How firmware gets into the flash."""

    method: FlashMethod | None = Field(
        default=None,
        description="esptool: ESP serial boot loader. stm32-uart: STM32 ROM boot loader (AN3155). "
        "dfu: STM32 USB boot loader. swd: debug probe. command: any program. none: the harness never writes. "
        "Default: by chip.",
    )
    command: Annotated[tuple[Argument, ...], Field(strict=False)] = Field(
        default=(),
        max_length=50,
        description="command: program and arguments that write the flash, as a list; no shell reads it. {port}, "
        "{image}, {chip} and {offset} are filled in: [picotool, load, '{image}'].",
    )
    verify_command: Annotated[tuple[Argument, ...], Field(strict=False)] = Field(
        default=(),
        max_length=50,
        description="command: program and arguments that end with code 0 when the flash holds the image: "
        "[picotool, verify, '{image}']. It is asked before, so that nothing is written twice, and after.",
    )
    start_command: Annotated[tuple[Argument, ...], Field(strict=False)] = Field(
        default=(),
        max_length=50,
        description="command: program and arguments that start the application in the end, where the one that writes "
        "does not: [picotool, reboot]. {port} and {chip} are filled in.",
    )
    enter: Literal["bootloader", "touch-1200"] | None = Field(
        default=None,
        description="command: how a board that runs is brought into its USB boot loader. bootloader: the VM is told "
        "machine.bootloader(). touch-1200: its port is opened at 1200 baud and closed.",
    )
    timeout: float = Field(
        default=120.0, gt=0, le=3600, strict=False, description="command: seconds that each program may take."
    )
    options: Options = Field(default_factory=dict, description="For a method that another package brings.")
    baud: Baud = Field(default=460800, description="Bits per second while writing; lowered after failed attempts.")
    connect_attempts: int = Field(default=7, ge=1, le=50, description="How often to try to reach the boot loader.")
    before: Literal["default-reset", "usb-reset", "no-reset", "manual"] = Field(
        default="default-reset",
        description="How the boot loader is entered. default-reset: DTR and RTS as on a devkit. usb-reset: "
        "chips with a USB serial unit. no-reset: it runs already. manual: someone holds the button.",
    )
    lines: Annotated[tuple[Literal["swapped", "reset-inverted", "boot0-inverted"], ...], Field(strict=False)] = Field(
        default=(),
        max_length=3,
        description="stm32-uart: how the wiring differs from NRST on DTR (asserted: reset) and BOOT0 on RTS (asserted: "
        "BOOT0 low).",
    )
    boot_command: Annotated[tuple[Argument, ...], Field(strict=False)] = Field(
        default=(),
        max_length=16,
        description="stm32-uart: a program that sets BOOT0 and resets the board where DTR and RTS do not: run with "
        "'boot-loader' or 'application' as its last argument. ['bench-gpio', '--board', '3'].",
    )
    unprotect: bool = Field(
        default=False,
        description="stm32-uart: lift a protection that is found. With readout protection the chip then erases its "
        "whole flash.",
    )
    probe: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="swd: serial number of the debug probe; dfu: serial number of the boot loader's USB device. "
        "Default: identity.usb_serial.",
    )
    target: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_-]{1,40}$",
        description="swd: pyocd's name of the chip, such as 'stm32l476rg' (`pyocd list --targets`). Default: the one "
        "that pyocd finds by the board.",
    )
    openocd: Annotated[tuple[OpenOcdFile, ...], Field(strict=False)] = Field(
        default=(),
        max_length=8,
        description="swd: use OpenOCD with these configuration files: [interface/stlink.cfg, target/stm32f4x.cfg].",
    )
    override: dict[FlashCheck, Annotated[str, Field(min_length=3, max_length=200)]] = Field(
        default_factory=dict,
        description="esptool: checks that are passed over for this board, each with the reason, which is kept with "
        "every result: {image-revision: 'engineering sample, runs it all the same'}. secure-boot: the boot loader of a "
        "chip with secure boot V1. key-manager: what flash encryption recovers its key from. flash-encryption: plain "
        "data for a chip that only starts encrypted data. image-revision: an image for other revisions of the chip. "
        "image-chip: for another chip. declared-flash-size: a header that declares more flash than there is.",
    )
    stub: bool = Field(default=True, description="Load esptool's stub into RAM (faster, and it can verify by MD5).")

    @model_validator(mode="before")
    @classmethod
    def _of_older_files(cls, value: Any) -> Any:
        """``after`` and ``verify`` stood in the schema and were never read: what they asked for by default is done."""
        if not isinstance(value, dict):
            return value
        for key, done, sentence in (
            ("after", "hard-reset", "the board is always started after writing"),
            ("verify", True, "what was written is always verified"),
        ):
            if key in value and value[key] != done:
                raise ValueError(f"'{key}' was never carried out and is no key any more: {sentence}. Take the line out")
        return {key: entry for key, entry in value.items() if key not in ("after", "verify")}

    @model_validator(mode="after")
    def _what_the_method_needs(self) -> Flash:
        if self.method == "command" and not self.command:
            raise ValueError("expected 'command' with 'method: command'")
        if self.method != "command" and (self.command or self.verify_command or self.start_command or self.enter):
            raise ValueError("'command', 'verify_command', 'start_command' and 'enter' go with 'method: command'")
        return self


class Image(Entry):
    """One file and where it goes."""

    path: FilePath = Field(description="Path of the image, relative to this file's folder.")
    offset: Offset | None = Field(
        default=None,
        description="Flash offset in bytes; an address on STM32. Default by chip: 0x1000 on ESP32 and "
        "ESP32-S2, 0x0 on ESP8266, S3, C2, C3, C6, H2, 0x2000 on C5 and P4, 0x08000000 on STM32.",
    )
    sha256: Sha256 | None = Field(default=None, description="SHA-256 that the file must have, 64 hex digits.")
    kind: Literal["firmware", "data"] = Field(
        default="firmware",
        description="firmware: must be an image for this chip. data: anything else, such as a filesystem.",
    )


class Firmware(Entry):
    """Exactly one of `path`, `images` and `build`."""

    path: FilePath | None = Field(default=None, description="Path of the only image, relative to this file's folder.")
    offset: Offset | None = Field(
        default=None,
        description="With `path`: flash offset in bytes (default by chip).",
    )
    sha256: Sha256 | None = Field(
        default=None,
        description="With `path`: SHA-256 that the file must have, 64 hex digits.",
    )
    images: Annotated[tuple[Image, ...], Field(strict=False)] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Several images, each with its path and offset.",
    )
    build: Literal["virtual"] | None = Field(
        default=None, description="virtual: the harness builds the image itself (virtual boards only)."
    )
    variant: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_-]{0,39}$",
        description="With `build`: name of a firmware variant with one seeded defect; none: the healthy one.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Firmware:
        given = [name for name in ("path", "images", "build") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of path, images, build; came {', '.join(given) or 'none'}")
        for name, needs in (("offset", "path"), ("sha256", "path"), ("variant", "build")):
            if getattr(self, name) is not None and getattr(self, needs) is None:
                raise ValueError(f"'{name}' belongs to '{needs}', which is not given")
        return self


class ReferenceTree(Entry):
    """A reference VM that is made from the firmware's own source, or was before. One of `built`, `file` and `tree`."""

    built: str | None = Field(
        default=None,
        max_length=200,
        description="A reference that was built on this computer: PORT/BOARD@VERSION, PORT/BOARD, or the beginning of "
        "its key (harness reference list); or 'prepared': the prepared build, whatever was built.",
    )
    file: FilePath | None = Field(default=None, description="A reference that was built, as a file.")
    tree: FilePath | None = Field(
        default=None, description="Top folder of the firmware's source tree (MicroPython 1.20 or newer)."
    )
    board: str | None = Field(
        default=None, max_length=200, description="With `tree`: the board in it, PORT/BOARD (esp8266/ESP8266_GENERIC)."
    )
    variant: str = Field(default="", max_length=80, description="With `tree`: the board's variant.")
    header: FilePath | None = Field(
        default=None, description="With `tree`: a header that the build reads in place of the port's mpconfigport.h."
    )
    define: dict[str, str | int] = Field(
        default_factory=dict, description="With `tree`: what the build defines besides, name to value."
    )
    manifest: FilePath | None = Field(default=None, description="With `tree`: the manifest of what is frozen.")
    build_folder: FilePath | None = Field(
        default=None, description="With `tree`: where the firmware itself was built; its names in ROM are read there."
    )
    sources: Annotated[tuple[FilePath, ...], Field(strict=False)] = Field(
        default=(), max_length=16, description="With `tree`: further folders with C sources of the firmware."
    )

    @model_validator(mode="after")
    def _one_source(self) -> ReferenceTree:
        given = [name for name in ("built", "file", "tree") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of built, file, tree; came {', '.join(given) or 'none'}")
        if self.tree is None:
            more = [name for name in self.model_fields_set if name not in ("built", "file")]
            if more:
                raise ValueError(f"'{more[0]}' belongs to 'tree', which is not given")
        elif self.board is None:
            raise ValueError("'tree' needs 'board': which of the tree's boards it is")
        return self


class ConsoleSettings(Entry):
    """The serial line as the running firmware uses it."""

    baud: Baud = Field(default=115200, description="Bits per second of the VM's console.")
    buffer: int | None = Field(
        default=None,
        ge=48,
        le=65536,
        description="How many bytes the ring buffer of its input has, where programs get lost on the way: firmware "
        "without raw paste on a line that is not slowed down by a baud rate (an emulator).",
    )
    dtr: bool = Field(default=False, description="Idle state of DTR. On devkits: true pulls IO0 low.")
    rts: bool = Field(default=False, description="Idle state of RTS. On devkits: true holds the chip in reset.")


_STEP = r"(D[01]|R[01]|U[01],[01]|W[0-9]{1,2}(\.[0-9]{1,3})?)"


class Reset(Entry):
    """How the board is reset without cutting its power."""

    method: Literal["dtr-rts", "classic", "usb-jtag", "none", "custom"] = Field(
        default="dtr-rts",
        description="dtr-rts: the auto-reset circuit of devkits, both lines set at once. classic: the same, one line "
        "after the other, for adapters that need it. usb-jtag: the chip's own USB serial unit. none: no such line. "
        "custom: `sequence`.",
    )
    sequence: str | None = Field(
        default=None,
        pattern=rf"^{_STEP}(\|{_STEP})*$",
        description="With custom: esptool's notation. D: DTR, R: RTS, U: both, W: wait (s): 'R1|W0.1|R0'.",
    )
    invert: Annotated[tuple[Literal["dtr", "rts"], ...], Field(strict=False)] = Field(
        default=(),
        max_length=2,
        description="Lines that an inverter stands behind: every level of the sequence is turned over. Set their "
        "idle state under `console` to true as well.",
    )

    @model_validator(mode="after")
    def _sequence_with_custom(self) -> Reset:
        if (self.method == "custom") != (self.sequence is not None):
            raise ValueError("expected 'sequence' with 'method: custom', and only with it")
        return self


_Command = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], Field(strict=False)]


class Power(Entry):
    """How the board's power is cut and given back. On a virtual board nothing is needed: it can always be."""

    method: PowerMethod = Field(
        default="none",
        description="uhubctl: the USB hub switches its ports. command: a program. http: a relay or socket on the "
        "network. gpio: a GPIO line of this computer, wired so that the board has power when nobody holds the line. "
        "labgrid: the power resource of the board's place (the default where it has one; options: {name: NAME} where "
        "it has several). none: power cannot be cut.",
    )
    hub: str | None = Field(
        default=None,
        pattern=r"^[0-9]+(-[0-9]+(\.[0-9]+)*)?$",
        description="With uhubctl: location of the hub, '1-1'.",
    )
    port: int | None = Field(default=None, ge=1, le=32, description="With uhubctl: port of the hub, from 1.")
    on_command: _Command | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="With command: program and arguments that switch on, as a list; no shell reads it.",
    )
    off_command: _Command | None = Field(
        default=None, min_length=1, max_length=50, description="With command: program and arguments that switch off."
    )
    relay: Literal["tasmota", "shelly1", "shelly2"] | None = Field(
        default=None, description="With http: what answers there. shelly1: first generation. shelly2: any later one."
    )
    url: str | None = Field(
        default=None,
        pattern=r"^https?://[A-Za-z0-9.\[\]:_-]{1,200}/?$",
        description="With http: where the relay is, 'http://relay-3'. Without a password: this file holds no secrets.",
    )
    channel: int | None = Field(
        default=None,
        ge=0,
        le=32,
        description="With http: which relay of the device, as it counts itself. Default: its first.",
    )
    chip: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9/_.-]{1,60}$", description="With gpio: the GPIO chip, 'gpiochip0'."
    )
    line: int | None = Field(default=None, ge=0, le=1023, description="With gpio: the line's offset on that chip.")
    active_low: bool = Field(default=False, description="With gpio: a low level switches on.")
    options: Options = Field(
        default_factory=dict, description="For labgrid, and for a method that another package brings."
    )
    off_seconds: float = Field(
        default=2.0, gt=0, le=60, strict=False, description="How long power stays off, in seconds."
    )

    @model_validator(mode="after")
    def _what_the_method_needs(self) -> Power:
        needs = {
            "uhubctl": ("hub", "port"),
            "command": ("on_command", "off_command"),
            "http": ("relay", "url"),
            "gpio": ("chip", "line"),
        }
        missing = [name for name in needs.get(self.method, ()) if getattr(self, name) is None]
        if missing:
            wanted = " and ".join(repr(name) for name in needs[self.method])
            raise ValueError(f"expected {wanted} with 'method: {self.method}'")
        return self


class Wiring(Entry):
    """What is connected to the board's pins."""

    loopback: Annotated[tuple[Annotated[tuple[Pin, Pin], Field(strict=False)], ...], Field(strict=False)] = Field(
        default=(), max_length=32, description="Pairs of pins wired together, [output, input]: [[4, 5]]."
    )
    uart: int | None = Field(
        default=None,
        ge=0,
        le=15,
        description="Number of a UART whose TX is wired to its own RX (ESP32: by the first pair of loopback, if any).",
    )
    button: Pin | None = Field(default=None, description="Pin of a button that pulls it low.")
    labels: SilkName | None = Field(
        default=None,
        description="Which board it is, for the names on its silk screen that 'harness wiring' says besides. Default: "
        "the chip's usual one.",
    )
    gpio16_rst: bool = Field(default=False, description="ESP8266: GPIO16 is wired to RST, so deep sleep can end.")

    @field_validator("loopback")
    @classmethod
    def _two_pins(cls, pairs: tuple[tuple[int | str, int | str], ...]) -> tuple[tuple[int | str, int | str], ...]:
        if same := [pair[0] for pair in pairs if pair[0] == pair[1]]:
            raise ValueError(f"expected two pins that are wired together, came {same[0]} twice")
        return pairs


class Limit(Entry):
    """What a measurement of this board must satisfy, in place of the built-in rule.

    Bounds are in the measurement's own unit (bytes, µs, count).
    """

    min: float | None = Field(default=None, strict=False, description="Least good value.")
    max: float | None = Field(default=None, strict=False, description="Greatest good value.")
    equal: float | None = Field(default=None, strict=False, description="The only good value.")
    within_percent: float | None = Field(
        default=None,
        ge=0,
        strict=False,
        description="Greatest distance from the reference's value, in percent of it.",
    )
    marginal_percent: float | None = Field(
        default=None,
        ge=0,
        le=100,
        strict=False,
        description="A good value nearer to the limit than this percentage of the limit is marginal.",
    )
    why: str = Field(default="", max_length=200, description="The reason for this limit, in words, for the report.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Limit:
        bounds = (self.min, self.max, self.equal, self.within_percent, self.marginal_percent)
        if all(bound is None for bound in bounds):
            raise ValueError("expected at least one of min, max, equal, within_percent, marginal_percent")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}")
        if self.equal is not None and any(b is not None for b in bounds[:2] + bounds[3:4]):
            raise ValueError("'equal' excludes min, max and within_percent")
        return self


class Board(Entry):
    """One board of the bench: either a real one (`identity`) or a virtual one (`virtual`)."""

    id: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,39}$",
        description="Name of the board in commands and reports: small letters, digits, - and _, a letter first, "
        "at most 40.",
    )
    chip: ChipName = Field(description="The chip on it; checked against the chip before anything is written.")
    runtime: RuntimeName = Field(description="The language VM that its firmware holds.")
    identity: Identity | None = Field(default=None, description="How a real board is found.")
    virtual: Virtual | None = Field(default=None, description="Makes this a virtual board; {} takes all defaults.")
    firmware: Firmware | None = Field(
        default=None,
        description="What is written before a run. Left out: the board is tested with what it holds.",
    )
    reference: ReferenceTree | None = Field(
        default=None,
        description="The reference VM that its figures are held against, made from the firmware's own source. Left "
        "out: the nearest that was built on this computer, or the prepared one.",
    )
    flash: Flash = Field(default_factory=Flash, description="How firmware gets into the flash.")
    console: ConsoleSettings = Field(default_factory=ConsoleSettings, description="The VM's serial line.")
    reset: Reset = Field(default_factory=Reset, description="How the board is reset.")
    power: Power = Field(default_factory=Power, description="How its power is switched.")
    wiring: Wiring = Field(default_factory=Wiring, description="What is connected to its pins.")
    application: Literal["keep", "aside"] = Field(
        default="keep",
        description="What happens to the program that the board runs by itself (main.py, code.py, init.lua and the "
        "like). aside: it is renamed for the time of a run, and put back after it. keep: it stays, and runs at each "
        "start of the chip.",
    )
    capabilities: Annotated[tuple[Capability, ...], Field(strict=False)] = Field(
        default=(),
        description="What the board can do; a scenario that needs more is skipped with the reason.",
    )
    limits: dict[str, Limit] = Field(
        default_factory=dict,
        description="Limits of this board: measurement name pattern (* and ? as in file names, such as "
        "'reload.*heap*') to limit. The first pattern that matches counts.",
    )
    tags: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="Free words for selecting boards on the command line."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Board:
        if (self.identity is None) == (self.virtual is None):
            came = "neither" if self.identity is None else "both"
            raise ValueError(f"expected either 'identity' (a real board) or 'virtual'; came {came}")
        if self.power.method == "labgrid" and not (self.identity and self.identity.labgrid):
            raise ValueError("'power.method: labgrid' is for a board by place, 'identity: {labgrid: …}'")
        if self.virtual and CHIPS[self.chip].virtual is None:
            raise ValueError(f"virtual boards are {', '.join(virtual_chips())}; came {self.chip}")
        if self.virtual and (self.virtual.fuses or self.virtual.revision):
            parts = CHIPS[self.chip].virtual
            view = parts.esptool if parts is not None else None
            if view is None or not view.fuses:
                raise ValueError(f"'fuses' and 'revision' are for virtual chips of the ESP32 family; came {self.chip}")
            view.burnt(self.virtual.fuses, self.virtual.revision_numbers)
        if self.virtual and self.virtual.usb == "serial-jtag":
            having = [name for name in virtual_chips() if CHIPS[name].has_serial_jtag]
            if self.chip not in having:
                raise ValueError(f"a USB Serial/JTAG unit have {', '.join(having)}; came {self.chip}")
        if self.firmware and self.firmware.build and not self.virtual:
            raise ValueError("'build: virtual' makes firmware for virtual boards only; give 'path' instead")
        family = CHIPS[self.chip].family
        if family == GENERIC and self.firmware and self.flash_method == "none":
            raise ValueError("only flash.method command writes to a generic chip: give one, or leave 'firmware' out")
        usual = {"stm32": ("stm32-uart", "dfu", "swd"), GENERIC: ()}.get(family, ("esptool",))
        not_for_it = {"esptool", "stm32-uart", "dfu", "swd"}.difference(usual)
        if self.flash_method in not_for_it:
            allowed = (*usual, "command", "none")
            raise ValueError(f"flash.method of {self.chip}: expected {', '.join(allowed)}; came {self.flash_method}")
        in_lab = self.identity is not None and self.identity.labgrid is not None
        if in_lab and self.flash_method in ("dfu", "swd") and not self.flash.probe:
            raise ValueError(
                f"flash.method {self.flash_method} reaches what is plugged in at this computer, and not a place of a "
                "lab: give stm32-uart, a command or none, or flash.probe for a probe that is here"
            )
        return self

    @property
    def flash_method(self) -> str:
        """``flash.method``, or the usual one for the chip."""
        usual = {"stm32": "stm32-uart", GENERIC: "none"}
        return self.flash.method or usual.get(CHIPS[self.chip].family, "esptool")

    @property
    def flash_size(self) -> int | None:
        """Bytes of flash; None where it is a chip of its own that only the board can tell."""
        return CHIPS[self.chip].flash_size or (self.virtual.flash_size if self.virtual else None)

    @property
    def images(self) -> tuple[Image, ...]:
        """The image files to write, each with its offset filled in; empty for ``build`` and none."""
        if self.firmware is None or self.firmware.build:
            return ()
        files = self.firmware.images
        if files is None:
            firmware = self.firmware
            files = (Image.model_construct(path=firmware.path, offset=firmware.offset, sha256=firmware.sha256),)
        default = CHIPS[self.chip].boot_offset
        return tuple(
            image if image.offset is not None else image.model_copy(update={"offset": default}) for image in files
        )


class Bench(Entry):
    """The boards of one bench."""

    name: str = Field(default="bench", min_length=1, max_length=80, description="Name of the bench in reports.")
    boards: Annotated[tuple[Board, ...], Field(strict=False)] = Field(
        min_length=1, max_length=500, description="The boards, in the order in which they are listed."
    )
    labgrid: LabgridSettings = Field(
        default_factory=LabgridSettings, description="For all boards by place that do not say it themselves."
    )

    @model_validator(mode="after")
    def _one_lab(self) -> Bench:
        told = self.labgrid.model_dump(exclude_none=True)
        if told:
            vars(self)["boards"] = tuple(_in_lab(board, told) for board in self.boards)
        return self

    def board(self, board_id: str) -> Board | None:
        return next((board for board in self.boards if board.id == board_id), None)


def _in_lab(board: Board, lab: dict[str, str]) -> Board:
    """``board`` with what it does not say of its lab itself."""
    place = board.identity.labgrid if board.identity else None
    if board.identity is None or place is None:
        return board
    full = place.model_copy(update={name: value for name, value in lab.items() if getattr(place, name) is None})
    return board.model_copy(update={"identity": board.identity.model_copy(update={"labgrid": full})})
