//! From bytes to a module that can run, or a clear word why not.

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, UnknownImportError};

use super::host::Host;

/// Every WebAssembly binary begins with this; the four bytes after it say what kind it is.
const MAGIC: &[u8] = b"\0asm";
const CORE_VERSION: &[u8] = &[1, 0, 0, 0];
/// Component binaries: version 13, layer 1.
const COMPONENT_VERSION: &[u8] = &[0x0d, 0, 1, 0];
/// Functions listed when the one asked for is missing; a module can export 100,000.
const MAX_LISTED: usize = 20;
/// Longest name repeated from a module, in characters.
const MAX_NAME: usize = 100;
/// Longest error, in characters: with four bytes each it fits into a receipt's 2,048.
const MAX_ERROR: usize = 500;

/// Looks at the first bytes, compiles, and checks that everything imported exists.
pub(super) fn prepare(
    engine: &Engine,
    linker: &Linker<Host>,
    bytes: &[u8],
) -> Result<InstancePre<Host>, String> {
    recognise(bytes)?;
    let module = Module::from_binary(engine, bytes).map_err(|error| compile_error(bytes, &error))?;
    linker.instantiate_pre(&module).map_err(|error| match error.downcast_ref::<UnknownImportError>() {
        Some(unknown) => format!(
            "it imports {}.{}, which does not exist here; modules may import from wasi_snapshot_preview1",
            shown(unknown.module()),
            shown(unknown.name())
        ),
        None => format!("its imports do not fit: {}", shown_error(&format!("{error:#}"))),
    })
}

fn recognise(bytes: &[u8]) -> Result<(), String> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(
            "it is precompiled machine code (.cwasm), which is never run; give the .wasm it was made from"
                .into(),
        );
    }
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(if MAGIC.starts_with(bytes) { truncated(bytes) } else { not_wasm(bytes) });
    };
    match rest.get(..4) {
        None => Err(truncated(bytes)),
        Some(CORE_VERSION) => Ok(()),
        Some(COMPONENT_VERSION) => {
            Err("it is a component; components are not supported yet by this build, give a core module"
                .into())
        }
        Some(other) => Err(format!("it is WebAssembly of an unknown version ({})", hex::encode(other))),
    }
}

fn truncated(bytes: &[u8]) -> String {
    format!("it ends too early, after {} bytes: the file is truncated", bytes.len())
}

fn not_wasm(bytes: &[u8]) -> String {
    let start = bytes.get(..4).unwrap_or(bytes);
    let looks_like = match start {
        b"\x7fELF" => ", a native Linux program",
        b"PK\x03\x04" => ", a zip archive",
        [b'#', b'!', ..] => ", a script",
        [0x1f, 0x8b, ..] => ", gzip data",
        _ if bytes.trim_ascii_start().starts_with(b"(module") => {
            ", WebAssembly text; compile it first (wat2wasm)"
        }
        _ => "",
    };
    format!("it is not WebAssembly: it begins with {}, not 0061736d{looks_like}", hex::encode(start))
}

fn compile_error(bytes: &[u8], error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    if text.contains("unexpected end") || text.contains("unexpected EOF") {
        return format!("{} ({})", truncated(bytes), shown_error(&text));
    }
    format!("it does not compile: {}", shown_error(&text))
}

/// The message for a function that is not there.
pub(super) fn missing_entry(module: &Module, function: &str) -> String {
    let functions: Vec<String> = module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| format!("`{}`", shown(export.name())))
        .collect();
    let name = shown(function);
    if functions.is_empty() {
        return format!("it exports no function `{name}`, and no other either");
    }
    let more = match functions.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let listed: Vec<String> = functions.into_iter().take(MAX_LISTED).collect();
    format!("it exports no function `{name}`; it exports {}{more}", listed.join(", "))
}

/// A name from a module, fit for a message: printable and short.
pub(super) fn shown(name: &str) -> String {
    clean(name, MAX_NAME)
}

/// A message that carries names from a module, likewise.
pub(super) fn shown_error(text: &str) -> String {
    clean(text, MAX_ERROR)
}

fn clean(text: &str, longest: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(longest)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_module_are_short_and_printable_in_messages() {
        assert_eq!(shown("a\x1b[31m\n"), "a\u{fffd}[31m\u{fffd}");
        assert_eq!(shown(&"x".repeat(5000)).chars().count(), MAX_NAME + 1);
        assert!(shown_error(&"\u{10ffff}".repeat(5000)).len() <= 2048);
    }
}
