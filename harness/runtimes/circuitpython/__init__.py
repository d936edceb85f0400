"""CircuitPython: what is peculiar to it. Its REPL is MicroPython's, so much of what speaks to it is in that folder."""

from harness.runtimes.traits import RuntimeTraits

TRAITS = RuntimeTraits(
    name="circuitpython",
    title="CircuitPython",
    language="python",
    client="harness.runtimes.circuitpython.circuitpython_board:client",
    reference="harness.judging.references:circuitpython_reference",
    virtual_firmware="harness.virtual.virtual_firmware:circuitpython_firmware",
    banners=(rb"CircuitPython (\d+\.[\w.+-]{1,60}) on \d{4}-",),
    version_texts=(rb"CircuitPython (\d+\.\d[\w.+-]{0,60})",),
    image_names_version=False,  # whether a release's application description holds its version is untried
    # CircuitPython main.c: the names that are looked for.
    start_files=("boot.py", "safemode.py", "code.py", "code.txt", "main.py", "main.txt"),
    restarts_without_application=True,
    chip_names="harness.runtimes.micropython.ask_who:chip_names",
    look="harness.runtimes.micropython.look:look",
    resets_from_code_file=True,
    client_command="mpremote connect {port} exec 'print(1 + 1)'",
)
