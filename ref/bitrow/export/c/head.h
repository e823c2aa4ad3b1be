/* How an operation ends. */
enum { BW_OK = 0, BW_NO_MEMORY = 1, BW_BAD_SHAPE = 2, BW_BAD_CONFIG = 3 };

/* Codes from `low` to `high` (F7): in arrays the low 8 bits of each. */
typedef struct {
    int32_t low, high;
} bw_fxp;

/* A two's complement register (M2); `overflow` is BW_ACC_ERROR, BW_ACC_WRAP or BW_ACC_SATURATE. */
typedef struct {
    int32_t bits, overflow;
} bw_accumulator;

/* A named intermediate or result (T1, T2): words of `bits` each, in row-major order of `shape`. Of an operation that
   was asked for some rows, those from `first_row` to before `end_row` are computed, counted over images and rows. */
typedef struct {
    const char *layer, *name;
    const void *words;
    int32_t bits, rank;
    int64_t shape[BW_MOST_AXES];
    int64_t first_row, end_row;
} bw_tap;

/* What is called with every tap, in the order of the program's lines; `layer` stands in each as it is given here. */
typedef struct {
    void (*call)(void *user, const bw_tap *tap);
    void *user;
    const char *layer;
} bw_taps;

/* The state after `steps` steps (Q3); the state after i+1 steps is the word of element i. */
uint16_t bw_lfsr_jump(uint16_t state, uint64_t steps);
/* Words of `count` elements from number `start` (Q3). */
void bw_lfsr_words(uint16_t seed, uint64_t start, size_t count, uint16_t *words);
/* The code of an FP16 word, and whether its gradient passes (Q1, Q2, Q4). */
int32_t bw_quantize(uint16_t t, int32_t low, int32_t high);
uint8_t bw_inside(uint16_t t, int32_t low, int32_t high);
/* The code of an FP16 word and a word of the LFSR (Q3). */
int32_t bw_quantize_drawn(uint16_t t, uint16_t word, int32_t low, int32_t high);
/* An accumulator times a scale, rounded once (D1) or twice (D2). */
uint16_t bw_dequantize(bw_mode mode, int32_t acc, uint16_t scale);
uint16_t bw_dequantize_two_step(bw_mode mode, int32_t acc, uint16_t scale);
/* acc + x * weight in a register of `bits`, wrapped to it or clamped (M1, M2). */
int32_t bw_mac_wrap(int32_t acc, int32_t x, int32_t weight, int32_t bits);
int32_t bw_mac_saturate(int32_t acc, int32_t x, int32_t weight, int32_t bits);
/* A row of codes in memory, two to a byte where they fit four bits, and back (Q5). */
size_t bw_packed_size(bw_fxp format, size_t count);
void bw_pack(bw_fxp format, size_t count, const uint8_t *codes, uint8_t *bytes);
void bw_unpack(bw_fxp format, size_t count, const uint8_t *bytes, uint8_t *codes);
/* Some channels of each element of a map, from channel `first` of `all`: what A7 hands back. */
void bw_channels(const uint16_t *map, int64_t elements, int64_t all, int64_t first, int64_t channels, uint16_t *out);
