// Greets whoever is named in its arguments, and says how many bytes it read on standard input.
// Build: python -m ziglang cc --target=wasm32-wasi -Oz -s -Wl,-z,stack-size=65536 -o hello.wasm hello.c
#include <stdio.h>

int main(int argc, char **argv) {
    long bytes = 0;
    while (getchar() != EOF) bytes++;
    printf("Hello, %s!\n", argc > 1 ? argv[1] : "world");
    if (bytes > 0) printf("You gave me %ld bytes.\n", bytes);
    return 0;
}
