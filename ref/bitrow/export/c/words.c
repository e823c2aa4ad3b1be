/* Single words and rows of them. */

int32_t bw_quantize(uint16_t t, int32_t low, int32_t high) {
    int32_t code;
    bool mask;
    bw_word_nearest_code(t, low, high, &code, &mask);
    return code;
}

uint8_t bw_inside(uint16_t t, int32_t low, int32_t high) {
    int32_t code;
    bool mask;
    bw_word_nearest_code(t, low, high, &code, &mask);
    return mask ? 1u : 0u;
}

int32_t bw_quantize_drawn(uint16_t t, uint16_t word, int32_t low, int32_t high) {
    return bw_word_drawn_code(t, word, low, high);
}

uint16_t bw_dequantize(bw_mode mode, int32_t acc, uint16_t scale) {
    return (uint16_t)bw_word_fp16_mul_int32(mode, acc, scale);
}

uint16_t bw_dequantize_two_step(bw_mode mode, int32_t acc, uint16_t scale) {
    return (uint16_t)bw_word_fp16_mul(mode, bw_word_fp16_from_int32(mode, acc), scale);
}

static inline int32_t bw_wrapped(uint32_t value, int32_t bits) {
    const uint32_t unused = 32u - (uint32_t)bits;
    return bw_shift_arithmetic((int32_t)(value << unused), unused);
}

static inline int32_t bw_low(int32_t bits) {
    return bits >= 32 ? INT32_MIN : -((int32_t)1 << (bits - 1));
}

static inline int32_t bw_high(int32_t bits) {
    return bits >= 32 ? INT32_MAX : ((int32_t)1 << (bits - 1)) - 1;
}

static inline int32_t bw_product(int32_t x, int32_t weight) {
    return (int32_t)((uint32_t)x * (uint32_t)weight);
}

int32_t bw_mac_wrap(int32_t acc, int32_t x, int32_t weight, int32_t bits) {
    return bw_wrapped((uint32_t)acc + (uint32_t)bw_product(x, weight), bits);
}

int32_t bw_mac_saturate(int32_t acc, int32_t x, int32_t weight, int32_t bits) {
    return bw_word_saturating_add(acc, bw_product(x, weight), bw_low(bits), bw_high(bits));
}

/* 1 / count, rounded once to nearest even (B2, A3). */
static inline uint32_t bw_reciprocal(int32_t width, int64_t count) {
    const uint64_t n = (uint64_t)(count > 0 ? count : 1), whole = (UINT64_C(1) << 62) / n;
    const uint64_t rest = (UINT64_C(1) << 62) % n;
    uint64_t kept = whole, lost = rest;
    int32_t exponent = 30 - 62;
    while (kept >= (UINT64_C(1) << 31)) { /* its leading one to bit 30 */
        lost |= kept & 1u;
        kept >>= 1;
        exponent++;
    }
    kept |= lost ? 1u : 0u;
    return width == 16 ? bw_word_fp16_round(exponent, (uint32_t)kept) : bw_word_fp32_round(exponent, (uint32_t)kept);
}

static inline uint16_t bw_lfsr_applied(const uint16_t images[16], uint16_t state) {
    uint32_t found = 0u;
    for (uint32_t bit = 0; bit < 16u; bit++) {
        found ^= ((uint32_t)state >> bit) & 1u ? images[bit] : 0u;
    }
    return (uint16_t)found;
}

uint16_t bw_lfsr_jump(uint16_t state, uint64_t steps) {
    const uint32_t left = (uint32_t)(steps % 65535u);
    for (uint32_t power = 0; power < 16u; power++) {
        state = (left >> power) & 1u ? bw_lfsr_applied(bw_lfsr_powers[power], state) : state;
    }
    return state;
}

void bw_lfsr_words(uint16_t seed, uint64_t start, size_t count, uint16_t *words) {
    uint16_t state = bw_lfsr_jump(seed, start);
    for (size_t i = 0; i < count; i++) {
        state = (uint16_t)bw_word_lfsr_step(state);
        words[i] = state;
    }
}

static inline int32_t bw_code(bw_fxp format, uint8_t byte) {
    return format.low < 0 && byte > 127u ? (int32_t)byte - 256 : (int32_t)byte;
}

static inline bool bw_in_nibbles(bw_fxp format) {
    return format.high - format.low < 16;
}

size_t bw_packed_size(bw_fxp format, size_t count) {
    return bw_in_nibbles(format) ? count / 2u + count % 2u : count;
}

void bw_pack(bw_fxp format, size_t count, const uint8_t *codes, uint8_t *bytes) {
    if (!bw_in_nibbles(format)) {
        memcpy(bytes, codes, count);
        return;
    }
    for (size_t i = 0; i < count; i += 2u) {
        const uint32_t high = i + 1u < count ? codes[i + 1u] & 15u : 0u;
        bytes[i / 2u] = (uint8_t)((codes[i] & 15u) | (high << 4));
    }
}

void bw_unpack(bw_fxp format, size_t count, const uint8_t *bytes, uint8_t *codes) {
    if (!bw_in_nibbles(format)) {
        memcpy(codes, bytes, count);
        return;
    }
    uint32_t bits = 2u;
    while (((uint32_t)1 << bits) <= (uint32_t)(format.high - format.low)) {
        bits++;
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t field = ((uint32_t)bytes[i / 2u] >> (i % 2u ? 4u : 0u)) & (((uint32_t)1 << bits) - 1u);
        codes[i] = (uint8_t)(format.low < 0 && field >> (bits - 1u) ? field | (0xffu << bits) : field);
    }
}

/* A10: |x| below 8 in units of 2^-24. */
static inline uint32_t bw_fixed(uint32_t magnitude) {
    const uint32_t field = magnitude >> 10, hidden = field > 0u ? 1u : 0u;
    return ((magnitude & 0x3ffu) | (hidden << 10)) << (field - hidden);
}

/* The table's word at the lower end of the segment that holds |x|; 1 from 8 on, NaN for NaN. */
static inline uint32_t bw_table_base(uint32_t x, int32_t bits) {
    const uint32_t magnitude = x & 0x7fffu;
    if (magnitude >= 0x4800u) {
        return magnitude > 0x7c00u ? 0x7e00u : 0x3c00u;
    }
    return bw_sigmoid[(bw_fixed(magnitude) >> (27 - bits)) << (BW_TABLE_BITS - bits)];
}

/* The next word less that one, exact. */
static inline uint32_t bw_table_rise(uint32_t x, int32_t bits) {
    const uint32_t magnitude = x & 0x7fffu;
    if (magnitude >= 0x4800u) {
        return 0u;
    }
    const uint32_t at = bw_fixed(magnitude) >> (27 - bits);
    return bw_word_fp16_sub(BW_NEAREST_EVEN, bw_sigmoid[(at + 1u) << (BW_TABLE_BITS - bits)],
                            bw_sigmoid[at << (BW_TABLE_BITS - bits)]);
}

/* How far |x| lies in its segment, exact. */
static inline uint32_t bw_table_part(uint32_t x, int32_t bits) {
    const uint32_t magnitude = x & 0x7fffu;
    if (magnitude >= 0x4800u) {
        return 0u;
    }
    const uint32_t rest = bw_fixed(magnitude) & ((1u << (27 - bits)) - 1u);
    const int32_t zeros = (int32_t)bw_leading_zeros(rest);
    return rest == 0u ? 0u : bw_word_fp16_round(4 - zeros + bits, rest << (zeros - 1));
}

/* sigmoid(x), and 1 less it, of sigmoid(|x|). */
static inline uint32_t bw_rising(uint32_t upper, uint32_t x) {
    const uint32_t other = bw_word_fp16_sub(BW_NEAREST_EVEN, 0x3c00u, upper);
    return (x & 0x8000u) != 0u && upper <= 0x7c00u ? other : upper;
}

static inline uint32_t bw_falling(uint32_t upper, uint32_t x) {
    const uint32_t other = bw_word_fp16_sub(BW_NEAREST_EVEN, 0x3c00u, upper);
    return (x & 0x8000u) != 0u || upper > 0x7c00u ? upper : other;
}
