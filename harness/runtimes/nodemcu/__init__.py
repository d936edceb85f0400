"""NodeMCU (Lua 5.1): what is peculiar to it. Its client and the lines that it sends are beside this."""

from harness.runtimes.traits import HeapTolerance, RuntimeTraits

TRAITS = RuntimeTraits(
    name="nodemcu",
    title="NodeMCU",
    language="lua",
    client="harness.runtimes.nodemcu.nodemcu_board:client",
    reference="harness.judging.references:nodemcu_reference",
    probe="harness.runtimes.nodemcu.nodemcu_board:probe",
    virtual_firmware="harness.virtual.virtual_firmware:nodemcu_firmware",
    banners=(rb"NodeMCU (\d+\.\d[\w.+-]{0,60})",),
    start_files=("init.lua", "init.lc"),
    ctrl_c=False,
    heap_tolerance=HeapTolerance(40, "the SDK's allocator adds to each block what the model leaves out"),
    chip_names="harness.runtimes.nodemcu.ask_who:chip_names",
    look="harness.runtimes.nodemcu.look:look",
    client_command="nodemcu-uploader --port {port} file list",
)
