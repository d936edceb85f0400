// What extmod/modtime.c asks of a port: the time of day.
#include "py/obj.h"
#include "shared/timeutils/timeutils.h"
#include "host.h"

static mp_int_t seconds_now(void) {
    mp_int_t since_1970 = hx_real_time() / 1000000000;
    #if MICROPY_EPOCH_IS_1970
    return since_1970;
    #else
    return since_1970 - 946684800; // 2000
    #endif
}

#if HX_TIME_FILLS
static void mp_time_localtime_get(timeutils_struct_time_t *tm) {
    timeutils_seconds_since_epoch_to_struct_time(seconds_now(), tm);
}
#else
static mp_obj_t mp_time_localtime_get(void) {
    timeutils_struct_time_t tm;
    timeutils_seconds_since_epoch_to_struct_time(seconds_now(), &tm);
    mp_obj_t fields[8] = {
        MP_OBJ_NEW_SMALL_INT(tm.tm_year), MP_OBJ_NEW_SMALL_INT(tm.tm_mon), MP_OBJ_NEW_SMALL_INT(tm.tm_mday),
        MP_OBJ_NEW_SMALL_INT(tm.tm_hour), MP_OBJ_NEW_SMALL_INT(tm.tm_min), MP_OBJ_NEW_SMALL_INT(tm.tm_sec),
        MP_OBJ_NEW_SMALL_INT(tm.tm_wday), MP_OBJ_NEW_SMALL_INT(tm.tm_yday),
    };
    return mp_obj_new_tuple(8, fields);
}
#endif

static mp_obj_t mp_time_time_get(void) {
    return mp_obj_new_int(seconds_now());
}
