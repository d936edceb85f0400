# Part of upstream's build when USER_C_MODULES names the folder above this one.
SRC_USERMOD_C += $(USERMOD_DIR)/board.c
WRAPPED = uart_init uart_rx_chr mp_hal_stdio_poll gc_helper_collect_regs_and_stack exit pyexec_raw_repl pyexec_friendly_repl
WRAPPED += $(EMULATED_WRAPPED)
EMULATED_COMMA := ,
LDFLAGS_USERMOD += $(addprefix -Wl$(EMULATED_COMMA)--wrap=,$(WRAPPED))
ifeq ($(QEMU_ARCH),arm)
LDFLAGS_USERMOD += -Wl,-T,$(USERMOD_DIR)/unwind.ld
endif
