"""``harness power``."""

from __future__ import annotations

import click

from harness.cli.options import CONTEXT, bench_option, board_named


@click.command(context_settings=CONTEXT)
@click.argument("board")
@click.argument("action", type=click.Choice(["on", "off", "cycle"]))
@bench_option
def power(board: str, action: str, bench: str) -> None:
    """Switch the power of BOARD; 'cycle' leaves it off for power.off_seconds.

    A GPIO line is let go when its holder ends: 'on' and 'off' then hold it until Ctrl-C.
    """

    from harness.bench.device_of import device_of
    from harness.cli.findings import print_parts
    from harness.inventory.locks import board_lock
    from harness.power.gpio_line import GpioSwitch
    from harness.power.switch import cycle
    from harness.shown import Terminal

    chosen, state = board_named(board, bench)
    console = Terminal()
    with board_lock(chosen, state, purpose=f"harness power {action}"):
        device = device_of(chosen, state)
        try:
            switch = device.switch_now()
            if action == "cycle":
                cycle(switch, chosen.power.off_seconds)
            elif action == "on":
                switch.on()
            else:
                switch.off()
            print_parts(console, (chosen.id, "bold"), f": {action}, by {switch.name}")
            if isinstance(switch, GpioSwitch) and action != "cycle":
                print_parts(console, "holding the line until Ctrl-C")
                switch.wait()
        finally:
            device.close()
