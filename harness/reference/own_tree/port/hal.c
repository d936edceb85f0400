// Console, clock, waits, the collector's roots, and the moments at which the host may strike.
#include "py/gc.h"
#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/runtime.h"
#include "py/stackctrl.h"
#include "py/stream.h"
#include "host.h"
#include "port.h"

// -- console -------------------------------------------------------------------------------------

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        int c = hx_input();
        if (c >= 0) {
            return c;
        }
        mp_handle_pending(true);
        hx_input_within(-1);
    }
}

#if HX_OUTPUT_COUNTS
mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t size) {
    hx_out(text, size);
    return size;
}
#else
void mp_hal_stdout_tx_strn(const char *text, size_t size) {
    hx_out(text, size);
}
#endif

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    uintptr_t ready = flags & MP_STREAM_POLL_WR;
    if ((flags & MP_STREAM_POLL_RD) && hx_input_within(0)) {
        ready |= MP_STREAM_POLL_RD;
    }
    return ready;
}

void mp_hal_set_interrupt_char(int c) {
    hx_interrupt_char(c);
}

// -- time ----------------------------------------------------------------------------------------

mp_uint_t mp_hal_ticks_ms(void) {
    return hx_clock() / 1000000;
}

mp_uint_t mp_hal_ticks_us(void) {
    return hx_clock() / 1000;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return hx_clock() / 25;
}

uint64_t mp_hal_time_ns(void) {
    return hx_real_time();
}

void mp_hal_delay_us(mp_uint_t us) {
    hx_wait((int64_t)us * 1000, 0);
}

void mp_hal_delay_ms(mp_uint_t ms) {
    int64_t end = hx_clock() + (int64_t)ms * 1000000;
    for (;;) {
        HX_MOMENT(HX_AT_WAIT);
        mp_handle_pending(true);
        int64_t left = end - hx_clock();
        if (left <= 0) {
            break;
        }
        hx_wait(left, 1);
    }
}

void hx_wait_event(int timeout_ms) {
    HX_MOMENT(HX_AT_WAIT);
    hx_wait(timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000, 1);
}

// -- the collector -------------------------------------------------------------------------------

static char *stack_top;

__attribute__((noinline)) void hx_stack_begin(void) {
    char here;
    // Room for what the caller itself keeps on the stack.
    stack_top = (char *)(((uintptr_t)&here + 1024) & ~(uintptr_t)3);
    MP_STATE_THREAD(stack_top) = stack_top;
}

__attribute__((noinline)) static void collect_stack(void) {
    volatile uint32_t here = 0;
    gc_collect_root((void **)&here, (stack_top - (char *)&here) / sizeof(void *));
}

void gc_collect(void) {
    HX_MOMENT(HX_AT_COLLECTION);
    gc_collect_start();
    collect_stack();
    HX_MOMENT(HX_AT_COLLECTION);
    gc_collect_end();
    HX_MOMENT(HX_AT_COLLECTION);
}

// -- moments -------------------------------------------------------------------------------------

uint32_t hx_countdown[HX_MOMENTS];

// What the host answers with: a handler, its argument, and the level at which it is called. docs/interleaving.md.
enum { HX_HARD, HX_SOFT, HX_RAISE };

// As mp_sched_run_pending() calls a callback: no other one runs in it, and at the soft level it may allocate.
static void call_handler(mp_obj_t function, mp_obj_t argument, bool hard) {
    #if MICROPY_ENABLE_SCHEDULER
    mp_sched_lock();
    #endif
    if (hard) {
        gc_lock();
    }
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_call_function_1(function, argument);
        nlr_pop();
        nlr.ret_val = NULL;
    }
    if (hard) {
        gc_unlock();
    }
    #if MICROPY_ENABLE_SCHEDULER
    mp_sched_unlock();
    #endif
    hx_handler_ended((uint32_t)nlr.ret_val);
    if (nlr.ret_val != NULL) {
        mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(nlr.ret_val));
    }
}

__attribute__((noinline)) void hx_moment(int kind) {
    for (;;) {
        const mp_obj_t *handler = (const mp_obj_t *)hx_moment_has_come(kind);
        if (handler == NULL) {
            return;
        }
        uint32_t level = (uint32_t)handler[2];
        if (level == HX_RAISE) {
            nlr_jump(MP_OBJ_TO_PTR(handler[0]));
        }
        call_handler(handler[0], handler[1], level == HX_HARD);
    }
}

// What C code calls while it works, and what takes long itself. The Makefile gives the tree's own ones another name.

#define HX_WRAP(result, name, parameters, arguments) \
    result hx_real_##name parameters; \
    result name parameters { \
        HX_MOMENT(HX_AT_C_CODE); \
        return hx_real_##name arguments; \
    }

HX_WRAP(void *, gc_alloc, (size_t size, unsigned int flags), (size, flags))
HX_WRAP(void *, gc_realloc, (void *at, size_t size, bool may_move), (at, size, may_move))
HX_WRAP(mp_obj_t, mp_binary_op, (mp_binary_op_t op, mp_obj_t a, mp_obj_t b), (op, a, b))
HX_WRAP(mp_obj_t, mp_iternext, (mp_obj_t iterator), (iterator))
HX_WRAP(mp_map_elem_t *, mp_map_lookup, (mp_map_t *map, mp_obj_t key, mp_map_lookup_kind_t kind), (map, key, kind))
HX_WRAP(mp_obj_t, mp_obj_subscr, (mp_obj_t base, mp_obj_t index, mp_obj_t value), (base, index, value))

// -- what the host must know ---------------------------------------------------------------------

void hx_tell_layout(void) {
    uint32_t words[] = {
        #if MICROPY_ENABLE_SCHEDULER
        (uint32_t)&MP_STATE_VM(sched_queue),
        MICROPY_SCHEDULER_DEPTH,
        (uint32_t)&MP_STATE_VM(sched_state),
        (uint32_t)&MP_STATE_VM(sched_len),
        (uint32_t)&MP_STATE_VM(sched_idx),
        #else
        0, 0, 0, 0, 0,
        #endif
        (uint32_t)&MP_STATE_MAIN_THREAD(mp_pending_exception),
        (uint32_t)&MP_STATE_THREAD(dict_globals),
        #if MICROPY_KBD_EXCEPTION
        (uint32_t)&MP_STATE_VM(mp_kbd_exception),
        #else
        0,
        #endif
        (uint32_t)&MP_STATE_MEM(area),
        (uint32_t)hx_countdown,
        MICROPY_BYTES_PER_GC_BLOCK,
        MICROPY_OBJ_REPR,
    };
    hx_layout(words, sizeof(words) / sizeof(words[0]));
}
