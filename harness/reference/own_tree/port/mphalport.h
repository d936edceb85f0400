#include <stdint.h>

void mp_hal_set_interrupt_char(int c);

// Files are the host's: calls are never interrupted.
#define MP_HAL_RETRY_SYSCALL(ret, syscall, raise) \
    do { \
        ret = syscall; \
        if (ret == -1) { \
            int err = errno; \
            raise; \
        } \
    } while (0)
