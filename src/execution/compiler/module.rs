//! From bytes to a module that can run, or a clear word why not.

use wasmparser::{Parser, Payload};
use wasmtime::component::Component;
use wasmtime::{Engine, ExternType, Module, UnknownImportError};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::super::engine::MAX_TABLE_ELEMENTS;
use super::super::runner::host;
use super::super::wire::Kind;
use crate::document::{Status, Untrusted};

/// Every WebAssembly binary begins with this; the four bytes after it say what kind it is.
const MAGIC: &[u8] = b"\0asm";
const CORE_VERSION: &[u8] = &[1, 0, 0, 0];
/// Component binaries: version 13, layer 1.
const COMPONENT_VERSION: &[u8] = &[0x0d, 0, 1, 0];
/// Exports; programs of tens of megabytes have some 50,000 functions in all.
const MAX_EXPORTS: u32 = 100_000;
/// Types: 200,000 of them without any code cost 15 CPU seconds and 1.1 GB to compile; programs have hundreds.
const MAX_TYPES: u32 = 20_000;
/// Segments and globals: compilers make a handful.
const MAX_SEGMENTS: u32 = 100_000;
const MAX_IMPORTS: u32 = 10_000;
/// Functions listed when the one asked for is missing; a module can export 100,000.
const MAX_LISTED: usize = 20;
/// Longest name repeated from a module, in characters.
const MAX_NAME: usize = 100;
/// Longest error, in characters: with four bytes each it fits into a receipt's 2,048.
const MAX_ERROR: usize = 500;

/// What is wrong with a module.
pub(super) struct Unfit {
    pub(super) status: Status,
    pub(super) why: String,
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self { status: Status::InvalidModule, why: format!("the module cannot run: {why}") }
    }
}

/// Looks at the first bytes and the counts, compiles, and checks that everything imported exists.
pub(super) fn compile(engine: &Engine, bytes: &[u8], functions: u32) -> Result<(Kind, Vec<u8>), Unfit> {
    let kind = recognise(bytes)?;
    count(bytes, functions)?;
    let code = match kind {
        Kind::Module => {
            let module = Module::from_binary(engine, bytes).map_err(|error| compile_error(bytes, &error))?;
            let linker = host::linker(engine).map_err(|error| shown_error(&format!("{error:#}")))?;
            linker.instantiate_pre(&module).map_err(|error| import_error(&error))?;
            module.serialize()
        }
        Kind::Component => {
            let component =
                Component::from_binary(engine, bytes).map_err(|error| compile_error(bytes, &error))?;
            let linker =
                host::component_linker(engine).map_err(|error| shown_error(&format!("{error:#}")))?;
            let pre = linker.instantiate_pre(&component).map_err(|error| import_error(&error))?;
            CommandPre::new(pre).map_err(|error| {
                format!("it is no command component: {}", shown_error(&format!("{error:#}")))
            })?;
            component.serialize()
        }
    };
    code.map(|code| (kind, code)).map_err(|error| shown_error(&format!("{error:#}")).into())
}

/// The counts that a few bytes can declare and that cost most: they are bounded before anything is compiled.
fn count(bytes: &[u8], most_functions: u32) -> Result<(), Unfit> {
    let mut elements = 0u64;
    // Nested modules of a component each have their own; together they are bounded by the size.
    for payload in Parser::new(0).parse_all(bytes) {
        // What is malformed is named better by the compiler.
        let Ok(payload) = payload else { return Ok(()) };
        let (what, count, most) = match payload {
            Payload::TypeSection(types) => ("types", types.count(), MAX_TYPES),
            Payload::FunctionSection(functions) => ("functions", functions.count(), most_functions),
            Payload::DataSection(segments) => ("data segments", segments.count(), MAX_SEGMENTS),
            Payload::ElementSection(segments) => ("element segments", segments.count(), MAX_SEGMENTS),
            Payload::GlobalSection(globals) => ("globals", globals.count(), MAX_SEGMENTS),
            Payload::ImportSection(imports) => ("imports", imports.count(), MAX_IMPORTS),
            Payload::ExportSection(exports) => ("exports", exports.count(), MAX_EXPORTS),
            Payload::TableSection(tables) => {
                for table in tables.into_iter().flatten() {
                    elements = elements.saturating_add(table.ty.initial);
                }
                if elements > MAX_TABLE_ELEMENTS {
                    // In the words of a runner that refuses a table to grow so far.
                    let why = format!(
                        "tables of {elements} elements were asked for, the limit is {MAX_TABLE_ELEMENTS}"
                    );
                    return Err(Unfit { status: Status::OutOfMemory, why });
                }
                continue;
            }
            _ => continue,
        };
        if count > most {
            return Err(format!("it has {count} {what}, at most {most} are accepted").into());
        }
    }
    Ok(())
}

fn import_error(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<UnknownImportError>() {
        Some(unknown) => format!(
            "it imports {}.{}, which does not exist here; modules may import from wasi_snapshot_preview1",
            shown(unknown.module()),
            shown(unknown.name())
        ),
        None => format!("its imports do not fit: {}", shown_error(&format!("{error:#}"))),
    }
}

fn recognise(bytes: &[u8]) -> Result<Kind, String> {
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
        Some(CORE_VERSION) => Ok(Kind::Module),
        Some(COMPONENT_VERSION) => Ok(Kind::Component),
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
pub(in super::super) fn missing_entry(module: &Module, function: &str) -> String {
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
pub(in super::super) fn shown(name: &str) -> String {
    clean(name, MAX_NAME)
}

/// A message that carries names from a module, likewise.
pub(in super::super) fn shown_error(text: &str) -> String {
    clean(text, MAX_ERROR)
}

fn clean(text: &str, longest: usize) -> String {
    Untrusted::lines(text, longest).as_str().replace('\n', "\u{fffd}")
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
