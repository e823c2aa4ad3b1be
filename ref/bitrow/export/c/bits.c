/* What the printed statements call. */

static inline int32_t bw_shift_arithmetic(int32_t a, uint32_t amount) {
    const uint32_t by = amount < 31u ? amount : 31u;
    return a < 0 ? (int32_t)~(~(uint32_t)a >> by) : (int32_t)((uint32_t)a >> by);
}

static inline uint32_t bw_leading_zeros(uint32_t x) {
    uint32_t found = 0u, left = x, step;
    step = left < 0x10000u ? 16u : 0u;
    left <<= step;
    found += step;
    step = left < 0x1000000u ? 8u : 0u;
    left <<= step;
    found += step;
    step = left < 0x10000000u ? 4u : 0u;
    left <<= step;
    found += step;
    step = left < 0x40000000u ? 2u : 0u;
    left <<= step;
    found += step;
    found += left < 0x80000000u ? 1u : 0u;
    return x ? found : 32u;
}

static inline uint32_t bw_ones(uint32_t x) {
    x = x - ((x >> 1) & 0x55555555u);
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return (x * 0x01010101u) >> 24;
}
