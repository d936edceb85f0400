// The VM's configuration: the firmware's own (tree_settings.h, written by the build), and after it what this port needs.
#include <alloca.h>
#include <stdint.h>

#include "tree_settings.h"

#define MP_SSIZE_MAX (0x7fffffff)

#ifdef HX_PORT_TYPES // releases whose ports define these themselves
#define UINT_FMT "%lu"
#define INT_FMT "%ld"
typedef int32_t mp_int_t;
typedef uint32_t mp_uint_t;
#endif
typedef long mp_off_t;

#define MICROPY_HW_BOARD_NAME HX_BOARD_NAME
#define MICROPY_HW_MCU_NAME "WebAssembly"

#define MP_STATE_PORT MP_STATE_VM

// -- where the host may strike -------------------------------------------------------------------
// Each moment at which an interrupt can come counts down; the host is called when it asked for one of them.

enum { HX_AT_BYTECODE, HX_AT_C_CODE, HX_AT_POLL, HX_AT_COLLECTION, HX_AT_WAIT, HX_MOMENTS };

extern uint32_t hx_countdown[HX_MOMENTS];
void hx_moment(int kind);

#define HX_MOMENT(kind) \
    do { \
        if (--hx_countdown[kind] == 0) { \
            hx_moment(kind); \
        } \
    } while (0)

// py/vm.c has no hook between two bytecodes. Its dispatch is a switch, and the build compiles that file with HX_IN_VM.
#ifdef HX_IN_VM
static inline void hx_bytecode(void) {
    HX_MOMENT(HX_AT_BYTECODE);
}
#define switch(value) switch (hx_bytecode(), (value))
#endif

#define MICROPY_INTERNAL_WFE(timeout_ms) hx_wait_event(timeout_ms)
#define MICROPY_INTERNAL_EVENT_HOOK HX_MOMENT(HX_AT_POLL)
void hx_wait_event(int timeout_ms);

// Before 1.24 ports gave one macro for both.
#if HX_EVENT_POLL_HOOK
#define MICROPY_EVENT_POLL_HOOK \
    do { \
        extern void mp_handle_pending(bool); \
        HX_MOMENT(HX_AT_POLL); \
        mp_handle_pending(true); \
        hx_wait_event(1); \
    } while (0);
#endif
