// What the host offers to the port. docs/own-tree-reference.md describes the interface.
#include <stdint.h>

#define HX_IMPORT(name) __attribute__((import_module("harness"), import_name(name)))

// Answers a question with a text; its size, or -1 when it is longer than `cap`.
HX_IMPORT("call") int hx_call(const char *name, uint32_t name_size, const char *text, uint32_t size, char *reply, uint32_t cap);
// Waits for the next program; its size in bytes.
HX_IMPORT("program") uint32_t hx_program(void);
HX_IMPORT("program_text") void hx_program_text(char *to);
HX_IMPORT("out") void hx_out(const char *data, uint32_t size);
HX_IMPORT("error_out") void hx_error_out(const char *data, uint32_t size);
// The next character that came in; -1: none.
HX_IMPORT("input") int hx_input(void);
// Whether there is one; waits for it so many nanoseconds, if negative for ever.
HX_IMPORT("input_within") int hx_input_within(int64_t ns);
// Nanoseconds since the VM's start, and since 1970.
HX_IMPORT("clock") int64_t hx_clock(void);
HX_IMPORT("real_time") int64_t hx_real_time(void);
// Waits so many nanoseconds; `events`: no longer than until a callback or an exception is to be served.
HX_IMPORT("wait") void hx_wait(int64_t ns, int events);
// A moment of that kind has come that the host asked for. Answers with the address of {function, argument, level}: what
// is to be called now at the hard level (0) or the soft one (1), or raised (2, between two bytecodes only); or 0.
HX_IMPORT("moment") uint32_t hx_moment_has_come(uint32_t kind);
// The handler has ended; `exception`: by this one.
HX_IMPORT("handler_ended") void hx_handler_ended(uint32_t exception);
HX_IMPORT("interrupt_char") void hx_interrupt_char(int c);
// Where things are: the words of hx_tell_layout.
HX_IMPORT("layout") void hx_layout(const uint32_t *words, uint32_t count);
HX_IMPORT("random") uint32_t hx_random(void);
