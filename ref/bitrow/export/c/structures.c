/* The functions of the contract that are no line of single words: one for each, on whole arrays. */

#ifndef BW_CALLOC /* a firmware may have its own */
#define BW_CALLOC calloc
#define BW_FREE free
#endif

/* One call of an operation: what it reports to, what it holds. */
typedef struct {
    const bw_taps *taps;
    bw_mode mode;
    int32_t status, held;
    int64_t first_row, end_row;
    void *memory[BW_MOST_HELD];
} bw_call;

/* `count` words of `bytes` each, zeros, released when the call ends; NULL and a status where there is no memory. */
static void *bw_take(bw_call *call, int64_t count, size_t bytes) {
    void *found = NULL;
    if (call->status == BW_OK && call->held < BW_MOST_HELD && (uint64_t)count < SIZE_MAX / 8u) {
        found = BW_CALLOC(count > 0 ? (size_t)count : 1u, bytes);
    }
    if (found == NULL) {
        call->status = call->status == BW_OK ? BW_NO_MEMORY : call->status;
    } else {
        call->memory[call->held++] = found;
    }
    return found;
}

static int32_t bw_end(bw_call *call) {
    while (call->held > 0) {
        BW_FREE(call->memory[--call->held]);
    }
    return call->status;
}

static void bw_report(const bw_call *call, const char *name, const void *words, int32_t bits, int32_t rank,
                      const int64_t *shape) {
    if (call->taps == NULL || call->taps->call == NULL || words == NULL) {
        return;
    }
    bw_tap tap = {call->taps->layer, name, words, bits, rank, {0}, call->first_row, call->end_row};
    for (int32_t i = 0; i < rank; i++) {
        tap.shape[i] = shape[i];
    }
    call->taps->call(call->taps->user, &tap);
}

static void bw_report_numbered(const bw_call *call, const char *name, int64_t number, const void *words, int32_t bits,
                               int32_t rank, const int64_t *shape) {
    char whole[80];
    snprintf(whole, sizeof whole, "%s%ld", name, (long)number);
    bw_report(call, whole, words, bits, rank, shape);
}

static inline uint32_t bw_get(const void *words, int32_t bits, int64_t at) {
    return bits == 16 ? ((const uint16_t *)words)[at] : ((const uint32_t *)words)[at];
}

static inline void bw_put(void *words, int32_t bits, int64_t at, uint32_t value) {
    if (bits == 16) {
        ((uint16_t *)words)[at] = (uint16_t)value;
    } else {
        ((uint32_t *)words)[at] = value;
    }
}

static inline uint32_t bw_sum(bw_mode mode, int32_t bits, uint32_t a, uint32_t b) {
    return bits == 16 ? bw_word_fp16_add(mode, a, b) : bw_word_fp32_add(a, b);
}

/* B2's pairwise tree over the middle axis of [outer, size, inner]; its root, [outer, inner]. Each level is reported with
   `shape`, whose `axis` is the middle one. */
static const void *bw_tree(bw_call *call, const char *name, int32_t bits, const void *leaves, int64_t outer, int64_t size,
                           int64_t inner, int32_t rank, int64_t *shape, int32_t axis) {
    const void *level = leaves;
    for (int64_t number = 1; size > 1; number++) {
        const int64_t half = (size + 1) / 2;
        /* Every level is a power of two wide: pads below it are sums of +0 and +0. */
        int64_t width = 1;
        while (width < half) {
            width *= 2;
        }
        void *next = bw_take(call, outer * width * inner, (size_t)bits / 8u);
        if (next == NULL) {
            return NULL;
        }
        for (int64_t o = 0; o < outer; o++) {
            for (int64_t i = 0; i < half; i++) {
                for (int64_t k = 0; k < inner; k++) {
                    const uint32_t a = bw_get(level, bits, (o * size + 2 * i) * inner + k);
                    const uint32_t b = 2 * i + 1 < size ? bw_get(level, bits, (o * size + 2 * i + 1) * inner + k) : 0u;
                    bw_put(next, bits, (o * width + i) * inner + k, bw_sum(call->mode, bits, a, b));
                }
            }
        }
        shape[axis] = width;
        bw_report_numbered(call, name, number, next, bits, rank, shape);
        level = next;
        size = width;
    }
    return level;
}

/* A window along one axis. */
typedef struct {
    int64_t kernel, stride, before, after, dilation;
} bw_window;

/* Windows of a map: from its rows and columns to the result's, or `back`, for a gradient or a transposed convolution,
   the other way round. `gradient`: weights' outputs are the source. */
typedef struct {
    bool back, gradient;
    bw_window down, across;
    int64_t source_h, source_w, source_c, target_h, target_w, target_c, groups;
} bw_plan;

static bw_window bw_along(const int32_t kernel[2], const int32_t stride[2], const int32_t padding[4],
                          const int32_t dilation[2], int32_t axis) {
    const bw_window found = {kernel[axis], stride[axis], padding[2 * axis], padding[2 * axis + 1], dilation[axis]};
    return found;
}

static int64_t bw_results(bw_window window, int64_t size) {
    const int64_t room = size + window.before + window.after - (window.kernel - 1) * window.dilation - 1;
    return room < 0 || window.stride < 1 ? 0 : room / window.stride + 1;
}

/* The product of sizes, -1 where one is negative or it is out of all proportion. */
static int64_t bw_extent(int32_t rank, const int64_t *sizes) {
    int64_t found = 1;
    for (int32_t i = 0; i < rank; i++) {
        if (sizes[i] < 0 || sizes[i] > INT32_MAX || (sizes[i] > 0 && found > (INT64_C(1) << 40) / sizes[i])) {
            return -1;
        }
        found *= sizes[i];
    }
    return found;
}

/* M2's worst case: the largest magnitude of a sum of so many products of two formats. */
static int64_t bw_bound(int64_t kh, int64_t kw, int64_t channels, bw_fxp x, bw_fxp weight) {
    const int64_t most_x = x.high > -x.low ? x.high : -x.low;
    const int64_t most_weight = weight.high > -weight.low ? weight.high : -weight.low;
    return kh * kw * channels * most_x * most_weight;
}

/* Where place i of the target reads under place k of the window in reduction order, -1 where there is nothing. */
static int64_t bw_source(bool back, bw_window window, int64_t size, int64_t i, int64_t k) {
    if (!back) {
        const int64_t at = i * window.stride - window.before + k * window.dilation;
        return at >= 0 && at < size ? at : -1;
    }
    const int64_t at = i + window.before - (window.kernel - 1 - k) * window.dilation;
    return at >= 0 && at % window.stride == 0 && at / window.stride < size ? at / window.stride : -1;
}

/* Windows of `kernel`, the whole map where that is 0, as far apart as they are large where the stride is. */
static bw_plan bw_planned(bool back, bool gradient, const int32_t kernel[2], const int32_t stride[2], const int32_t padding[4],
                          const int32_t dilation[2], int64_t source_h, int64_t source_w, int64_t source_c,
                          int64_t target_h, int64_t target_w, int64_t target_c, int64_t groups) {
    bw_plan plan = {back, gradient, bw_along(kernel, stride, padding, dilation, 0), bw_along(kernel, stride, padding, dilation, 1),
                    source_h, source_w, source_c, target_h, target_w, target_c, groups};
    plan.down.kernel = kernel[0] > 0 ? kernel[0] : back ? target_h : source_h;
    plan.across.kernel = kernel[1] > 0 ? kernel[1] : back ? target_w : source_w;
    plan.down.stride = stride[0] > 0 ? stride[0] : plan.down.kernel;
    plan.across.stride = stride[1] > 0 ? stride[1] : plan.across.kernel;
    return plan;
}

/* Whether the sizes are those that windows of the map have. */
static bool bw_fits(const bw_plan *plan) {
    const int64_t h = plan->back ? plan->target_h : plan->source_h, w = plan->back ? plan->target_w : plan->source_w;
    const int64_t oh = plan->back ? plan->source_h : plan->target_h, ow = plan->back ? plan->source_w : plan->target_w;
    return plan->down.kernel > 0 && plan->across.kernel > 0 && plan->down.stride > 0 && plan->across.stride > 0 &&
           plan->down.dilation > 0 && plan->across.dilation > 0 && plan->groups > 0 &&
           plan->source_c % plan->groups == 0 && plan->target_c % plan->groups == 0 && oh > 0 && ow > 0 &&
           bw_results(plan->down, h) == oh && bw_results(plan->across, w) == ow;
}

static bool bw_spans_axis(bw_window along, int64_t results, int32_t more, int64_t size) {
    const int64_t extent = (along.kernel - 1) * along.dilation + 1;
    return size == (results - 1) * along.stride + extent - along.before - along.after + more;
}

/* Whether the map of a transposed convolution's windows, its result, is as large as output padding makes it. */
static bool bw_spans(const bw_plan *plan, const int32_t more[2]) {
    const int64_t h = plan->back ? plan->target_h : plan->source_h, w = plan->back ? plan->target_w : plan->source_w;
    const int64_t oh = plan->back ? plan->source_h : plan->target_h, ow = plan->back ? plan->source_w : plan->target_w;
    return bw_spans_axis(plan->down, oh, more[0], h) && bw_spans_axis(plan->across, ow, more[1], w);
}

/* Products that one sum has: every place of the window, every channel of the group. */
static int64_t bw_terms(const bw_plan *plan) {
    return plan->down.kernel * plan->across.kernel * (plan->source_c / plan->groups);
}

/* The weight of a target channel for a source channel of its group, at a place of the window in reduction order. */
static inline int32_t bw_weight(const bw_plan *plan, bw_fxp format, const uint8_t *weight, int64_t kh, int64_t kw,
                                int64_t source, int64_t target) {
    const int64_t sources = plan->source_c / plan->groups, targets = plan->target_c / plan->groups;
    const int64_t group = target / targets;
    const int64_t row = plan->back ? plan->down.kernel - 1 - kh : kh;
    const int64_t column = plan->back ? plan->across.kernel - 1 - kw : kw;
    const int64_t ins = plan->gradient ? targets : sources, outs = plan->gradient ? plan->source_c : plan->target_c;
    const int64_t in = plan->gradient ? target % targets : source;
    const int64_t out = plan->gradient ? group * sources + source : target;
    return bw_code(format, weight[((row * plan->across.kernel + column) * ins + in) * outs + out]);
}

/* Weights as [kh, kw, source of the group, target], in reduction order. */
static const int16_t *bw_prepared(bw_call *call, const bw_plan *plan, bw_fxp format, const uint8_t *weight) {
    const int64_t sources = plan->source_c / plan->groups;
    int16_t *found = bw_take(call, bw_terms(plan) * plan->target_c, sizeof *found);
    int64_t at = 0;
    for (int64_t kh = 0; found != NULL && kh < plan->down.kernel; kh++) {
        for (int64_t kw = 0; kw < plan->across.kernel; kw++) {
            for (int64_t source = 0; source < sources; source++) {
                for (int64_t target = 0; target < plan->target_c; target++) {
                    found[at++] = (int16_t)bw_weight(plan, format, weight, kh, kw, source, target);
                }
            }
        }
    }
    return found;
}

/* M1: sums of products of one place, modulo 2^32, in the order in which they cost least. */
static void bw_place_sums(const bw_plan *plan, bw_fxp format, const uint8_t *image, const int16_t *weight, int64_t h,
                          int64_t w, uint32_t *sums) {
    const int64_t sources = plan->source_c / plan->groups, targets = plan->target_c / plan->groups;
    memset(sums, 0, (size_t)plan->target_c * sizeof *sums);
    for (int64_t kh = 0; kh < plan->down.kernel; kh++) {
        const int64_t row = bw_source(plan->back, plan->down, plan->source_h, h, kh);
        for (int64_t kw = 0; row >= 0 && kw < plan->across.kernel; kw++) {
            const int64_t column = bw_source(plan->back, plan->across, plan->source_w, w, kw);
            if (column < 0) {
                continue;
            }
            const uint8_t *codes = image + (row * plan->source_w + column) * plan->source_c;
            const int16_t *here = weight + (kh * plan->across.kernel + kw) * sources * plan->target_c;
            for (int64_t group = 0; group < plan->groups; group++) {
                for (int64_t source = 0; source < sources; source++) {
                    const int32_t code = bw_code(format, codes[group * sources + source]);
                    const int16_t *factors = here + source * plan->target_c + group * targets;
                    uint32_t *to = sums + group * targets;
                    for (int64_t target = 0; target < targets; target++) {
                        to[target] += (uint32_t)(code * factors[target]);
                    }
                }
            }
        }
    }
}

/* M1, M2: the sums of rows `first` to before `end` of the target, exact or wrapped to the register. */
static void bw_macs(bw_call *call, const bw_plan *plan, bw_fxp format, const uint8_t *codes, bw_fxp weights,
                    const uint8_t *weight, bw_accumulator to, int64_t first, int64_t end, int32_t *acc) {
    const int16_t *prepared = bw_prepared(call, plan, weights, weight);
    uint32_t *sums = bw_take(call, plan->target_c, sizeof *sums);
    const int64_t image = plan->source_h * plan->source_w * plan->source_c;
    for (int64_t row = first; call->status == BW_OK && row < end; row++) {
        for (int64_t w = 0; w < plan->target_w; w++) {
            const uint8_t *of = codes + row / plan->target_h * image;
            bw_place_sums(plan, format, of, prepared, row % plan->target_h, w, sums);
            int32_t *out = acc + (row * plan->target_w + w) * plan->target_c;
            for (int64_t target = 0; target < plan->target_c; target++) {
                out[target] = bw_wrapped(sums[target], to.overflow == BW_ACC_WRAP ? to.bits : 32);
            }
        }
    }
}

/* The word that target channel `target` reads as term `k` of its sum, -1 where there is nothing. */
static int64_t bw_term(const bw_plan *plan, int64_t row, int64_t w, int64_t target, int64_t k) {
    const int64_t sources = plan->source_c / plan->groups, targets = plan->target_c / plan->groups;
    const int64_t kh = k / sources / plan->across.kernel, kw = k / sources % plan->across.kernel;
    const int64_t h = bw_source(plan->back, plan->down, plan->source_h, row % plan->target_h, kh);
    const int64_t column = bw_source(plan->back, plan->across, plan->source_w, w, kw);
    if (h < 0 || column < 0) {
        return -1;
    }
    const int64_t at = (row / plan->target_h * plan->source_h + h) * plan->source_w + column;
    return at * plan->source_c + target / targets * sources + k % sources;
}

/* M2 `saturate`: the register after each product, [kept, rows, w, c]; only the last where `kept` is 1. */
static void bw_clamped_macs(bw_call *call, const bw_plan *plan, bw_fxp format, const uint8_t *codes, bw_fxp weights,
                            const uint8_t *weight, bw_accumulator to, int64_t rows, int64_t first, int64_t end,
                            int64_t kept, int32_t *running) {
    const int16_t *prepared = bw_prepared(call, plan, weights, weight);
    const int64_t terms = bw_terms(plan), stride = rows * plan->target_w * plan->target_c;
    for (int64_t row = first; call->status == BW_OK && row < end; row++) {
        for (int64_t w = 0; w < plan->target_w; w++) {
            for (int64_t target = 0; target < plan->target_c; target++) {
                int32_t *out = running + (row * plan->target_w + w) * plan->target_c + target;
                int32_t acc = 0;
                for (int64_t k = 0; k < terms; k++) {
                    const int64_t at = bw_term(plan, row, w, target, k);
                    const int32_t code = at < 0 ? 0 : bw_code(format, codes[at]);
                    acc = bw_mac_saturate(acc, code, prepared[k * plan->target_c + target], to.bits);
                    out[(kept > 1 ? k : 0) * stride] = acc;
                }
            }
        }
    }
}

/* C3: the FP32 sum of FP16 words times codes after each term, from +0; where there is nothing to read it stays. */
static void bw_float_macs(bw_call *call, const bw_plan *plan, const uint16_t *words, bw_fxp weights,
                          const uint8_t *weight, int64_t rows, int64_t first, int64_t end, int64_t kept,
                          uint32_t *running) {
    const int16_t *prepared = bw_prepared(call, plan, weights, weight);
    const int64_t terms = bw_terms(plan), stride = rows * plan->target_w * plan->target_c;
    for (int64_t row = first; call->status == BW_OK && row < end; row++) {
        for (int64_t w = 0; w < plan->target_w; w++) {
            for (int64_t target = 0; target < plan->target_c; target++) {
                uint32_t *out = running + (row * plan->target_w + w) * plan->target_c + target;
                uint32_t sum = 0u;
                for (int64_t k = 0; k < terms; k++) {
                    const int64_t at = bw_term(plan, row, w, target, k);
                    if (at >= 0) {
                        const uint32_t code = bw_word_fp32_from_int32(prepared[k * plan->target_c + target]);
                        const uint32_t wide = bw_word_fp16_to_fp32(call->mode, words[at]);
                        sum = bw_word_fp32_add(sum, bw_word_fp32_mul(wide, code));
                    }
                    out[(kept > 1 ? k : 0) * stride] = sum;
                }
            }
        }
    }
}

/* A3: positions of window i that count, of a map of `size`. */
static int64_t bw_counted(bw_window window, int64_t size, int64_t i, bool padding) {
    int64_t found = 0;
    for (int64_t k = 0; k < window.kernel; k++) {
        found += padding || bw_source(false, window, size, i, k) >= 0 ? 1 : 0;
    }
    return found;
}

/* A2: the first maximum of each window, or its place in it, kh * KW + kw; either may be left out. */
static void bw_maximum(const bw_plan *plan, const uint16_t *x, int64_t first, int64_t end, uint16_t *y,
                       uint8_t *index) {
    const int64_t places = plan->down.kernel * plan->across.kernel;
    for (int64_t row = first; row < end; row++) {
        for (int64_t at = 0; at < plan->target_w * plan->target_c; at++) {
            int64_t winner = -1, won = 0;
            int32_t most = 0;
            for (int64_t k = 0; k < places; k++) {
                const int64_t from = bw_term(plan, row, at / plan->target_c, at % plan->target_c, k);
                const int32_t order = from < 0 ? 0 : bw_word_order(x[from]);
                if (from >= 0 && (winner < 0 || order > most)) {
                    winner = k;
                    won = from;
                    most = order;
                }
            }
            if (y != NULL) {
                y[row * plan->target_w * plan->target_c + at] = (uint16_t)bw_word_canonical(x[won]);
            }
            if (index != NULL) {
                index[row * plan->target_w * plan->target_c + at] = (uint8_t)(winner < 0 ? 0 : winner);
            }
        }
    }
}

/* A2, A3: to each input the gradients of its windows, in row-major order, the first as it is; with an index, of those
   only in which it has won. */
static void bw_gathered(const bw_call *call, const bw_plan *plan, const uint16_t *dy, const uint8_t *index,
                        int64_t first, int64_t end, uint16_t *dx) {
    const int64_t places = plan->down.kernel * plan->across.kernel;
    for (int64_t row = first; row < end; row++) {
        for (int64_t at = 0; at < plan->target_w * plan->target_c; at++) {
            uint32_t sum = 0u;
            bool any = false;
            for (int64_t k = 0; k < places; k++) {
                const int64_t from = bw_term(plan, row, at / plan->target_c, at % plan->target_c, k);
                if (from >= 0 && (index == NULL || index[from] == places - 1 - k)) {
                    sum = any ? bw_word_fp16_add(call->mode, sum, dy[from]) : bw_word_canonical(dy[from]);
                    any = true;
                }
            }
            dx[row * plan->target_w * plan->target_c + at] = (uint16_t)sum;
        }
    }
}

/* A3: the words of each window, [rows, kh, ow, kw, c], +0 outside the map. */
static void bw_windows(const bw_plan *plan, const uint32_t *x, int64_t first, int64_t end, uint32_t *out) {
    const int64_t kernel_h = plan->down.kernel, kernel_w = plan->across.kernel, channels = plan->target_c;
    for (int64_t row = first; row < end; row++) {
        for (int64_t kh = 0; kh < kernel_h; kh++) {
            for (int64_t w = 0; w < plan->target_w; w++) {
                for (int64_t kw = 0; kw < kernel_w; kw++) {
                    for (int64_t c = 0; c < channels; c++) {
                        const int64_t from = bw_term(plan, row, w, c, kh * kernel_w + kw);
                        const int64_t to = ((row * kernel_h + kh) * plan->target_w + w) * kernel_w + kw;
                        out[to * channels + c] = from < 0 ? 0u : x[from];
                    }
                }
            }
        }
    }
}

void bw_channels(const uint16_t *map, int64_t elements, int64_t all, int64_t first, int64_t channels, uint16_t *out) {
    for (int64_t at = 0; at < elements; at++) {
        for (int64_t c = 0; c < channels; c++) {
            out[at * channels + c] = map[at * all + first + c];
        }
    }
}
