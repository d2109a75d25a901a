//! The pool of runner processes: what they are locked out of, what happens when one dies, hangs or lies, and who is next.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zerostate::document::Status;
use zerostate::execution::{
    ExecutionError, Job, Limits, Load, Outcome, Phase, Priority, Program, Progress, Runners, RunnersConfig,
};

use crate::execution::{RUNNER, command, error, job, probe};
use crate::support::{SmallDisk, WITHIN};

/// Runners of which there is one process at a time.
fn one() -> Runners {
    Runners::new(RunnersConfig { processes: NonZeroUsize::MIN, ..RunnersConfig::of_program(RUNNER) }).unwrap()
}

async fn run(runners: &Runners, job: Job) -> Outcome {
    runners.run(job, None, CancellationToken::new()).await.unwrap()
}

/// A guest that runs until it is stopped.
fn long() -> Job {
    let mut job = job(&command("(loop (br 0))"));
    job.limits = Limits { fuel: u64::MAX, time: Duration::from_secs(600), ..job.limits };
    job
}

/// A guest that is done in an instant.
fn short() -> Job {
    job(&command(""))
}

type Run = tokio::task::JoinHandle<Result<Outcome, ExecutionError>>;

/// Starts a job and waits until its guest has been seen to run; gives the process that it runs in.
async fn start(runners: &Runners, job: Job, cancel: CancellationToken) -> (Run, Pid) {
    let (told, mut progress) = watch::channel(Progress::default());
    let run = tokio::spawn({
        let runners = runners.clone();
        async move { runners.run(job, Some(told), cancel).await }
    });
    progress.wait_for(|progress| progress.phase == Phase::Running).await.unwrap();
    (run, only(&settled(runners, |load| load.running == 1 && load.runners.len() == 1).await))
}

fn only(load: &Load) -> Pid {
    Pid::from_raw(i32::try_from(load.runners[0]).unwrap()).unwrap()
}

/// The pool's load, once it is as described.
async fn settled(runners: &Runners, like: impl FnMut(&Load) -> bool) -> Load {
    let mut load = runners.load();
    let seen = tokio::time::timeout(WITHIN, load.wait_for(like)).await;
    seen.expect("the pool comes to rest").unwrap().clone()
}

#[tokio::test]
async fn a_runner_has_nothing_to_give_away_and_nothing_to_ask_for() {
    let (runners, cancel) = (one(), CancellationToken::new());
    let (run, pid) = start(&runners, long(), cancel.clone()).await;
    let pid = pid.as_raw_nonzero();
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(read("environ"), "");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = std::fs::read_link(descriptor.path()).unwrap();
        let target = target.to_str().unwrap();
        let about = read(&format!("fdinfo/{}", descriptor.file_name().to_str().unwrap()));
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let read_only = u32::from_str_radix(flags, 8).unwrap() & 3 == 0;
        if target.starts_with("/memfd:zerostate-code") && read_only {
            continue;
        }
        let harmless = target == "/dev/null"
            || ["pipe:", "socket:", "anon_inode:"].iter().any(|kind| target.starts_with(kind));
        assert!(harmless, "{target:?} is open in a runner");
    }
    let limits = read("limits");
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    assert!(limit("Max core file size").contains(" 0 "), "{limits}");
    assert!(limit("Max file size").contains(" 0 "), "{limits}");
    for name in ["Max cpu time", "Max data size", "Max address space", "Max open files"] {
        assert!(!limit(name).contains("unlimited"), "{limits}");
    }
    let status = read("status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|known| known == line), "{line}: {status}");
    }
    let protections = runners.load().borrow().protections.clone().expect("the runner has told");
    assert_eq!((protections.landlock, protections.seccomp), (Ok(()), Ok(())), "this kernel has both");
    cancel.cancel();
    assert!(run.await.unwrap().is_err());
}

#[tokio::test]
async fn a_child_whose_parent_is_another_does_not_begin() {
    use std::io::Write;
    // A frame with the parent's process id first: 1, who is not the parent.
    for (verb, frame) in [
        ("runner", &b"\x03\0\0\0\0\0\0\0\x01\x01\x01"[..]),
        ("compiler", b"\x05\0\0\0\0\0\0\0\x01\x01\x01\0\x01"),
    ] {
        let mut child = std::process::Command::new(RUNNER);
        child.arg(verb).stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(frame).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "its parent died before it began\n");
    }
}

#[tokio::test]
async fn cancelling_ends_a_run_at_once_and_its_runner_goes_on_with_others() {
    let (runners, cancel) = (one(), CancellationToken::new());
    let (run, pid) = start(&runners, long(), cancel.clone()).await;
    cancel.cancel();
    cancel.cancel();
    assert!(matches!(run.await.unwrap(), Err(ExecutionError::Cancelled)));
    assert_eq!(run_on(&runners).await, pid);
    settled(&runners, |load| load.running == 0).await;
}

/// Runs something short and gives the one process there is.
async fn run_on(runners: &Runners) -> Pid {
    assert_eq!(run(runners, short()).await.status, Status::Ok);
    only(&runners.load().borrow())
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_any_more_is_ended() {
    let runners = one();
    let (run, pid) = start(&runners, long(), CancellationToken::new()).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    settled(&runners, |load| load.running == 0 && load.memory_taken == 0).await;
    assert_eq!(run_on(&runners).await, pid);
}

#[tokio::test]
async fn a_runner_killed_in_the_middle_is_a_crash_that_says_by_what_and_is_replaced() {
    let runners = one();
    let (run, pid) = start(&runners, long(), CancellationToken::new()).await;
    kill_process(pid, Signal::KILL).unwrap();
    let outcome = run.await.unwrap().unwrap();
    assert_eq!((outcome.status, outcome.fuel_used), (Status::RunnerCrashed, 0));
    assert_eq!(error(&outcome), "the runner ended (signal: 9 (SIGKILL))");
    assert_ne!(run_on(&runners).await, pid);
}

#[tokio::test]
async fn a_runner_killed_under_load_takes_only_its_own_jobs_with_it() {
    let runners = Runners::new(RunnersConfig {
        processes: NonZeroUsize::new(2).unwrap(),
        warm: true,
        ..RunnersConfig::of_program(RUNNER)
    })
    .unwrap();
    let pids = settled(&runners, |load| load.runners.len() == 2).await.runners;
    assert_eq!(run(&runners, short()).await.status, Status::Ok);
    let mut runs = JoinSet::new();
    for number in 0..400 {
        let runners = runners.clone();
        runs.spawn(async move {
            let outcome = run(&runners, short()).await;
            (number, outcome)
        });
    }
    let mut crashed = 0;
    for count in 0..400 {
        if count == 40 {
            kill_process(Pid::from_raw(i32::try_from(pids[0]).unwrap()).unwrap(), Signal::KILL).unwrap();
        }
        let (_, outcome) = runs.join_next().await.unwrap().unwrap();
        match outcome.status {
            Status::Ok => {}
            Status::RunnerCrashed => crashed += 1,
            other => panic!("{other}: {outcome:?}"),
        }
    }
    assert!(crashed < 200, "{crashed} of 400 went with one of two runners");
    assert_eq!(run(&runners, short()).await.status, Status::Ok);
}

#[tokio::test]
async fn a_runner_that_hangs_is_killed_after_the_deadline_and_replaced() {
    let runners = one();
    let mut job = long();
    job.limits.time = Duration::from_millis(400);
    let (run, pid) = start(&runners, job, CancellationToken::new()).await;
    kill_process(pid, Signal::STOP).unwrap();
    let outcome = run.await.unwrap().unwrap();
    assert_eq!((outcome.status, error(&outcome)), (Status::Timeout, "the time limit of 400 ms was reached"));
    assert_eq!(outcome.duration, Duration::from_millis(400), "billed is what was allowed");
    assert_ne!(run_on(&runners).await, pid);
}

#[tokio::test]
async fn a_runner_that_hangs_before_it_begins_costs_nobody_a_job() {
    let runners = one();
    let pid = run_on(&runners).await;
    kill_process(pid, Signal::STOP).unwrap();
    assert_ne!(run_on(&runners).await, pid);
}

#[tokio::test]
async fn guests_that_sleep_leave_their_place_to_others() {
    let runners = one();
    let nap = r#"
        (i32.store8 (i32.const 112) (i32.const 0)) (i32.store (i32.const 116) (i32.const 1))
        (i64.store (i32.const 120) (i64.const 60000000000))
        (drop (call $poll (i32.const 96) (i32.const 200) (i32.const 1) (i32.const 300)))"#;
    let mut sleepers = Vec::new();
    for _ in 0..100 {
        let mut job = job(&command(nap));
        (job.limits.memory_bytes, job.limits.time) = (1 << 20, Duration::from_secs(300));
        let (runners, cancel) = (runners.clone(), CancellationToken::new());
        let token = cancel.clone();
        sleepers.push((cancel, tokio::spawn(async move { runners.run(job, None, token).await })));
    }
    settled(&runners, |load| load.running == 100 && load.waiting == 0).await;
    assert_eq!(run(&runners, short()).await.status, Status::Ok);
    for (cancel, sleeper) in sleepers {
        cancel.cancel();
        assert!(matches!(sleeper.await.unwrap(), Err(ExecutionError::Cancelled)));
    }
    settled(&runners, |load| load.running == 0 && load.memory_taken == 0).await;
}

#[tokio::test]
async fn who_wants_much_does_not_keep_others_waiting_and_who_sits_and_waits_goes_first() {
    const MANY: usize = 300;
    let runners = one();
    let burning = |requester: &str| burning(requester, 1_000_000);
    assert_eq!(run(&runners, burning("warm-up")).await.status, Status::Ok);
    // Two that compute for long, and one of somebody else's beside them, are all that a runner takes: behind them the queue
    // fills, and nothing moves.
    let release = CancellationToken::new();
    let mut blockers = Vec::new();
    for requester in ["one", "one", "other"] {
        let (told, mut progress) = watch::channel(Progress::default());
        let (runners, token, mut job) = (runners.clone(), release.clone(), long());
        job.requester = requester.to_owned();
        blockers.push(tokio::spawn(async move { runners.run(job, Some(told), token).await }));
        progress.wait_for(|progress| progress.phase == Phase::Running).await.unwrap();
    }
    let mut runs = JoinSet::new();
    for _ in 0..MANY {
        let (runners, job) = (runners.clone(), burning("greedy"));
        runs.spawn(async move { (run(&runners, job).await.status, false) });
    }
    settled(&runners, |load| load.waiting == MANY).await;
    let (other, job) = (runners.clone(), burning("modest"));
    runs.spawn(async move { (run(&other, job).await.status, true) });
    settled(&runners, |load| load.waiting == MANY + 1).await;
    release.cancel();
    for blocker in blockers {
        assert!(blocker.await.unwrap().is_err());
    }
    let mut before = 0;
    while let Some(ended) = runs.join_next().await {
        let (status, modest) = ended.unwrap();
        assert_eq!(status, Status::Ok);
        if modest {
            break;
        }
        before += 1;
    }
    assert!(before < MANY / 2, "the modest one was served after {before} of {MANY}");
    while let Some(ended) = runs.join_next().await {
        assert_eq!(ended.unwrap().0, Status::Ok);
    }
}

#[tokio::test]
async fn more_than_may_wait_is_told_that_the_node_is_busy() {
    let config = RunnersConfig {
        waiting: 1,
        processes: NonZeroUsize::MIN,
        memory_bytes: 300 << 20,
        ..RunnersConfig::of_program(RUNNER)
    };
    let runners = Runners::new(config).unwrap();
    let cancel = CancellationToken::new();
    // Each may take 128 MiB: two have room, one waits, and no more.
    let mut running = Vec::new();
    for count in 1..=2 {
        let (runners_of, token) = (runners.clone(), cancel.clone());
        running.push(tokio::spawn(async move { runners_of.run(long(), None, token).await }));
        settled(&runners, |load| load.running == count).await;
    }
    let (runners_of, token) = (runners.clone(), cancel.clone());
    running.push(tokio::spawn(async move { runners_of.run(long(), None, token).await }));
    settled(&runners, |load| load.waiting == 1).await;
    let refused = runners.run(long(), None, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(refused, ExecutionError::Busy { waiting: 1, running: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("bytes of memory are free"), "{refused}");
    cancel.cancel();
    for run in running {
        assert!(run.await.unwrap().is_err());
    }
    assert_eq!(run(&runners, short()).await.status, Status::Ok);
}

#[tokio::test]
async fn what_a_node_does_not_give_is_refused_by_name() {
    let mut config = RunnersConfig::of_program(RUNNER);
    config.most.memory_bytes = 64 << 20;
    let runners = Runners::new(config).unwrap();
    let refused = runners.run(short(), None, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(
        refused.contains("limits.memory: 134217728 bytes") && refused.contains("execution.max_memory"),
        "{refused}"
    );
    let mut job = probe();
    job.args = vec!["x".repeat(70_000)];
    let refused = runners.run(job, None, CancellationToken::new()).await;
    assert!(matches!(refused, Err(ExecutionError::JobTooLarge { what: "arguments", .. })));
}

/// A guest that computes for some milliseconds.
fn burning(requester: &str, rounds: u64) -> Job {
    let mut job = job(&command(&format!(
        "(local $n i64) (loop (br_if 0 (i64.lt_u (local.tee $n (i64.add (local.get $n) (i64.const 1))) (i64.const {rounds}))))",
    )));
    (job.requester, job.limits.fuel) = (requester.to_owned(), u64::MAX);
    job
}

#[tokio::test]
async fn guests_that_compute_for_long_begin_when_there_is_a_place_and_not_all_at_once() {
    const MANY: usize = 40;
    let runners = one();
    let alone = run(&runners, burning("warm-up", 50_000_000)).await;
    assert_eq!(alone.status, Status::Ok);
    let mut runs = JoinSet::new();
    for _ in 0..MANY {
        let (runners, mut job) = (runners.clone(), burning("many", 50_000_000));
        // Two at a time need twice as long as one alone; all together would need forty times as long.
        job.limits.time = alone.duration * 15;
        runs.spawn(async move { run(&runners, job).await });
    }
    while let Some(outcome) = runs.join_next().await {
        let outcome = outcome.unwrap();
        assert_eq!(outcome.status, Status::Ok, "{outcome:?}; alone {:?}", alone.duration);
    }
}

#[tokio::test]
async fn somebody_who_has_none_goes_in_beside_guests_that_compute_for_long() {
    let runners = one();
    let cancel = CancellationToken::new();
    let mut greedy = JoinSet::new();
    for _ in 0..10 {
        let (runners, token, mut job) = (runners.clone(), cancel.clone(), long());
        job.requester = "greedy".to_owned();
        greedy.spawn(async move { runners.run(job, None, token).await });
    }
    settled(&runners, |load| load.running == 2 && load.waiting == 8).await;
    let mut job = short();
    job.requester = "modest".to_owned();
    assert_eq!(run(&runners, job).await.status, Status::Ok);
    // One who has a place already waits like the others, and somebody who sits and waits has one kept for him.
    for requester in ["one", "two"] {
        let (runners, token, mut job) = (runners.clone(), cancel.clone(), long());
        job.requester = requester.to_owned();
        greedy.spawn(async move { runners.run(job, None, token).await });
    }
    settled(&runners, |load| load.running == 3 && load.waiting == 9).await;
    let mut job = short();
    job.priority = Priority::Interactive;
    assert_eq!(run(&runners, job).await.status, Status::Ok);
    cancel.cancel();
    while let Some(ended) = greedy.join_next().await {
        assert!(matches!(ended.unwrap(), Err(ExecutionError::Cancelled)));
    }
}

/// A job that waits for a minute, with so much memory, for so long.
fn sleeping(memory_bytes: u64, time: Duration) -> Job {
    let mut job = job(&command(
        "(i32.store8 (i32.const 112) (i32.const 0)) (i32.store (i32.const 116) (i32.const 1))
         (i64.store (i32.const 120) (i64.const 60000000000))
         (drop (call $poll (i32.const 96) (i32.const 200) (i32.const 1) (i32.const 300)))",
    ));
    (job.limits.memory_bytes, job.limits.time, job.limits.output_bytes) = (memory_bytes, time, 1 << 10);
    job
}

#[tokio::test]
async fn what_waits_for_memory_is_passed_by_those_that_are_over_in_time_and_by_no_others() {
    let config = RunnersConfig { memory_bytes: 256 << 20, ..RunnersConfig::of_program(RUNNER) };
    let runners = Runners::new(config).unwrap();
    let cancel = CancellationToken::new();
    let mut runs = JoinSet::new();
    let mut spawn = |job: Job| {
        let (runners, token) = (runners.clone(), cancel.clone());
        runs.spawn(async move { runners.run(job, None, token).await });
    };
    spawn(sleeping(100 << 20, Duration::from_secs(300)));
    settled(&runners, |load| load.running == 1).await;
    spawn(sleeping(200 << 20, Duration::from_secs(300)));
    settled(&runners, |load| load.running == 1 && load.waiting == 1).await;
    // There is room for it, but the one before it would have to wait longer.
    let mut other = sleeping(1 << 20, Duration::from_secs(600));
    other.requester = "other".to_owned();
    spawn(other);
    settled(&runners, |load| load.running == 1 && load.waiting == 2).await;
    let mut quick = short();
    (quick.requester, quick.limits.memory_bytes) = ("quick".to_owned(), 1 << 20);
    quick.limits.output_bytes = 1 << 10;
    assert_eq!(run(&runners, quick).await.status, Status::Ok);
    cancel.cancel();
    while let Some(ended) = runs.join_next().await {
        assert!(matches!(ended.unwrap(), Err(ExecutionError::Cancelled)));
    }
}

#[tokio::test]
async fn nobody_gets_all_the_places_in_the_queue() {
    let config =
        RunnersConfig { waiting: 20, processes: NonZeroUsize::MIN, ..RunnersConfig::of_program(RUNNER) };
    let runners = Runners::new(config).unwrap();
    let cancel = CancellationToken::new();
    let mut runs = JoinSet::new();
    let mut spawn = |requester: &str| {
        let (runners, token, mut job) = (runners.clone(), cancel.clone(), long());
        job.requester = requester.to_owned();
        runs.spawn(async move { runners.run(job, None, token).await })
    };
    for _ in 0..2 {
        spawn("greedy");
    }
    settled(&runners, |load| load.running == 2).await;
    for _ in 0..10 {
        spawn("greedy");
    }
    settled(&runners, |load| load.running == 2 && load.waiting == 10).await;
    let mut another = long();
    another.requester = "greedy".to_owned();
    let refused = runners.run(another, None, CancellationToken::new()).await;
    assert!(matches!(refused, Err(ExecutionError::Busy { .. })), "{refused:?}");
    let mut job = short();
    job.requester = "modest".to_owned();
    assert_eq!(run(&runners, job).await.status, Status::Ok);
    cancel.cancel();
    while runs.join_next().await.is_some() {}
}

#[tokio::test]
async fn modules_are_compiled_by_turns_too() {
    const MANY: usize = 100;
    let runners = one();
    let module = |number: usize, requester: &str| {
        let mut job = job(&command(&format!("(drop (i32.const {number}))")));
        job.requester = requester.to_owned();
        job
    };
    let mut runs = JoinSet::new();
    for number in 0..MANY {
        let (runners, job) = (runners.clone(), module(number, "greedy"));
        runs.spawn(async move { (run(&runners, job).await.status, false) });
    }
    settled(&runners, |load| load.waiting > MANY / 2).await;
    let (other, job) = (runners.clone(), module(MANY, "modest"));
    runs.spawn(async move { (run(&other, job).await.status, true) });
    let mut after = 0;
    let mut served = false;
    while let Some(ended) = runs.join_next().await {
        let (status, modest) = ended.unwrap();
        assert_eq!(status, Status::Ok);
        after += usize::from(served);
        served |= modest;
    }
    assert!(after > MANY / 5, "{after} of {MANY} were left when the modest one was served");
}

#[tokio::test]
async fn limits_on_modules_and_outputs_are_the_nodes_to_set() {
    let mut config = RunnersConfig::of_program(RUNNER);
    (config.compile.functions, config.compile.module_bytes) = (10, 2_000);
    config.most.output_bytes = 1 << 20;
    let runners = Runners::new(config).unwrap();
    let mut job = short();
    let refused = runners.run(job.clone(), None, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(
        refused.contains("limits.output: 8388608 bytes") && refused.contains("execution.max_output"),
        "{refused}"
    );
    job.limits.output_bytes = 1 << 20;
    assert_eq!(run(&runners, job.clone()).await.status, Status::Ok);
    let many = format!("(module {} (func (export \"_start\")))", "(func)".repeat(10));
    for (module, why) in [
        (wat::parse_str(many).unwrap(), "it has 11 functions, at most 10 are accepted"),
        (vec![0; 2_001], "at most 2000 are accepted (execution.max_module)"),
    ] {
        job.module = module.into();
        let outcome = run(&runners, job.clone()).await;
        assert_eq!(outcome.status, Status::InvalidModule, "{outcome:?}");
        assert!(error(&outcome).contains(why), "{outcome:?}");
    }
}

#[tokio::test]
async fn on_a_full_disk_modules_run_uncached() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let cache = disk.0.join("code");
    let config = || RunnersConfig { cache: Some(cache.clone()), ..RunnersConfig::of_program(RUNNER) };
    let runners = Runners::new(config()).unwrap();
    let filler = disk.fill();
    let first = run(&runners, probe()).await;
    assert_eq!(first.status, Status::Ok, "{first:?}");
    assert_eq!(codes(&cache), Vec::<PathBuf>::new(), "nothing was kept, nor was half of it");
    std::fs::remove_file(filler).unwrap();
    assert_eq!(run(&Runners::new(config()).unwrap(), probe()).await.stdout, first.stdout);
    assert_eq!(codes(&cache).len(), 1, "and it is kept again where there is room");
}

/// Files of compiled code.
fn codes(cache: &Path) -> Vec<PathBuf> {
    let engines = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    engines.flat_map(|engine| std::fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path())).collect()
}

#[tokio::test]
async fn compiled_code_outlives_the_pool_and_is_not_believed_when_it_is_damaged() {
    let cache = tempfile::tempdir().unwrap();
    let config =
        || RunnersConfig { cache: Some(cache.path().join("code")), ..RunnersConfig::of_program(RUNNER) };
    let first = run(&Runners::new(config()).unwrap(), probe()).await;
    assert_eq!(first.status, Status::Ok, "{first:?}");
    let [code] = &codes(&cache.path().join("code"))[..] else { panic!("one module, one file") };

    // Without a compiler, only the cache can help.
    let compiler = Program { path: "/bin/false".into(), args: Vec::new() };
    let without = || Runners::new(RunnersConfig { compiler: compiler.clone(), ..config() }).unwrap();
    let again = run(&without(), probe()).await;
    assert_eq!((again.status, &again.stdout, again.fuel_used), (Status::Ok, &first.stdout, first.fuel_used));

    let mut bytes = std::fs::read(code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(code, bytes).unwrap();
    assert_eq!(run(&without(), probe()).await.status, Status::RunnerCrashed, "damaged code is never run");
    assert_eq!(run(&Runners::new(config()).unwrap(), probe()).await.stdout, first.stdout);

    // Where it cannot be kept, it is compiled each time.
    let file = cache.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let uncached = RunnersConfig { cache: Some(file.join("code")), ..RunnersConfig::of_program(RUNNER) };
    assert_eq!(run(&Runners::new(uncached).unwrap(), probe()).await.stdout, first.stdout);
}

/// A pool whose runners are shell scripts that speak on the socket which is their stdin.
fn scripted(script: &str) -> Runners {
    let runner = Program { path: "/bin/sh".into(), args: ["-c", script].map(Into::into).to_vec() };
    let config = RunnersConfig { runner, processes: NonZeroUsize::MIN, ..RunnersConfig::of_program(RUNNER) };
    Runners::new(config).unwrap()
}

/// "Ready", as a runner says it, and then waiting until a job has come.
const READY: &str = r"printf '\003\000\000\000\000\000\000\000\000\000\000' >&0; head -c 90 <&0 >/dev/null; ";

#[tokio::test]
async fn a_runner_that_talks_nonsense_is_not_believed() {
    for (script, reason) in [
        (r"printf '\377\377\377\377\000\000\000\000' >&0; exec sleep 60", "a frame of 4294967295 bytes"),
        (r"printf '\001\000\000\000\000\000\000\000\077' >&0; exec sleep 60", "did not keep to the protocol"),
        ("echo some last words >&2; exit 7", "exit status: 7): some last words"),
    ] {
        let early =
            scripted(script).run(probe(), None, CancellationToken::new()).await.unwrap_err().to_string();
        assert!(
            early.contains("no runner stays alive") && early.contains(reason),
            "{early} should say {reason}"
        );
        let late = run(&scripted(&format!("{READY}{script}")), probe()).await;
        assert_eq!(late.status, Status::RunnerCrashed);
        assert!(error(&late).contains(reason), "{} should say {reason}", error(&late));
    }
}

#[tokio::test]
async fn a_runner_that_reports_the_impossible_is_cut_down_to_the_limits() {
    // Done { job: 0, report: { ok, exit code 0, no error, 2^63 fuel, 2^63 bytes, 2^63 seconds }, stdout: 2^31 }.
    let huge = r"\200\200\200\200\200\200\200\200\200\001";
    let head = format!(r"\004\000\000\001\000\000{huge}{huge}{huge}\000\200\200\200\200\010");
    let script = format!(r"{READY}printf '\052\000\000\000\002\000\000\000{head}hi' >&0; exec sleep 60");
    let (job, began) = (probe(), Instant::now());
    let limits = job.limits;
    let outcome = run(&scripted(&script), job).await;
    assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
    assert_eq!((outcome.fuel_used, outcome.peak_memory_bytes), (limits.fuel, limits.memory_bytes));
    assert!(outcome.duration <= began.elapsed(), "{:?} have not passed", outcome.duration);
    assert_eq!(outcome.stdout, b"hi");
}

#[tokio::test]
async fn what_a_runner_says_before_it_ends_counts() {
    // Done { job: 0, report: { ok, exit code 0, no error, no fuel, no memory, no time }, stdout: 2 }.
    let head = r"\004\000\000\001\000\000\000\000\000\000\002";
    let script = format!(r"{READY}printf '\013\000\000\000\002\000\000\000{head}hi' >&0; exit 1");
    let outcome = run(&scripted(&script), probe()).await;
    assert_eq!((outcome.status, &outcome.stdout[..]), (Status::Ok, &b"hi"[..]), "{outcome:?}");
}

#[tokio::test]
async fn a_runner_that_takes_nothing_on_does_not_keep_a_job_for_ever() {
    // Returned { job: n, why: no room }, for the first few, at each byte that comes.
    let returned: String = (0..4)
        .map(|job| format!(r"printf '\003\000\000\000\000\000\000\000\003\00{job}\001' >&0; "))
        .collect();
    let script = format!("{READY}{returned}while [ -n \"$(head -c 1 <&0 | od -An)\" ]; do {returned}done");
    let outcome = run(&scripted(&script), probe()).await;
    assert_eq!(
        (outcome.status, error(&outcome)),
        (Status::RunnerCrashed, "no runner of this machine has room for it")
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_of_this_side() {
    let missing = Program { path: "/nonexistent/zerostate".into(), args: Vec::new() };
    let good = || RunnersConfig::of_program(RUNNER);
    for config in [
        RunnersConfig { runner: missing.clone(), ..good() },
        RunnersConfig { compiler: missing.clone(), ..good() },
    ] {
        let result = Runners::new(config).unwrap().run(probe(), None, CancellationToken::new()).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains("/nonexistent/zerostate"), "{text}");
    }
}
