//! A file, a variable and a port that guests must not find, and a guest that knows what to look for and tries it all.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};
use zerostate::document::Status;
use zerostate::execution::Job;

use super::alone::{alone, children, descriptors};
use super::guest::{Explores, command, explorer, found_nothing, wat};
use super::{harmed, harmless, run, runners, while_running};

const SECRET: &str = "canary-5f1d7c";
const VARIABLE: &str = "ZEROSTATE_CANARY";

/// Whether the secret stands anywhere in what a guest wrote.
fn told(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// Every way a path to the file could be spelled.
fn paths_to(file: &Path) -> Vec<String> {
    let absolute = file.to_str().unwrap();
    let relative = absolute.trim_start_matches('/');
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut paths = vec![
        absolute.to_owned(),
        relative.to_owned(),
        name.to_owned(),
        format!("./{name}"),
        format!("/{absolute}"),
        format!("/proc/self/root{absolute}"),
        format!("/proc/1/root{absolute}"),
        "link".to_owned(),
    ];
    paths.extend((1..=8).map(|depth| format!("{}{relative}", "../".repeat(depth))));
    paths.extend((1..=4).map(|depth| format!("{}{name}", "../".repeat(depth))));
    paths
}

/// Writes all of the environment, all of stdin, and all arguments there are.
fn shows_all_it_is_given() -> Vec<u8> {
    command(
        "(memory.fill (i32.const 16384) (i32.const 0) (i32.const 49152))
         (call $asked (call $environ_sizes_get (i32.const 64) (i32.const 68)))
         (call $asked (call $environ_get (i32.const 16384) (i32.const 20480)))
         (call $asked (call $args_get (i32.const 32768) (i32.const 36864)))
         (i32.store (i32.const 0) (i32.const 49152)) (i32.store (i32.const 4) (i32.const 4096))
         (call $asked (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 72)))
         (call $asked (call $random_get (i32.const 61440) (i32.const 4096)))
         (call $write (i32.const 1) (i32.const 64) (i32.const 8))
         (call $write (i32.const 1) (i32.const 16384) (i32.const 49152))",
    )
}

/// A file with the secret and a link to it, a port, and descriptors of both that a careless start would hand down.
struct Canary {
    _folder: tempfile::TempDir,
    file: PathBuf,
    port: TcpListener,
    _open: std::fs::File,
}

impl Canary {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("zs-").tempdir().unwrap();
        let file = folder.path().join("canary");
        std::fs::write(&file, SECRET).unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        let open = std::fs::File::open(&file).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        port.set_nonblocking(true).unwrap();
        for descriptor in [open.as_fd(), port.as_fd()] {
            fcntl_setfd(descriptor, FdFlags::empty()).unwrap();
        }
        Self { _folder: folder, file, port, _open: open }
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(std::fs::read_to_string(&self.file).unwrap(), SECRET);
        let beside = std::fs::read_dir(self.file.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 2, "nothing was made beside the file");
        let connected = self.port.accept().map(|(_, from)| from);
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::WouldBlock, "nobody connected");
    }

    /// The children have neither the file, nor the port, nor the variable.
    #[track_caller]
    fn is_unknown_to(&self, process: &Path) {
        let port =
            std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.port)));
        let (file, port) = (self.file.to_str().unwrap(), port.unwrap().to_str().unwrap().to_owned());
        for target in descriptors(process).unwrap_or_default() {
            assert!(target != file && target != port, "{} has {target}", process.display());
        }
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        assert!(!told(&environment), "{} has the variable", process.display());
    }
}

#[test]
fn a_guest_finds_neither_the_file_nor_the_variable_nor_the_port() {
    let test = "hostile::canary::a_guest_finds_neither_the_file_nor_the_variable_nor_the_port";
    alone(test, &[(VARIABLE, SECRET)], async || {
        assert_eq!(std::env::var(VARIABLE).as_deref(), Ok(SECRET), "the variable is there to be found");
        let (canary, runners) = (Canary::new(), runners());
        let paths = paths_to(&canary.file);

        let mut job = Job::new(explorer(&paths, Explores::Changing));
        // All that a job can allow a guest.
        (job.wall_clock, job.random) = (true, true);
        job.args = vec![canary.port.local_addr().unwrap().to_string()];
        let outcome = run(&runners, job).await;
        assert_eq!((outcome.status, outcome.exit_code), (Status::Ok, Some(0)), "{:?}", outcome.error);
        assert!(!told(&outcome.stdout), "it read the secret");
        let found = found_nothing(paths.len(), Explores::Changing);
        assert_eq!(outcome.stdout, found, "questions asked and things found (u32 each)");

        let outcome = run(&runners, Job::new(shows_all_it_is_given())).await;
        assert_eq!((outcome.status, outcome.stdout.len()), (Status::Ok, 8 + 49152), "{:?}", outcome.error);
        assert!(!told(&outcome.stdout));
        assert_eq!(outcome.stdout.get(..8), Some(&[0; 8][..]), "no variables, no bytes of them");

        while_running(&runners, Job::new(wat(r#"(module (func (export "_start") (loop (br 0))))"#)), || {
            let processes = children(i32::try_from(std::process::id()).unwrap());
            assert!(!processes.is_empty(), "the guest runs in a child");
            for pid in processes {
                canary.is_unknown_to(Path::new(&format!("/proc/{pid}")));
            }
        })
        .await;
        canary.is_untouched();
        assert_eq!(harmed(&run(&runners, harmless()).await), None);
    });
}
