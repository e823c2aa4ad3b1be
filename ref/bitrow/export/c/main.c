/* The words of a file in hex, one a line, as vector sets have them. */
static uint16_t *words_of(const char *path, size_t count) {
    FILE *file = fopen(path, "r");
    uint16_t *words = malloc((count > 0u ? count : 1u) * sizeof *words);
    size_t found = 0u;
    unsigned word;
    while (file != NULL && words != NULL && found < count && fscanf(file, "%x", &word) == 1) {
        words[found++] = (uint16_t)word;
    }
    if (file == NULL || words == NULL || found < count) {
        fprintf(stderr, "%s: found %lu words, expected %lu\n", path, (unsigned long)found, (unsigned long)count);
        exit(2);
    }
    fclose(file);
    return words;
}

static void print_words(const uint16_t *words, size_t count) {
    for (size_t i = 0u; i < count; i++) {
        printf("%04x\n", words[i]);
    }
}
