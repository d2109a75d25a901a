//! The compiler process: takes one module from stdin, writes its code to stdout, answers whether it can run, ends.
//!
//! Compiling is where a hostile module does most harm, and outside what the engine promises to withstand. So it happens
//! in a process of its own that is made small before it reads the first byte of the module.

mod module;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use rustix::process::Resource;

use super::budget::compiler_address_space;
use super::engine::pooled_engine;
use super::jail;
use super::wire::{Compile, Compiled, read_frame, write_frame};
use crate::document::Status;

pub(super) use module::{missing_entry, shown, shown_error};

/// Largest code, bytes: ten times the largest module.
const MAX_CODE_BYTES: u64 = 640 << 20;
/// Descriptors: the three standard ones, and room for what the standard library opens in passing.
const MAX_DESCRIPTORS: u64 = 16;
/// Any stack will do: it is no part of the code.
const STACK_BYTES: u64 = 1 << 20;

/// The main function of `zerostate compiler`. Nothing may have run in the process before it.
///
/// Its stdin is a socket to the node, its stdout the file that the code goes to.
pub fn compile_one() -> ExitCode {
    super::exit_code(work())
}

fn work() -> io::Result<()> {
    jail::enter(MAX_DESCRIPTORS)?;
    jail::limit(Resource::Fsize, MAX_CODE_BYTES)?;
    // Duplicates, because the standard library's own handles are buffered and locked.
    let mut node = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut code_file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // Pooled, so that it refuses what a runner's engine would. What looks at files for it is made before the door closes.
    let engine = pooled_engine(STACK_BYTES, 1).map_err(io::Error::other)?;
    jail::lock();

    let (order, wasm): (Compile, _) = read_frame(&mut node)?;
    jail::expect_parent(order.parent)?;
    // The softer limit comes with a signal that says so; the harder one kills.
    let cpu = order.cpu.as_secs().saturating_add(1);
    jail::limit_softly(Resource::Cpu, cpu, cpu.saturating_add(5))?;
    jail::limit(Resource::As, compiler_address_space(order.data_bytes))?;
    jail::limit(Resource::Data, order.data_bytes)?;
    let answer = match module::compile(&engine, &wasm, order.functions) {
        Ok((kind, code)) => match code_file.write_all(&code) {
            Ok(()) => Compiled::Code(kind),
            // A full disk, or code too large for any file: not the module's fault, so not an answer about it.
            Err(error) => return Err(error),
        },
        Err(unfit) => Compiled::Refused(unfit.status, unfit.why),
    };
    let mut bytes = Vec::new();
    write_frame(&mut bytes, &answer, &[])?;
    node.write_all(&bytes)
}

/// A refusal in the words of a receipt.
pub(super) fn refusal(why: impl std::fmt::Display) -> (Status, String) {
    (Status::InvalidModule, format!("the module cannot run: {why}"))
}
