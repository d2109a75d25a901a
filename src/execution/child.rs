//! The runner process: takes one job from stdin, gives its outcome on stdout, ends.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

use super::budget::Budget;
use super::engine::engine;
use super::guest::{self, Finished, Report};
use super::host::linker;
use super::job::{Job, MAX_MODULE_BYTES, MAX_STDIN_BYTES};
use super::module::prepare;
use super::wire::{Header, MAX_HEADER_BYTES, Message, read_frame, read_json, write_frame, write_json};
use crate::document::Status;

/// Descriptors a runner may have open: three pipes, and room for what the standard library opens in passing.
const MAX_DESCRIPTORS: u64 = 16;

/// The main function of `zerostate runner`. Nothing may have run in the process before it.
pub fn serve() -> ExitCode {
    match serve_one() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // stderr is a pipe to the parent, which shows its tail. If even that fails, the exit code says it.
            match writeln!(io::stderr(), "runner: {error}") {
                Ok(()) | Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn serve_one() -> io::Result<()> {
    // Before anything else: if the parent dies from here on, so does this process.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    close_inherited()?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, MAX_DESCRIPTORS, MAX_DESCRIPTORS)?;

    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let header: Header = read_json(&mut stdin, MAX_HEADER_BYTES)?;
    let parent = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    if parent != Some(header.parent) {
        return Err(io::Error::other("its parent died before it began"));
    }
    let (job, budget) = receive(header, &mut stdin)?;
    limit(Resource::As, budget.address_space, budget.address_space)?;
    limit(Resource::Data, budget.compile_data, budget.run_data.max(budget.compile_data))?;
    limit(Resource::Cpu, seconds(budget.compile_cpu), seconds(budget.total_cpu))?;

    let Finished { report, stdout: out, stderr: err } = work(&job, &budget, &mut stdout)?;
    write_json(&mut stdout, &Message::Done(report))?;
    write_frame(&mut stdout, &out)?;
    write_frame(&mut stdout, &err)
}

/// Closes what came down from whoever started the node (a shell's spare descriptors, a supervisor's sockets). What
/// the node itself opens is close-on-exec and never gets here.
#[allow(unsafe_code)]
fn close_inherited() -> io::Result<()> {
    let numbers: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: nothing has run in this process that could own a descriptor beside the three standard ones. The
        // one the directory was read through is closed already, and closing it again does nothing.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}

fn receive(header: Header, from: &mut impl Read) -> io::Result<(Job, Budget)> {
    let module = read_frame(from, MAX_MODULE_BYTES)?;
    let stdin = read_frame(from, MAX_STDIN_BYTES)?;
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let budget = Budget::new(length(&module), length(&stdin), &header.limits);
    Ok((header.into_job(module, stdin), budget))
}

/// Compiles and runs, telling the parent where it is.
fn work(job: &Job, budget: &Budget, parent: &mut impl Write) -> io::Result<Finished> {
    write_json(parent, &Message::Compiling)?;
    let engine = engine(job.limits.stack_bytes).map_err(io::Error::other)?;
    let linker = linker(&engine).map_err(io::Error::other)?;
    let pre = match prepare(&engine, &linker, &job.module) {
        Ok(pre) => pre,
        Err(reason) => {
            let report = Report::not_run(Status::InvalidModule, format!("the module cannot run: {reason}"));
            return Ok(Finished { report, stdout: Vec::new(), stderr: Vec::new() });
        }
    };
    limit(Resource::Cpu, seconds(budget.total_cpu), seconds(budget.total_cpu))?;
    limit(Resource::Data, budget.run_data, budget.run_data)?;
    write_json(parent, &Message::Running)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime
        .block_on(guest::run(&engine, &pre, job, |fuel_used, memory_bytes| {
            // A parent that no longer listens is about to kill this process; the outcome will fail to go out too.
            if let Err(error) = write_json(parent, &Message::Progress { fuel_used, memory_bytes }) {
                tracing::debug!(%error, "progress not told");
            }
        }))
        .map_err(io::Error::other)
}

/// Sets a resource limit, as far as the limits this process was born with allow.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let hard = hard.min(most);
    Ok(setrlimit(resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })?)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(1)
}
