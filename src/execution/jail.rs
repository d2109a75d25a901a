//! Takes everything away from a child process that is about to touch what strangers made.
//!
//! In this order, each step needing what the next one takes: death with the parent, no inherited descriptors, resource
//! limits; then, once the child has everything it will ever need, Landlock (no files, no ports) and seccomp (only the
//! system calls below). What the kernel does not offer is reported and not an error: the node says so and goes on.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetStatus, Scope,
};
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::wire::Protections;

/// Everything up to this kernel interface is denied where the kernel knows it.
const LANDLOCK: ABI = ABI::V6;

/// The calls a child needs for computing, allocating, talking on the descriptors it has, and dying. None of them opens,
/// makes, names or starts anything.
const CALLS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pread64,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_fstat,
    // Of what it can see with this there is nothing it could open.
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// Sees to it that the child dies with its parent, and that only the three standard descriptors are open. Before
/// anything else in the process.
pub(super) fn enter(descriptors: u64) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    close_inherited()?;
    // Where the machine runs out of memory, a child goes before the node does.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        writeln!(io::stderr(), "it could not be made the first to go when memory is short: {error}")?;
    }
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, descriptors)
}

/// A child whose parent is another one by now was orphaned before it could say that it wants to die with it.
pub(super) fn expect_parent(pid: u32) -> io::Result<()> {
    let parent = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    if parent == Some(pid) { Ok(()) } else { Err(io::Error::other("its parent died before it began")) }
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

/// Sets a resource limit for good, as far as the limits this process was born with allow.
pub(super) fn limit(resource: Resource, most: u64) -> io::Result<()> {
    limit_softly(resource, most, most)
}

/// Sets a resource limit that may be raised again up to `hard`.
pub(super) fn limit_softly(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let born_with = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let hard = hard.min(born_with);
    Ok(setrlimit(resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })?)
}

/// Closes the door: from here on there are no files, no network, no processes to be had.
pub(super) fn lock() -> Protections {
    // First: the filter does not let it be set up later.
    let landlock = deny_files_and_ports();
    Protections { landlock, seccomp: filter_calls() }
}

fn deny_files_and_ports() -> Result<(), String> {
    let restrict = || -> Result<RulesetStatus, landlock::RulesetError> {
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .restrict_self()?;
        Ok(status.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => Ok(()),
        // Files are denied since Linux 5.13; ports and signals came later, and the filter of system calls denies them too.
        Ok(RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => Err("this kernel has no Landlock".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn filter_calls() -> Result<(), String> {
    let program = filter(std::process::id()).map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// The filter of a process with this id.
fn filter(own: u32) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let argument =
        |number, operation, value| SeccompCondition::new(number, SeccompCmpArgLen::Dword, operation, value);
    let only = |condition| SeccompRule::new(vec![condition]);
    // Memory is never writable and executable at once.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let readable_code = executable | u64::from(libc::PROT_READ.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let data = only(argument(2, SeccompCmpOp::MaskedEq(executable), 0)?)?;
        let code = only(argument(2, SeccompCmpOp::Eq, readable_code)?)?;
        rules.insert(call, vec![data, code]);
    }
    // Limits and signals are its own affair: both can name another process of the same user, the node for one.
    rules.insert(libc::SYS_prlimit64, vec![only(argument(0, SeccompCmpOp::Eq, 0)?)?]);
    rules.insert(libc::SYS_tgkill, vec![only(argument(0, SeccompCmpOp::Eq, own.into())?)?]);
    // What some processors need before they run new code; nobody else is touched by it.
    let barriers = [1, 32, 64].map(|command| argument(0, SeccompCmpOp::Eq, command).and_then(only));
    rules.insert(libc::SYS_membarrier, barriers.into_iter().collect::<Result<_, _>>()?);
    // Duplicating and flags, but not who gets a signal when something arrives.
    let mut fcntl = Vec::new();
    for command in [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC] {
        fcntl.push(only(argument(1, SeccompCmpOp::Eq, u64::from(command.unsigned_abs()))?)?);
    }
    let set = argument(1, SeccompCmpOp::Eq, u64::from(libc::F_SETFL.unsigned_abs()))?;
    let not_async = argument(2, SeccompCmpOp::MaskedEq(u64::from(libc::O_ASYNC.unsigned_abs())), 0)?;
    fcntl.push(SeccompRule::new(vec![set, not_async])?);
    rules.insert(libc::SYS_fcntl, fcntl);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, kill_process, prlimit};

    const LOCKED: &str = "ZEROSTATE_TEST_LOCKED";

    /// What a child that a guest has taken over would try first.
    #[test]
    #[allow(unsafe_code, reason = "what is tried here has no safe interface")]
    fn a_locked_child_does_nothing_to_its_parent() {
        if std::env::var_os(LOCKED).is_none() {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            again.args(["--exact", "execution::jail::tests::a_locked_child_does_nothing_to_its_parent"]);
            let output = again.args(["--test-threads=1", "--nocapture"]).env(LOCKED, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("all of it was refused"), "{said}");
            return;
        }
        let parent = getppid().unwrap();
        let number = parent.as_raw_nonzero().get();
        let before = getrlimit(Resource::Nofile);
        assert_eq!(lock(), Protections { landlock: Ok(()), seccomp: Ok(()) });
        let refused = Err(rustix::io::Errno::PERM);
        let less = Rlimit { current: Some(7), maximum: before.maximum };
        assert_eq!(prlimit(Some(parent), Resource::Nofile, less).map(drop), refused);
        assert_eq!(prlimit(Pid::from_raw(1), Resource::Nofile, less).map(drop), refused);
        assert_eq!(kill_process(parent, Signal::TERM), refused);
        // SAFETY: these calls touch no memory.
        let direct = unsafe {
            [
                libc::syscall(libc::SYS_tgkill, number, number, libc::SIGTERM),
                libc::syscall(libc::SYS_fcntl, 0, libc::F_SETOWN, number),
                libc::syscall(libc::SYS_fcntl, 0, libc::F_SETFL, libc::O_ASYNC),
                libc::syscall(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0),
                libc::syscall(libc::SYS_fork),
            ]
        };
        assert_eq!(direct, [-1; 5]);
        assert_eq!(std::fs::read("/proc/self/status").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // And what it needs, it has.
        setrlimit(Resource::Nofile, less).unwrap();
        println!("all of it was refused");
    }
}
