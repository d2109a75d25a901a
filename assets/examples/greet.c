// Greets everyone named in its arguments, then repeats standard input with its lines numbered. With nobody to greet it
// says so on standard error and ends with exit code 1. It is delivered as a WASI 0.2 component: README.md has the steps.
// Build: python -m ziglang cc --target=wasm32-wasi -Oz -s -Wl,-z,stack-size=65536 -o greet.core.wasm greet.c
//        componentize greet.core.wasm greet.wasm
#include <stdio.h>

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("greet: nobody to greet; give one or more names\n", stderr);
        return 1;
    }
    for (int i = 1; i < argc; i++) printf("Hello, %s!\n", argv[i]);
    int c, last = '\n';
    for (long line = 1; (c = getchar()) != EOF; last = c) {
        if (last == '\n') printf("%ld: ", line++);
        putchar(c);
    }
    if (last != '\n') putchar('\n');
    return fflush(stdout) == 0 ? 0 : 1;
}
