// The module `host`: call(name, text) asks the host, and answers with its text.
#include <stdio.h>

#include "py/obj.h"
#include "py/runtime.h"
#include "host.h"

static mp_obj_t host_call(mp_obj_t name_in, mp_obj_t text_in) {
    char reply[512];
    size_t name_size, size;
    const char *name = mp_obj_str_get_data(name_in, &name_size);
    const char *text = mp_obj_str_get_data(text_in, &size);
    int count = hx_call(name, name_size, text, size, reply, sizeof(reply));
    if (count < 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("the host's answer is too long"));
    }
    return mp_obj_new_str(reply, count);
}
static MP_DEFINE_CONST_FUN_OBJ_2(host_call_obj, host_call);

static const mp_rom_map_elem_t host_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_host) },
    { MP_ROM_QSTR(MP_QSTR_call), MP_ROM_PTR(&host_call_obj) },
};
static MP_DEFINE_CONST_DICT(host_globals, host_globals_table);

const mp_obj_module_t host_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&host_globals,
};
MP_REGISTER_MODULE(MP_QSTR_host, host_module);
