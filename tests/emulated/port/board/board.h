// What our part of an emulated board tells the VM's configuration; board.c holds the rest.
// Included by the generated settings.h after the port's own mpconfigport.h, before the VM's defaults.
#ifndef EMULATED_BOARD_H
#define EMULATED_BOARD_H

#include <stdint.h>

uint32_t board_irq_off(void);
void board_irq_on(uint32_t before);
void board_wait(void);
void board_deinit(void);

#define MICROPY_PORT_DEINIT_FUNC board_deinit()

#define MICROPY_BEGIN_ATOMIC_SECTION() board_irq_off()
#define MICROPY_END_ATOMIC_SECTION(state) board_irq_on(state)
#define MICROPY_PY_PENDSV_ENTER uint32_t pendsv_state = board_irq_off()
#define MICROPY_PY_PENDSV_EXIT board_irq_on(pendsv_state)
#if defined(__ARM_ARCH_6M__) // nothing would wake it
#define MICROPY_INTERNAL_WFE(timeout_ms)
#elif defined(__riscv)
#define MICROPY_INTERNAL_WFE(timeout_ms) board_wait()
#else
#define MICROPY_INTERNAL_WFE(timeout_ms) __asm volatile ("wfi")
#endif

#undef MICROPY_PY_TIME
#define MICROPY_PY_TIME (1)
#undef MICROPY_PY_SYS_STDIO_BUFFER
#define MICROPY_PY_SYS_STDIO_BUFFER (1)
#undef MICROPY_PY_SELECT
#define MICROPY_PY_SELECT (1)
#undef MICROPY_PY_ASYNCIO
#define MICROPY_PY_ASYNCIO (1)
#undef MICROPY_PY_MACHINE_TIMER
#define MICROPY_PY_MACHINE_TIMER (1)
#undef MICROPY_PY_MACHINE_INCLUDEFILE
#define MICROPY_PY_MACHINE_INCLUDEFILE "machine.c"
#if defined(__ARM_ARCH_6M__) // it has no tick for a timer, board.c says why
#define MICROPY_PY_MACHINE_EXTRA_GLOBALS
#else
#define MICROPY_PY_MACHINE_EXTRA_GLOBALS \
    { MP_ROM_QSTR(MP_QSTR_Timer), MP_ROM_PTR(&machine_timer_type) }, \
    { MP_ROM_QSTR(MP_QSTR_disable_irq), MP_ROM_PTR(&board_disable_irq_obj) }, \
    { MP_ROM_QSTR(MP_QSTR_enable_irq), MP_ROM_PTR(&board_enable_irq_obj) },
#endif

#endif
