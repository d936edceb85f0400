// The parts of a board that upstream's QEMU port leaves out: a tick of 1 ms by an interrupt, and on it time, soft
// timers, and a Ctrl-C that a busy program sees; a region for ROMFS; a real reset; boot.py and main.py.
//
// The tick: Arm v7-M's SysTick (Armv7-M Architecture Reference Manual, B3.3; its vector table is moved to RAM by VTOR,
// B3.2.5), RISC-V's machine timer (Privileged Specification, "Machine Timer Registers"; QEMU's `virt` has a CLINT
// at 0x2000000 that counts at 10 MHz).
// The linker's --wrap (micropython.mk) puts these functions in front of the port's.

#include <string.h>

#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/obj.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "extmod/vfs.h"
#include "shared/runtime/pyexec.h"
#include "shared/runtime/softtimer.h"

#include "shared/runtime/softtimer.c"
#if MICROPY_VFS_FAT
#include "shared/timeutils/timeutils.c"
#endif

int __real_uart_rx_chr(void);
void __real_uart_init(void);
void __real_gc_helper_collect_regs_and_stack(void);
int __real_pyexec_raw_repl(void);
int __real_pyexec_friendly_repl(void);

#if !defined(__ARM_ARCH_6M__)
static void board_tick(void);
#endif
static volatile uint32_t board_ms;

// -- the processor's interrupt ------------------------------------------------------------------

#if defined(__arm__)

uint32_t board_irq_off(void) {
    uint32_t before;
    __asm volatile ("mrs %0, primask\n cpsid i" : "=r" (before) : : "memory");
    return before;
}

void board_irq_on(uint32_t before) {
    __asm volatile ("msr primask, %0" : : "r" (before) : "memory");
}

#endif

#if defined(__riscv)

#define MTIME_LOW (*(volatile uint32_t *)0x200bff8)
#define MTIME_HIGH (*(volatile uint32_t *)0x200bffc)
#define MTIMECMP_LOW (*(volatile uint32_t *)0x2004000)
#define MTIMECMP_HIGH (*(volatile uint32_t *)0x2004004)
#define TICKS_PER_US (10)
#define MIE_MTIE (1 << 7)
#define MSTATUS_MIE (1 << 3)
#define MCAUSE_MACHINE_TIMER (0x80000007)

static uint64_t board_next; // of the board's time, as everything but the registers
static uint64_t board_late; // what the host was late, in all

uint32_t board_irq_off(void) {
    uint32_t before;
    __asm volatile ("csrrci %0, mstatus, 8" : "=r" (before) : : "memory");
    return before & MSTATUS_MIE;
}

void board_irq_on(uint32_t before) {
    __asm volatile ("csrs mstatus, %0" : : "r" (before) : "memory");
}

static uint64_t board_counter(void) {
    uint32_t high, low;
    do {
        high = MTIME_HIGH;
        low = MTIME_LOW;
    } while (high != MTIME_HIGH);
    return ((uint64_t)high << 32 | low) - board_late;
}

static void board_set_timer(void) {
    uint64_t at = board_next + board_late;
    MTIMECMP_HIGH = 0xffffffff;
    MTIMECMP_LOW = (uint32_t)at;
    MTIMECMP_HIGH = (uint32_t)(at >> 32);
}

// Until the next tick. While the processor waits QEMU's clock is the host's, and a host that is late moves it beyond
// the moment of the tick. No chip does that, so it is taken out of the board's time. What the program or the firmware
// made late is not: that had passed before the wait began. (A SysTick that is late counts one tick for many.)
void board_wait(void) {
    uint32_t before = board_irq_off(); // wfi ends all the same (Privileged Specification, "Wait for Interrupt")
    uint64_t began = board_counter();
    __asm volatile ("wfi");
    uint64_t due = began > board_next ? began : board_next;
    uint64_t now = board_counter();
    if (now > due) {
        board_late += now - due;
    }
    board_irq_on(before);
}

void mtvec_exception(void);

__attribute__((interrupt("machine"), aligned(64))) static void board_interrupt(void) {
    uint32_t cause;
    __asm volatile ("csrr %0, mcause" : "=r" (cause));
    if (cause != MCAUSE_MACHINE_TIMER) {
        mtvec_exception(); // the port's own: says what happened, and stops
    }
    board_next += 1000 * TICKS_PER_US;
    board_set_timer();
    board_tick();
}

static void board_start_tick(void) {
    board_next = board_counter() + 1000 * TICKS_PER_US;
    board_set_timer();
    __asm volatile ("csrw mtvec, %0" : : "r" (&board_interrupt));
    __asm volatile ("csrs mie, %0" : : "r" (MIE_MTIE));
    __asm volatile ("csrs mstatus, %0" : : "r" (MSTATUS_MIE));
}

static uint64_t board_us(void) {
    return board_counter() / TICKS_PER_US;
}

// SiFive's test device, which QEMU's `virt` has at this address: this value resets the machine.
static void board_reset(void) {
    *(volatile uint32_t *)0x100000 = 0x7777;
}

#define DISK_AT ((uint8_t *)0x81000000)
#define ROM_AT ((uint8_t *)0x81800000)

#elif defined(__ARM_ARCH_6M__)

// Arm v6-M has no VTOR and upstream's vector table is in flash: no interrupt of ours. The clock is the nRF51's TIMER0
// (nRF51 Series Reference Manual, "TIMER"), which counts microseconds by itself and is captured. So a busy
// program sees no Ctrl-C, and there is no machine.Timer.
#define TIMER0_START (*(volatile uint32_t *)0x40008000)
#define TIMER0_CAPTURE (*(volatile uint32_t *)0x40008040)
#define TIMER0_BITMODE (*(volatile uint32_t *)0x40008508)
#define TIMER0_PRESCALER (*(volatile uint32_t *)0x40008510)
#define TIMER0_CC (*(volatile uint32_t *)0x40008540)

static void board_start_tick(void) {
    TIMER0_BITMODE = 3; // 32 bits
    TIMER0_PRESCALER = 4; // 16 MHz / 16
    TIMER0_START = 1;
}

static uint64_t board_us(void) {
    static uint32_t last, high;
    TIMER0_CAPTURE = 1;
    uint32_t now = TIMER0_CC;
    high += now < last;
    last = now;
    board_ms = (uint32_t)(((uint64_t)high << 32 | now) / 1000);
    return (uint64_t)high << 32 | now;
}

static void board_reset(void) {
    *(volatile uint32_t *)0xe000ed0c = 0x05fa0004; // SYSRESETREQ
}

#define DISK_AT ((uint8_t *)0)
#define ROM_AT ((uint8_t *)0)

#else

#define SYST_CSR (*(volatile uint32_t *)0xe000e010)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018)
#define SCB_ICSR (*(volatile uint32_t *)0xe000ed04)
#define SCB_VTOR (*(volatile uint32_t *)0xe000ed08)
#define SCB_AIRCR (*(volatile uint32_t *)0xe000ed0c)
#define ICSR_PENDSTSET (1 << 26)
#define SYSTICK_VECTOR (15)
#define TICKS_PER_US (25) // the AN385's system clock is 25 MHz

extern const uint32_t isr_vector[16];
static uint32_t board_vectors[64] __attribute__((aligned(256)));

static void board_systick(void) {
    board_tick();
}

static void board_start_tick(void) {
    memcpy(board_vectors, isr_vector, 16 * sizeof(uint32_t));
    board_vectors[SYSTICK_VECTOR] = (uint32_t)&board_systick;
    SCB_VTOR = (uint32_t)board_vectors;
    SYST_RVR = 1000 * TICKS_PER_US - 1;
    SYST_CVR = 0;
    SYST_CSR = 7; // processor clock, interrupt, enable
}

static uint64_t board_us(void) {
    uint32_t before = board_irq_off();
    uint32_t ms = board_ms;
    uint32_t left = SYST_CVR;
    if (SCB_ICSR & ICSR_PENDSTSET) { // it has passed zero, and its interrupt has not been served yet
        ++ms;
        left = SYST_CVR;
    }
    board_irq_on(before);
    return (uint64_t)ms * 1000 + (1000 * TICKS_PER_US - 1 - left) / TICKS_PER_US;
}

static void board_reset(void) {
    SCB_AIRCR = 0x05fa0004; // SYSRESETREQ
}

#define DISK_AT ((uint8_t *)0x21000000)
#define ROM_AT ((uint8_t *)0x21800000)

#endif

// -- time ---------------------------------------------------------------------------------------

static volatile bool board_timer_set;
static volatile uint32_t board_timer_at;

mp_uint_t mp_hal_ticks_ms(void) {
    #if defined(__ARM_ARCH_6M__)
    board_us();
    #endif
    return board_ms;
}

mp_uint_t mp_hal_ticks_us(void) {
    return (mp_uint_t)board_us();
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return (mp_uint_t)board_us();
}

uint64_t mp_hal_time_ns(void) {
    return board_us() * 1000;
}

void mp_hal_delay_ms(mp_uint_t ms) {
    uint64_t end = board_us() + (uint64_t)ms * 1000;
    mp_event_handle_nowait();
    while (board_us() < end) {
        mp_event_wait_ms(1);
    }
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = board_us() + us;
    while (board_us() < end) {
    }
}

uint32_t soft_timer_get_ms(void) {
    return board_ms;
}

void soft_timer_schedule_at_ms(uint32_t ticks_ms) {
    #ifdef EMULATED_LATE_TIMER // a defect: so many milliseconds, each twentieth time
    static uint32_t count;
    ticks_ms += ++count % 20 == 0 ? EMULATED_LATE_TIMER : 0;
    #endif
    board_timer_at = ticks_ms;
    board_timer_set = true;
}

#if !MICROPY_KBD_EXCEPTION
void mp_hal_set_interrupt_char(int c) {
    (void)c;
}
#endif

// -- the console's input, looked at in the tick ----------------------------------------------------

static uint8_t board_ring[1024];
static volatile uint32_t board_ring_in, board_ring_out;

static void board_read_uart(void) {
    while (board_ring_in - board_ring_out < sizeof(board_ring)) {
        int c = __real_uart_rx_chr();
        if (c < 0) {
            return;
        }
        #if MICROPY_KBD_EXCEPTION
        if (c == mp_interrupt_char) {
            mp_sched_keyboard_interrupt();
            continue;
        }
        #endif
        board_ring[board_ring_in++ % sizeof(board_ring)] = c;
    }
}

int __wrap_uart_rx_chr(void) {
    uint32_t before = board_irq_off();
    board_read_uart();
    board_irq_on(before);
    if (board_ring_in != board_ring_out) {
        return board_ring[board_ring_out++ % sizeof(board_ring)];
    }
    mp_event_handle_nowait();
    return -1;
}

uintptr_t __wrap_mp_hal_stdio_poll(uintptr_t poll_flags) {
    uint32_t before = board_irq_off();
    board_read_uart();
    board_irq_on(before);
    uintptr_t ready = poll_flags & MP_STREAM_POLL_WR;
    if ((poll_flags & MP_STREAM_POLL_RD) && board_ring_in != board_ring_out) {
        ready |= MP_STREAM_POLL_RD;
    }
    return ready;
}

#if !defined(__ARM_ARCH_6M__)
static void board_tick(void) {
    ++board_ms;
    board_read_uart();
    if (board_timer_set && soft_timer_ticks_diff(board_ms, board_timer_at) >= 0) {
        board_timer_set = false;
        soft_timer_handler();
    }
}
#endif

// -- start, restart ------------------------------------------------------------------------------

static bool board_booted;

void __wrap_uart_init(void) {
    __real_uart_init();
    board_start_tick();
}

void __wrap_gc_helper_collect_regs_and_stack(void) {
    soft_timer_gc_mark_all();
    __real_gc_helper_collect_regs_and_stack();
}

// The port leaves the emulator here; a board starts again.
void __wrap_exit(int status) {
    (void)status;
    board_reset();
    for (;;) {
    }
}

void board_deinit(void) {
    soft_timer_deinit();
    board_booted = false;
}

#ifdef EMULATED_SLOW_APPEND
// A defect: list.append alone takes longer. The table of the type's methods is constant, in memory that can be written.
static mp_obj_t board_append(mp_obj_t list, mp_obj_t item) {
    for (volatile int n = 0; n < EMULATED_SLOW_APPEND; ++n) {
    }
    return mp_obj_list_append(list, item);
}
static MP_DEFINE_CONST_FUN_OBJ_2(board_append_obj, board_append);

static void board_slow_append(void) {
    mp_obj_dict_t *methods = MP_OBJ_TYPE_GET_SLOT(&mp_type_list, locals_dict);
    for (size_t n = 0; n < methods->map.used; ++n) {
        mp_map_elem_t *entry = (mp_map_elem_t *)&methods->map.table[n];
        if (entry->key == MP_OBJ_NEW_QSTR(MP_QSTR_append)) {
            entry->value = MP_OBJ_FROM_PTR(&board_append_obj);
        }
    }
}
#endif

// A defect: an allocation of just this many bytes takes one block more.
#ifdef EMULATED_FAT_ALLOCATION
void *__real_gc_alloc(size_t size, unsigned int flags);
void *__wrap_gc_alloc(size_t size, unsigned int flags) {
    size += size == EMULATED_FAT_ALLOCATION ? MICROPY_BYTES_PER_GC_BLOCK : 0;
    return __real_gc_alloc(size, flags);
}
#endif

// As the ports of real chips do: the port's own start, then boot.py, then main.py unless a raw REPL is on.
static void board_boot(void) {
    if (board_booted) {
        return;
    }
    board_booted = true;
    #ifdef EMULATED_SLOW_APPEND
    board_slow_append();
    #endif
    #if EMULATED_FILESYSTEM
    pyexec_frozen_module("_boot.py", false);
    int ended = pyexec_file_if_exists("boot.py");
    if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL && !(ended & PYEXEC_FORCED_EXIT)) {
        pyexec_file_if_exists("main.py");
    }
    #endif
}

int __wrap_pyexec_raw_repl(void) {
    board_boot();
    return __real_pyexec_raw_repl();
}

int __wrap_pyexec_friendly_repl(void) {
    board_boot();
    return __real_pyexec_friendly_repl();
}

// -- memory beside the heap, for a disk ------------------------------------------------------------

// board_memory.read(offset, buffer) and .write(offset, data). Nothing is allocated: a file that nobody closed is
// closed by the collector, which does not allow it.
static mp_obj_t board_memory_read(mp_obj_t offset, mp_obj_t into) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(into, &buffer, MP_BUFFER_WRITE);
    memcpy(buffer.buf, DISK_AT + mp_obj_get_int(offset), buffer.len);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(board_memory_read_obj, board_memory_read);

static mp_obj_t board_memory_write(mp_obj_t offset, mp_obj_t from) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(from, &buffer, MP_BUFFER_READ);
    memcpy(DISK_AT + mp_obj_get_int(offset), buffer.buf, buffer.len);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(board_memory_write_obj, board_memory_write);

static const mp_rom_map_elem_t board_memory_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_board_memory) },
    { MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&board_memory_read_obj) },
    { MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&board_memory_write_obj) },
};
static MP_DEFINE_CONST_DICT(board_memory_globals, board_memory_table);

const mp_obj_module_t board_memory_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&board_memory_globals,
};
MP_REGISTER_MODULE(MP_QSTR_board_memory, board_memory_module);

// -- a region for ROMFS ---------------------------------------------------------------------------

#if MICROPY_VFS_ROM_IOCTL

#define ROM_BYTES (512 * 1024)

static const MP_DEFINE_MEMORYVIEW_OBJ(board_rom, 'B', 0, ROM_BYTES, ROM_AT);

// The commands of vfs.rom_ioctl are those of extmod/vfs.h (MP_VFS_ROM_IOCTL_*).
mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args) {
    mp_int_t command = mp_obj_get_int(args[0]);
    if (command == MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS) {
        return MP_OBJ_NEW_SMALL_INT(1);
    }
    if (n_args < 2 || mp_obj_get_int(args[1]) != 0) {
        return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
    }
    switch (command) {
        case MP_VFS_ROM_IOCTL_GET_SEGMENT:
            return MP_OBJ_FROM_PTR(&board_rom);
        case MP_VFS_ROM_IOCTL_WRITE_PREPARE: {
            mp_int_t length = n_args > 2 ? mp_obj_get_int(args[2]) : -1;
            if (length < 0 || length > ROM_BYTES) {
                return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
            }
            memset(ROM_AT, 0xff, length);
            return MP_OBJ_NEW_SMALL_INT(16); // the least piece that can be written
        }
        case MP_VFS_ROM_IOCTL_WRITE: {
            if (n_args < 4) {
                return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
            }
            mp_uint_t offset = mp_obj_get_int(args[2]);
            mp_buffer_info_t data;
            mp_get_buffer_raise(args[3], &data, MP_BUFFER_READ);
            if (offset > ROM_BYTES || data.len > ROM_BYTES - offset) {
                return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
            }
            memcpy(ROM_AT + offset, data.buf, data.len);
            return MP_OBJ_NEW_SMALL_INT(0);
        }
        case MP_VFS_ROM_IOCTL_WRITE_COMPLETE:
            return MP_OBJ_NEW_SMALL_INT(0);
        default:
            return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
    }
}

#endif
