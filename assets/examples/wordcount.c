// Counts lines, words and bytes of standard input, and a checksum over many rounds so that there is something to watch.
// Build: python -m ziglang cc --target=wasm32-wasi -O2 -s -Wl,-z,stack-size=65536 -o wordcount.wasm wordcount.c
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    long lines = 0, words = 0, bytes = 0;
    int c, in_word = 0;
    uint32_t sum = 1;
    while ((c = getchar()) != EOF) {
        bytes++;
        lines += c == '\n';
        int space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        words += !space && !in_word;
        in_word = !space;
        sum = sum * 31 + (uint32_t)c;
    }
    long rounds = argc > 1 ? atol(argv[1]) : 1000;
    for (long i = 0; i < rounds; i++) sum = (sum ^ (sum >> 13)) * 0x9e3779b1u + (uint32_t)i;
    printf("{\"lines\":%ld,\"words\":%ld,\"bytes\":%ld,\"checksum\":\"%08x\"}\n", lines, words, bytes, sum);
    return 0;
}
