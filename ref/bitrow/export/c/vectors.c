/* Arrays under the default mode take the widest vectors of the processor that they run on, where gcc or clang compiles
   for x86-64; -DBW_WIDEST=128 or 256 leaves wider ones out. */
#ifndef BW_WIDEST
#if defined(__GNUC__) && defined(__x86_64__)
#define BW_WIDEST 512
#else
#define BW_WIDEST 128
#endif
#endif

#define BW_LOOP(attributes, name, word) \
    attributes static void name(size_t count, const uint16_t *a, const uint16_t *b, uint16_t *y) { \
        for (size_t i = 0; i < count; i++) { \
            y[i] = (uint16_t)(word); \
        } \
    }

#if BW_WIDEST < 256
#define BW_NEAREST(name, word) BW_LOOP(, name, word)
#else
#ifdef __clang__
#define BW_FOR(features) __attribute__((target(features), flatten))
#else /* gcc makes no vectors of these loops below -O3 */
#define BW_FOR(features) __attribute__((target(features), flatten, optimize("O3")))
#endif

static int bw_width(void) {
    if (BW_WIDEST >= 512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return 512;
    }
    return __builtin_cpu_supports("avx2") ? 256 : 128;
}

#define BW_NEAREST(name, word) \
    BW_LOOP(, name##_128, word) \
    BW_LOOP(BW_FOR("avx2"), name##_256, word) \
    BW_LOOP(BW_FOR("avx512f,avx512bw,avx512dq,avx512vl"), name##_512, word) \
    static void name(size_t count, const uint16_t *a, const uint16_t *b, uint16_t *y) { \
        const int width = bw_width(); \
        (width == 512 ? name##_512 : width == 256 ? name##_256 : name##_128)(count, a, b, y); \
    }
#endif
