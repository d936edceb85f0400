"""MicroPython: what is peculiar to it. Its client, the raw REPL and the programs for files are beside this."""

from harness.runtimes.traits import RuntimeTraits

TRAITS = RuntimeTraits(
    name="micropython",
    title="MicroPython",
    language="python",
    client="harness.runtimes.micropython.micropython_board:client",
    reference="harness.judging.references:micropython_reference",
    probe="harness.runtimes.micropython.micropython_board:probe",
    virtual_firmware="harness.virtual.virtual_firmware:micropython_firmware",
    banners=(rb"MicroPython (v\d+\.[\w.+-]{1,60}) on \d{4}-",),
    version_texts=(rb"MicroPython (v\d+\.\d[\w.+-]{0,60})",),
    version_tells_port=True,
    start_files=("boot.py", "main.py"),
    restarts_without_application=True,
    mounts_romfs=True,
    abilities="harness.runtimes.micropython.ask_abilities:abilities_of",
    chip_names="harness.runtimes.micropython.ask_who:chip_names",
    look="harness.runtimes.micropython.look:look",
    checks_wiring=True,
    # MicroPython docs, "machine": machine.bootloader(), at the raw REPL.
    enters_usb_loader=b"\r\x03\x03\x01import machine; machine.bootloader()\x04",
)
