static void *bw_hold(void **held, int32_t place, int32_t *status, size_t count, size_t bytes) {
    held[place] = *status == BW_OK && count < SIZE_MAX / 8u ? calloc(count > 0u ? count : 1u, bytes) : NULL;
    *status = *status == BW_OK && held[place] == NULL ? BW_NO_MEMORY : *status;
    return held[place];
}

/* The same taps under the name of a layer and a direction. */
static const bw_taps *bw_named(bw_taps *named, const bw_taps *taps, const char *layer) {
    if (taps == NULL) {
        return NULL;
    }
    *named = *taps;
    named->layer = layer;
    return named;
}
