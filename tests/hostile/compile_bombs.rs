//! Modules that are small to send and dear to compile. Compiling is outside the engine's promise of safety, so each
//! must either compile within the jail's limits or be refused for them: the jail decides, never the node's health.

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, Instruction, MemArg, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};
use zerostate::document::Status::{InvalidModule, Ok};

use super::corpus::Entry;

const REFUSED: &str = "the module cannot run: ";

/// A module of these functions, the first of them `_start`, with ten pages of memory.
fn module_of(functions: impl IntoIterator<Item = Function>) -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for function in functions {
        declared.function(0);
        code.function(&function);
    }
    finish(&types, &declared, &code)
}

fn finish(types: &TypeSection, declared: &FunctionSection, code: &CodeSection) -> Vec<u8> {
    let mut module = Module::new();
    module.section(types).section(declared).section(&memory()).section(&export_start()).section(code);
    module.finish()
}

fn memory() -> MemorySection {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 10,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    memories
}

fn export_start() -> ExportSection {
    let mut exports = ExportSection::new();
    exports.export("_start", ExportKind::Func, 0);
    exports
}

/// A function with so many locals of one type, and a body.
fn function(locals: u32, body: impl FnOnce(&mut Function)) -> Function {
    let mut function = Function::new([(locals, ValType::I32)]);
    body(&mut function);
    function.instruction(&Instruction::End);
    function
}

fn empty_function() -> Function {
    function(0, |_| {})
}

/// No offset, no promise of alignment.
const ANYWHERE: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };

/// All values of one function alive at the same time: 113 KB have taken 15 CPU-s and 1.8 GB.
fn live_ranges() -> Vec<u8> {
    const COUNT: i32 = 40_000;
    module_of([
        empty_function(),
        function(0, |body| {
            body.instruction(&Instruction::I32Const(0));
            for at in 0..COUNT {
                body.instruction(&Instruction::I32Const(4 * at)).instruction(&Instruction::I32Load(ANYWHERE));
            }
            for _ in 1..COUNT {
                body.instruction(&Instruction::I32Add);
            }
            body.instruction(&Instruction::I32Store(ANYWHERE));
        }),
    ])
}

/// A megabyte of branches in one function.
fn one_giant_function() -> Vec<u8> {
    module_of([function(100, |body| {
        for at in 0..60_000 {
            body.instruction(&Instruction::LocalGet(at % 100))
                .instruction(&Instruction::If(wasm_encoder::BlockType::Empty))
                .instruction(&Instruction::LocalGet((at + 1) % 100))
                .instruction(&Instruction::I32Const(at as i32))
                .instruction(&Instruction::I32Mul)
                .instruction(&Instruction::LocalSet((at + 2) % 100))
                .instruction(&Instruction::End);
        }
    })])
}

/// A thousand locals that change in each of a thousand nested loops: a million values at the loops' heads.
fn locals_through_nested_loops() -> Vec<u8> {
    const DEPTH: u32 = 1000;
    module_of([
        empty_function(),
        function(DEPTH, |body| {
            for at in 0..DEPTH {
                body.instruction(&Instruction::Loop(wasm_encoder::BlockType::Empty))
                    .instruction(&Instruction::LocalGet((at + 1) % DEPTH))
                    .instruction(&Instruction::LocalSet(at));
            }
            for at in 0..DEPTH {
                body.instruction(&Instruction::LocalGet(at))
                    .instruction(&Instruction::LocalSet((at + 7) % DEPTH))
                    .instruction(&Instruction::LocalGet(at))
                    .instruction(&Instruction::BrIf(0))
                    .instruction(&Instruction::End);
            }
        }),
    ])
}

/// Nine bytes for each 50,000 locals: these have taken 5 CPU-s.
fn locals_by_the_million() -> Vec<u8> {
    module_of((0..2000).map(|_| function(50_000, |_| {})))
}

/// One `br_table` with so many targets.
fn huge_br_table(targets: u32) -> Vec<u8> {
    let targets: Vec<u32> = (0..targets).map(|at| at % 3).collect();
    module_of([function(1, |body| {
        for _ in 0..3 {
            body.instruction(&Instruction::Block(wasm_encoder::BlockType::Empty));
        }
        body.instruction(&Instruction::LocalGet(0)).instruction(&Instruction::BrTable(targets.into(), 0));
        for _ in 0..3 {
            body.instruction(&Instruction::End);
        }
    })])
}

/// Blocks in blocks, and a branch out of all of them from the innermost.
fn nested_blocks(depth: u32) -> Vec<u8> {
    module_of([function(0, |body| {
        for _ in 0..depth {
            body.instruction(&Instruction::Block(wasm_encoder::BlockType::Empty));
        }
        body.instruction(&Instruction::Br(depth - 1));
        for _ in 0..depth {
            body.instruction(&Instruction::End);
        }
    })])
}

/// Types, all different, and no code but an empty function: 200,000 have taken 15 CPU-s and 1.1 GB.
fn many_types() -> Vec<u8> {
    const NUMBERS: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for number in 0..200_000_usize {
        types.ty().function((0..9).map(|digit| NUMBERS[number >> (2 * digit) & 3]), []);
    }
    declared.function(0);
    code.function(&empty_function());
    finish(&types, &declared, &code)
}

/// Calls between functions of a thousand parameters and a thousand results.
fn wide_calls() -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    types.ty().function([ValType::I64; 1000], [ValType::I64; 1000]);
    declared.function(0).function(1);
    code.function(&empty_function());
    let mut wide = Function::new([]);
    for at in 0..1000 {
        wide.instruction(&Instruction::LocalGet(at));
    }
    for _ in 0..50 {
        wide.instruction(&Instruction::Call(1));
    }
    wide.instruction(&Instruction::End);
    code.function(&wide);
    finish(&types, &declared, &code)
}

fn many_data_segments() -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    declared.function(0);
    code.function(&empty_function());
    let mut data = DataSection::new();
    for at in 0..100_000 {
        data.active(0, &ConstExpr::i32_const(at % 65536), [at as u8]);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&declared)
        .section(&memory())
        .section(&export_start())
        .section(&code)
        .section(&data);
    module.finish()
}

fn many_imports() -> Vec<u8> {
    let (mut types, mut imports, mut declared) =
        (TypeSection::new(), ImportSection::new(), FunctionSection::new());
    types.ty().function([], [ValType::I32]);
    types.ty().function([], []);
    for _ in 0..100_000 {
        imports.import("wasi_snapshot_preview1", "sched_yield", EntityType::Function(0));
    }
    declared.function(1);
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    exports.export("_start", ExportKind::Func, 100_000);
    code.function(&empty_function());
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&declared).section(&exports).section(&code);
    module.finish()
}

fn many_globals() -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    declared.function(0);
    code.function(&empty_function());
    let mut globals = GlobalSection::new();
    for at in 0..100_000 {
        let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i64_const(at));
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&globals).section(&export_start()).section(&code);
    module.finish()
}

pub fn entries() -> Vec<Entry> {
    vec![
        Entry::refused("long live ranges", live_ranges, REFUSED).heavy(),
        Entry::refused("200,000 types", many_types, REFUSED).heavy(),
        Entry::refused(
            "1,000,000 functions",
            || module_of((0..1_000_000).map(|_| empty_function())),
            REFUSED,
        )
        .heavy(),
        // What follows is near the jail's limits: a faster machine or compiler may let it through, harmlessly.
        Entry::new("one giant function", one_giant_function, &[Ok, InvalidModule], REFUSED).heavy(),
        Entry::new("locals through nested loops", locals_through_nested_loops, &[Ok, InvalidModule], REFUSED)
            .heavy(),
        Entry::new("calls of a thousand parameters", wide_calls, &[Ok, InvalidModule], REFUSED).heavy(),
        Entry::new("10^8 locals in 18 KB", locals_by_the_million, &[Ok, InvalidModule], REFUSED),
        Entry::new("100,000 data segments", many_data_segments, &[Ok, InvalidModule], REFUSED).heavy(),
        Entry::new("huge br_table", || huge_br_table(1_000_000), &[Ok, InvalidModule], REFUSED),
        Entry::new("largest br_table", || huge_br_table(65_520), &[Ok, InvalidModule], REFUSED),
        Entry::new("100,000 nested blocks", || nested_blocks(100_000), &[Ok, InvalidModule], REFUSED),
        Entry::exits("10,000 functions", || module_of((0..10_000).map(|_| function(3, |_| {}))), 0),
        // An instance of these is megabytes of the host's: a pool of smaller instances refuses them.
        Entry::new("100,000 imports", many_imports, &[Ok, InvalidModule], ""),
        Entry::new("100,000 globals", many_globals, &[Ok, InvalidModule], ""),
    ]
}
