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

static void call_hard(mp_obj_t function, mp_obj_t argument) {
    #if MICROPY_ENABLE_SCHEDULER
    mp_sched_lock();
    #endif
    gc_lock();
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_call_function_1(function, argument);
        nlr_pop();
        nlr.ret_val = NULL;
    }
    gc_unlock();
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
        call_hard(handler[0], handler[1]);
    }
}

// The calls that mpconfigport.h leads here.
#define HX_THROUGH(result, name, parameters, arguments) \
    result hx_##name parameters { \
        HX_MOMENT(HX_AT_C_CODE); \
        return name arguments; \
    }

HX_THROUGH(void *, gc_alloc, (size_t size, unsigned int flags), (size, flags))
HX_THROUGH(void *, gc_realloc, (void *at, size_t size, bool may_move), (at, size, may_move))
HX_THROUGH(mp_obj_t, mp_binary_op, (mp_binary_op_t op, mp_obj_t a, mp_obj_t b), (op, a, b))
HX_THROUGH(mp_obj_t, mp_iternext, (mp_obj_t iterator), (iterator))
HX_THROUGH(mp_map_elem_t *, mp_map_lookup, (mp_map_t *map, mp_obj_t key, mp_map_lookup_kind_t kind), (map, key, kind))
HX_THROUGH(mp_obj_t, mp_obj_subscr, (mp_obj_t base, mp_obj_t index, mp_obj_t value), (base, index, value))

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
