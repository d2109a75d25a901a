//! Bytes that are no module, or only look like one: refused with a word of what they are, and never run.

use super::corpus::Entry;
use super::guest::{command, wat};
use crate::support::HELLO;

const TRUNCATED: &str = "truncated";

fn with_tail(tail: &[u8]) -> Vec<u8> {
    [HELLO, tail].concat()
}

/// Machine code as wasmtime writes it, from an engine with its own defaults.
fn precompiled() -> Vec<u8> {
    // No collector is built in.
    let engine = wasmtime::Engine::new(wasmtime::Config::new().gc_support(false)).unwrap();
    engine.precompile_module(&wat(r#"(module (func (export "_start")))"#)).unwrap()
}

/// The same with nonsense in it, from which some call it machine code and others any program.
fn precompiled_and_bent() -> Vec<u8> {
    let mut bytes = precompiled();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xcc);
    bytes
}

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::refused("empty", Vec::new, "it is empty"),
        Entry::refused("a megabyte of zeroes", || vec![0; 1 << 20], "it is not WebAssembly"),
        Entry::refused(
            "a text",
            || b"<html>\x1b[2J not a module".to_vec(),
            "it is not WebAssembly: it begins with 3c68746d",
        ),
        Entry::refused("WebAssembly text", || b"(module)".to_vec(), "WebAssembly text"),
        Entry::refused(
            "a native program",
            || std::fs::read("/proc/self/exe").unwrap()[..4096].to_vec(),
            "a native Linux",
        ),
        Entry::refused("a .cwasm", precompiled, "precompiled machine code"),
        Entry::refused("a damaged .cwasm", precompiled_and_bent, "the module cannot run: it is "),
        Entry::refused("cut in the magic", || HELLO[..3].to_vec(), TRUNCATED),
        Entry::refused("cut in the version", || HELLO[..6].to_vec(), TRUNCATED),
        Entry::refused("cut after the version", || HELLO[..8].to_vec(), "exports no function `_start`"),
        Entry::refused("cut after 20 bytes", || HELLO[..20].to_vec(), TRUNCATED),
        Entry::refused("cut in the middle", || HELLO[..HELLO.len() / 2].to_vec(), TRUNCATED),
        Entry::refused(
            "cut before the last byte",
            || {
                let whole = command("");
                whole[..whole.len() - 1].to_vec()
            },
            TRUNCATED,
        ),
        Entry::refused("trailing garbage", || with_tail(b"\xff\xff\xff\xff\xff\xff"), "it does not compile"),
        Entry::refused("a second module behind it", || with_tail(HELLO), "it does not compile"),
        Entry::refused("version 2", || b"\0asm\x02\0\0\0".to_vec(), "an unknown version (02000000)"),
        Entry::refused("a component of garbage", || b"\0asm\x0d\0\x01\0\xff\xfe\xfd".to_vec(), ""),
        Entry::refused(
            "a component in a module's clothes",
            || {
                let mut component = wat("(component (core module))");
                component[4..8].copy_from_slice(&[1, 0, 0, 0]);
                component
            },
            "it does not compile",
        ),
        Entry::refused(
            "sections out of order",
            || b"\0asm\x01\0\0\0\x03\x02\x01\0\x01\x04\x01\x60\0\0".to_vec(),
            "it does not compile",
        ),
        Entry::refused(
            "a section longer than the file",
            || b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec(),
            TRUNCATED,
        ),
        Entry::refused(
            "a type that leaves nothing on the stack",
            || {
                // (func (result i32)) without a body's value.
                b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b".to_vec()
            },
            "it does not compile",
        ),
        Entry::refused(
            "a call of a function that is not there",
            || b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x06\x01\x04\0\x10\x07\x0b".to_vec(),
            "it does not compile",
        ),
    ]
}
