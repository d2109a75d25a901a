// Functions to call by name instead of a program to run: `--function add 2 3` gives 5. It needs no WASI at all.
// Build: python -m ziglang cc --target=wasm32-wasi -O2 -s -nostdlib -Wl,--no-entry -Wl,-z,stack-size=65536 -o arith.wasm arith.c
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))

// Sums and products wrap around: in C only unsigned numbers do.
EXPORT(add) int32_t add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

EXPORT(mul) int64_t mul(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }

// Halved before they are added, so that two large numbers have a mean.
EXPORT(mean) double mean(double a, double b) { return a / 2 + b / 2; }
