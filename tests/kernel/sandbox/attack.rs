//! What an attacker who has taken over the process that reads packets would try. Each attempt is
//! made by a process of its own, once free and once inside the widest sandbox that there is.

use std::{
    env, fs, io,
    net::{TcpStream, UdpSocket},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixStream,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use traffic_tests::{Need, Test};
use traffic_user::sandbox::Policy;

use crate::Tests;

pub(crate) const TESTS: Tests = &[
    Test::new(
        "what_a_capture_does_not_need_is_refused",
        &[Need::Root],
        what_a_capture_does_not_need_is_refused,
    ),
    Test::new(
        "files_are_made_where_the_policy_says",
        &[Need::Root],
        files_are_made_where_the_policy_says,
    ),
];

/// How an attempt ends inside the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With this error.
    Refused(i32),
    /// The process is ended by SIGSYS.
    Killed,
}

/// An attempt: a name, what is done in a directory, and how it ends.
type Attempt = (&'static str, fn(&Path) -> io::Result<()>, End);

const NOT_PERMITTED: End = End::Refused(libc::EPERM);
const DENIED: End = End::Refused(libc::EACCES);

const ATTEMPTS: &[Attempt] = &[
    ("send over UDP", |_| udp(), NOT_PERMITTED),
    ("connect over TCP", |_| tcp(), NOT_PERMITTED),
    (
        "make a packet socket",
        |_| socket(libc::AF_PACKET),
        NOT_PERMITTED,
    ),
    (
        "make a netlink socket",
        |_| socket(libc::AF_NETLINK),
        NOT_PERMITTED,
    ),
    (
        "make a UNIX socket",
        |_| socket(libc::AF_UNIX),
        NOT_PERMITTED,
    ),
    (
        "read another file",
        |other| fs::read(other.join("file")).map(drop),
        DENIED,
    ),
    (
        "write another file",
        |other| fs::write(other.join("file"), "x"),
        DENIED,
    ),
    (
        "make another file",
        |other| fs::write(other.join("new"), "x"),
        DENIED,
    ),
    (
        "list another directory",
        |other| fs::read_dir(other).map(drop),
        DENIED,
    ),
    (
        "read the passwords",
        |_| fs::read("/etc/shadow").map(drop),
        DENIED,
    ),
    (
        "remove another file",
        |other| fs::remove_file(other.join("file")),
        DENIED,
    ),
    (
        "rename another file",
        |other| fs::rename(other.join("file"), other.join("b")),
        NOT_PERMITTED,
    ),
    (
        "link another file",
        |other| symlink(other.join("file"), other.join("c")),
        NOT_PERMITTED,
    ),
    (
        "change a mode",
        |other| set_mode(&other.join("file")),
        NOT_PERMITTED,
    ),
    (
        "make a directory",
        |other| fs::create_dir(other.join("d")),
        NOT_PERMITTED,
    ),
    (
        "start a process",
        |_| Command::new("/bin/true").status().map(drop),
        NOT_PERMITTED,
    ),
    ("signal another process", |_| signal(), NOT_PERMITTED),
    ("become root again", |_| become_root(), NOT_PERMITTED),
    (
        "make memory executable",
        |_| executable_memory(),
        NOT_PERMITTED,
    ),
    ("replace the program", |_| replace(), End::Killed),
    (
        "load a program into the kernel",
        |_| load_program(),
        End::Killed,
    ),
    ("trace a process", |_| trace(), End::Killed),
    (
        "enter a namespace",
        |_| Ok(unshare(CloneFlags::CLONE_NEWNS)?),
        End::Killed,
    ),
    ("mount a file system", |other| mount(other), End::Killed),
];

fn udp() -> io::Result<()> {
    UdpSocket::bind("127.0.0.1:0").map(drop)
}

/// Nothing listens there: the connection is refused by the other side, if it comes so far.
fn tcp() -> io::Result<()> {
    match TcpStream::connect("127.0.0.1:1") {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => other.map(drop),
    }
}

/// What a system call that takes no pointers, or only valid ones, says.
fn said(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn socket(family: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    said(unsafe { libc::syscall(libc::SYS_socket, family, libc::SOCK_DGRAM, 0) })
}

fn set_mode(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

fn signal() -> io::Result<()> {
    // SAFETY: no pointers; signal 0 only asks.
    said(unsafe { libc::syscall(libc::SYS_kill, 1, 0) })
}

fn become_root() -> io::Result<()> {
    // SAFETY: no pointers.
    said(unsafe { libc::syscall(libc::SYS_setuid, 0) })
}

fn executable_memory() -> io::Result<()> {
    let access = libc::PROT_WRITE | libc::PROT_EXEC;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0) };
    said(if map == libc::MAP_FAILED { -1 } else { 0 })
}

/// Returns only where it failed.
fn replace() -> io::Result<()> {
    Err(Command::new("/bin/true").exec())
}

/// `BPF_PROG_LOAD` of a program that does nothing: `r0 = 0; exit`.
fn load_program() -> io::Result<()> {
    const PROG_LOAD: i32 = 5;
    const SOCKET_FILTER: u64 = 1;
    let program: [u64; 2] = [0xb7, 0x95];
    let license = c"GPL";
    let mut attributes = [0u64; 16];
    attributes[0] = SOCKET_FILTER | 2 << 32;
    attributes[1] = program.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    let bytes = size_of_val(&attributes);
    // SAFETY: `attributes`, and what they point to, outlive the call.
    said(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, attributes.as_ptr(), bytes) })
}

fn trace() -> io::Result<()> {
    // SAFETY: the request takes no pointers.
    said(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) })
}

fn mount(at: &Path) -> io::Result<()> {
    let at = std::ffi::CString::new(at.as_os_str().as_encoded_bytes())?;
    let kind = c"tmpfs".as_ptr();
    // SAFETY: strings that end with zero and outlive the call.
    let mounted = unsafe { libc::mount(kind, at.as_ptr(), kind, 0, std::ptr::null()) };
    if mounted == 0 {
        // SAFETY: as above.
        unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
    }
    said(mounted.into())
}

/// Names the attempt of a process that makes one, as `NAME`, and where.
const ATTEMPT: &str = "TRAFFIC_TEST_ATTEMPT";
const OTHER: &str = "TRAFFIC_TEST_OTHER";
const OWN: &str = "TRAFFIC_TEST_OWN";

/// Makes the attempt that the environment names: exit code 0 when it succeeds, else the error.
pub(crate) fn attacker() -> Option<ExitCode> {
    let name = env::var(ATTEMPT).ok()?;
    let (_, attempt, _) = ATTEMPTS.iter().find(|(known, ..)| *known == name)?;
    let other = PathBuf::from(env::var_os(OTHER)?);
    // A process that talks to others before has what it may keep.
    let pair = UnixStream::pair();
    if let Some(own) = env::var_os(OWN) {
        let entered = widest(Path::new(&own)).enter();
        entered.expect("root may give up privileges");
    }
    let result = attempt(&other);
    drop(pair);
    let code = result
        .err()
        .map_or(0, |error| error.raw_os_error().unwrap_or(255));
    Some(ExitCode::from(u8::try_from(code).unwrap_or(254)))
}

/// What a capture has with every option but exports.
fn widest(own: &Path) -> Policy {
    let mut policy = Policy::default();
    policy.make_files_in(own);
    policy.use_terminal();
    policy.accept_clients();
    policy
}

struct Stage {
    own: tempfile::TempDir,
    other: tempfile::TempDir,
}

impl Stage {
    fn new() -> Result<Self> {
        let stage = Self {
            own: tempfile::tempdir()?,
            other: tempfile::tempdir()?,
        };
        fs::write(stage.other.path().join("file"), "secret")?;
        Ok(stage)
    }

    fn attempt(&self, name: &str, other: &Path, confined: bool) -> Result<End> {
        let mut command = Command::new(env::current_exe()?);
        command.env(ATTEMPT, name).env(OTHER, other);
        if confined {
            command.env(OWN, self.own.path());
        }
        let status = command.status().context("start the attacker")?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => End::Refused(code),
            (None, Some(libc::SIGSYS)) => End::Killed,
            (None, signal) => anyhow::bail!("{name}: ended by signal {signal:?}"),
        })
    }
}

/// An attempt that nothing refuses.
const DONE: End = End::Refused(0);

/// Whether the kernel tells a version of landlock's interface.
fn has_landlock() -> bool {
    const VERSION: u32 = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: the call takes no attribute, and its length is 0, when it is asked for the version.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    version > 0
}

fn what_a_capture_does_not_need_is_refused() -> Result<()> {
    let mut wrong = Vec::new();
    let has_landlock = has_landlock();
    for (name, _, expected) in ATTEMPTS {
        // Before Linux 5.13 files are kept by their owner and mode alone, and this is root.
        let is_allowed = *expected == DENIED && !has_landlock;
        let expected = if is_allowed { DONE } else { *expected };
        let stage = Stage::new()?;
        let free = stage.attempt(name, stage.other.path(), false)?;
        let stage = Stage::new()?;
        let confined = stage.attempt(name, stage.other.path(), true)?;
        if free != DONE || confined != expected {
            wrong.push(format!("{name}: free {free:?}, confined {confined:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

fn files_are_made_where_the_policy_says() -> Result<()> {
    let stage = Stage::new()?;
    fs::write(stage.own.path().join("file"), "own")?;
    for name in [
        "read another file",
        "write another file",
        "make another file",
    ] {
        let end = stage.attempt(name, stage.own.path(), true)?;
        ensure!(end == DONE, "{name} of one's own: {end:?}");
    }
    let name = "remove another file";
    let end = stage.attempt(name, stage.own.path(), true)?;
    ensure!(end == DONE, "{name} of one's own: {end:?}");
    Ok(())
}
