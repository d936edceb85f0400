// Between the files of this port.
#include "py/obj.h"

void hx_stack_begin(void);
void hx_tell_layout(void);
const char *hx_ask(const char *name, const char *text);

#if HX_LEXER_TAKES_QSTR // 1.21 and newer
#define HX_LEXER_FROM_FILE(name) mp_lexer_new_from_file(qstr_from_str(name))
#else
#define HX_LEXER_FROM_FILE(name) mp_lexer_new_from_file(name)
#endif
