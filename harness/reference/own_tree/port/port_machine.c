// What extmod/modmachine.c asks of a port. Peripherals are the host's; see docs/own-tree-reference.md.
#include "host.h"

static void mp_machine_idle(void) {
    hx_wait(1000000, 1);
}
