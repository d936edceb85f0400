// Read at the end of Lua 5.1's luaconf.h: numbers are 32-bit integers that wrap, as in NodeMCU's integer firmware
// (LUA_NUMBER_INTEGRAL; what its operators give is told in docs/lfs.md). Compiled with -fwrapv.
#undef LUA_NUMBER_DOUBLE
#undef LUA_NUMBER
#define LUA_NUMBER int
#undef LUAI_UACNUMBER
#define LUAI_UACNUMBER int
#undef LUA_INTEGER
#define LUA_INTEGER int
#undef LUA_NUMBER_SCAN
#define LUA_NUMBER_SCAN "%d"
#undef LUA_NUMBER_FMT
#define LUA_NUMBER_FMT "%d"
#undef lua_str2number
#define lua_str2number(text, end) strtol((text), (end), 10)
#undef lua_number2int
#define lua_number2int(to, from) ((to) = (from))
#undef lua_number2integer
#define lua_number2integer(to, from) ((to) = (from))

#if defined(LUA_CORE)
// Division rounds down, and the remainder has the divisor's sign.
static inline int integer_quotient(int a, int b) {
    if (b == -1) {
        return -a;
    }
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static inline int integer_power(int a, int b) {
    int power = 1;
    if (b < 0) {
        return 0;
    }
    for (; b != 0; b >>= 1) {
        if (b & 1) {
            power *= a;
        }
        a *= a;
    }
    return power;
}

// The compiler leaves a division by zero to the VM, which tells it.
#if defined(lvm_c)
#define INTEGER_CHECKED(b, text, value) ((b) == 0 ? (luaG_runerror(L, text), 0) : (value))
#else
#define INTEGER_CHECKED(b, text, value) (value)
#endif
#undef luai_numdiv
#define luai_numdiv(a, b) INTEGER_CHECKED(b, "divide by zero", integer_quotient((a), (b)))
#undef luai_nummod
#define luai_nummod(a, b) INTEGER_CHECKED(b, "modulo by zero", (a) - integer_quotient((a), (b)) * (b))
#undef luai_numpow
#define luai_numpow(a, b) integer_power((a), (b))
#endif
