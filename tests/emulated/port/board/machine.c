// Included by extmod/modmachine.c in place of the port's file of this name, which it includes: disable_irq, enable_irq.

#include "ports/qemu/modmachine.c"

static mp_obj_t board_disable_irq(void) {
    return MP_OBJ_NEW_SMALL_INT(board_irq_off());
}
static MP_DEFINE_CONST_FUN_OBJ_0(board_disable_irq_obj, board_disable_irq);

static mp_obj_t board_enable_irq(mp_obj_t state) {
    board_irq_on(mp_obj_get_int(state));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(board_enable_irq_obj, board_enable_irq);
