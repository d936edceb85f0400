// A port of MicroPython to a host that plays the board: one program after another, each compiled and executed as the
// raw REPL does (shared/runtime/pyexec.c), in a heap of the size that the command line gives.
#include <stdlib.h>
#include <string.h>

#include "py/builtin.h"
#include "py/compile.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/reader.h"
#include "py/runtime.h"
#include "py/stackctrl.h"
#include "extmod/vfs.h"
#include "extmod/vfs_posix.h"
#if MICROPY_VFS_ROM
#include "extmod/vfs_rom.h"
#endif
#include "host.h"
#include "port.h"

#ifndef HX_STACK_LIMIT
#define HX_STACK_LIMIT (160000)
#endif

// -- a program's text, outside the heap ----------------------------------------------------------

typedef struct {
    const char *at, *end;
} text_t;

static mp_uint_t text_read(void *data) {
    text_t *text = data;
    return text->at < text->end ? (unsigned char)*text->at++ : MP_READER_EOF;
}

static void text_close(void *data) {
    (void)data;
}

static void error_strn(void *env, const char *text, size_t size) {
    (void)env;
    hx_error_out(text, size);
}

static const mp_print_t error_print = { NULL, error_strn };

// 0: it went on; 1: it asked to leave.
static int execute(mp_lexer_t *(*open)(void *), void *what) {
    int leave = 0;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_lexer_t *lexer = open(what);
        qstr name = lexer->source_name;
        mp_parse_tree_t tree = mp_parse(lexer, MP_PARSE_FILE_INPUT);
        mp_obj_t program = mp_compile(&tree, name, false);
        mp_hal_set_interrupt_char(3);
        mp_call_function_0(program);
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(true);
        nlr_pop();
    } else {
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(false);
        const mp_obj_type_t *type = ((mp_obj_base_t *)nlr.ret_val)->type;
        if (mp_obj_is_subclass_fast(MP_OBJ_FROM_PTR(type), MP_OBJ_FROM_PTR(&mp_type_SystemExit))) {
            leave = 1;
        } else {
            mp_obj_print_exception(&error_print, MP_OBJ_FROM_PTR(nlr.ret_val));
            leave = -1;
        }
    }
    return leave;
}

static mp_lexer_t *open_text(void *data) {
    mp_reader_t reader = { data, text_read, text_close };
    return mp_lexer_new(MP_QSTR__lt_stdin_gt_, reader);
}

static mp_lexer_t *open_file(void *data) {
    return HX_LEXER_FROM_FILE(data);
}

static bool next_program(void) {
    uint32_t size = hx_program();
    char *program = malloc(size ? size : 1);
    if (program == NULL) {
        abort();
    }
    hx_program_text(program);
    text_t text = { program, program + size };
    int left = execute(open_text, &text);
    free(program);
    return left == 1;
}

// -- start ---------------------------------------------------------------------------------------

// A call of the host that answers with a text. The answer is valid until the next one.
const char *hx_ask(const char *name, const char *text) {
    static char reply[1024];
    int size = hx_call(name, strlen(name), text, strlen(text), reply, sizeof(reply) - 1);
    reply[size < 0 ? 0 : size] = 0;
    return reply;
}

static void append_path(const char *entry, size_t size) {
    mp_obj_list_append(mp_sys_path, MP_OBJ_NEW_QSTR(qstr_from_strn(entry, size)));
}

#if MICROPY_VFS_ROM
static void mount_rom(uint32_t address, uint32_t size, qstr at) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_obj_t image = mp_obj_new_bytearray_by_ref(size, (void *)address);
        mp_obj_t rom = MP_OBJ_TYPE_GET_SLOT(&mp_type_vfs_rom, make_new)(&mp_type_vfs_rom, 1, 0, &image);
        mp_obj_t arguments[] = { rom, MP_OBJ_NEW_QSTR(at) };
        mp_vfs_mount(2, arguments, (mp_map_t *)&mp_const_empty_map);
        nlr_pop();
    }
}
#endif

static void mount_files(const char *at) {
    mp_obj_t posix = MP_OBJ_TYPE_GET_SLOT(&mp_type_vfs_posix, make_new)(&mp_type_vfs_posix, 0, 0, NULL);
    mp_obj_t place = MP_OBJ_NEW_QSTR(qstr_from_str(at));
    mp_obj_t arguments[] = { posix, place };
    mp_vfs_mount(2, arguments, (mp_map_t *)&mp_const_empty_map);
    MP_STATE_VM(vfs_cur) = MP_STATE_VM(vfs_mount_table);
    mp_vfs_chdir(place);
}

static bool next_word(const char **at, const char **word, size_t *size) {
    while (**at == ' ') {
        ++*at;
    }
    *word = *at;
    while (**at && **at != ' ') {
        ++*at;
    }
    *size = *at - *word;
    return *size > 0;
}

static void import_module(const char *name, size_t size) {
    mp_import_name(qstr_from_strn(name, size), mp_const_none, MP_OBJ_NEW_SMALL_INT(0));
}

// Mounts, sys.path and the modules that a port has built in. The host's answer to "begin" is
// "files_at romfs_address romfs_size rom_address rom_size", to "path" and "modules" words.
static void begin(void) {
    char place[64];
    unsigned long romfs = 0, romfs_size = 0, rom = 0, rom_size = 0;
    const char *at = hx_ask("begin", ""), *word;
    size_t size;
    next_word(&at, &word, &size);
    size = size < sizeof(place) ? size : sizeof(place) - 1;
    memcpy(place, word, size);
    place[size] = 0;
    romfs = strtoul(at, (char **)&at, 10);
    romfs_size = strtoul(at, (char **)&at, 10);
    rom = strtoul(at, (char **)&at, 10);
    rom_size = strtoul(at, (char **)&at, 10);
    #if MICROPY_VFS_ROM
    if (romfs_size) {
        mount_rom(romfs, romfs_size, MP_QSTR__slash_rom);
        append_path("/rom", 4);
        append_path("/rom/lib", 8);
    }
    #else
    (void)romfs;
    #endif
    if (place[0] == '/') {
        mount_files(place);
    }
    for (at = hx_ask("path", ""); next_word(&at, &word, &size);) {
        append_path(word, size);
    }
    #if MICROPY_VFS_ROM
    if (rom_size) {
        mount_rom(rom, rom_size, qstr_from_str("/.rom"));
        append_path("/.rom", 5);
        static char names[256];
        strncpy(names, hx_ask("modules", ""), sizeof(names) - 1);
        nlr_buf_t nlr;
        if (nlr_push(&nlr) == 0) {
            for (at = names; next_word(&at, &word, &size);) {
                import_module(word, size);
            }
            // Nothing tells that they were files: they are a port's C code.
            mp_obj_t entry = MP_OBJ_NEW_QSTR(qstr_from_str("/.rom"));
            if (strstr(names, " ")) {
                mp_obj_list_remove(mp_sys_path, entry);
                mp_vfs_umount(entry);
            }
            nlr_pop();
        } else {
            mp_obj_print_exception(&error_print, MP_OBJ_FROM_PTR(nlr.ret_val));
        }
        gc_collect();
    }
    #else
    (void)rom;
    (void)rom_size;
    #endif
}

static void run_start_files(void) {
    static char names[256];
    const char *at, *word;
    size_t size;
    strncpy(names, hx_ask("start_files", ""), sizeof(names) - 1);
    for (at = names; next_word(&at, &word, &size);) {
        char name[64];
        size = size < sizeof(name) ? size : sizeof(name) - 1;
        memcpy(name, word, size);
        name[size] = 0;
        if (execute(open_file, name) != 0) {
            break; // when one start file fails, a port does not run the next
        }
    }
}

static size_t heap_size(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "-X") == 0 && strncmp(argv[i + 1], "heapsize=", 9) == 0) {
            return strtoul(argv[i + 1] + 9, NULL, 10);
        }
    }
    return 57344;
}

int main(int argc, char **argv) {
    size_t size = heap_size(argc, argv);
    char *heap = malloc(size + 16);
    if (heap == NULL) {
        return 1;
    }
    hx_stack_begin();
    mp_stack_set_limit(HX_STACK_LIMIT);
    heap = (char *)(((uintptr_t)heap + 15) & ~(uintptr_t)15);
    gc_init(heap, heap + size);
    mp_init();
    hx_tell_layout();
    begin();
    run_start_files();
    while (!next_program()) {
    }
    mp_deinit();
    return 0;
}

void nlr_jump_fail(void *value) {
    (void)value;
    abort();
}

#ifndef NDEBUG
void __assert_func(const char *file, int line, const char *func, const char *expr) {
    (void)file, (void)line, (void)func, (void)expr;
    abort();
}
#endif
