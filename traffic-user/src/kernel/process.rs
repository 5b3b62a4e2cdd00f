//! Splitting the process in two, while it has one thread.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use nix::{
    sys::{
        prctl,
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, close, dup2_stdin, dup2_stdout, fork, setpgid},
};

/// Signals that are meant for the process that was started, and that a group of processes gets.
const FOR_THE_FIRST: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Exit code of a part that panicked.
const PANICKED: i32 = 101;

/// The other part of the process, and the line to it.
#[derive(Debug)]
pub struct Part {
    line: UnixStream,
    id: Pid,
}

/// Descriptors that the other part keeps beside its line and stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Maps, programs and links of eBPF.
    Bpf,
    /// Stdout.
    Stdout,
}

impl Part {
    /// Starts a process that does `work` with its end of the line, and ends after it. It ends by
    /// itself alone: signals to the group do not reach it.
    ///
    /// # Errors
    /// When this process has several threads, or the kernel refuses.
    pub fn start(keep: Keep, work: impl FnOnce(UnixStream)) -> io::Result<Self> {
        let threads = fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            let message = format!("the process has {threads} threads and cannot be split");
            return Err(io::Error::other(message));
        }
        let (line, other) = UnixStream::pair()?;
        // A signal must not run this part's handlers in the other one.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        // SAFETY: there is one thread (checked above), so that the child has everything in a state
        // in which one thread left it.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            // What the parent's frames own stays untouched: the child never returns to them.
            let done = catch_unwind(AssertUnwindSafe(|| {
                prepare(keep, &other, mask).map(|()| work(other))
            }));
            let code = match done {
                Ok(Ok(())) => 0,
                Ok(Err(_)) => 1,
                Err(_) => PANICKED,
            };
            // SAFETY: ends the process without running what the parent registered for its end.
            unsafe { libc::_exit(code) };
        }
        mask.thread_set_mask()?;
        match forked? {
            ForkResult::Parent { child } => Ok(Self { line, id: child }),
            ForkResult::Child => unreachable!("the child has exited"),
        }
    }

    /// This end of the line.
    #[must_use]
    pub fn line(&self) -> &UnixStream {
        &self.line
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id.as_raw()
    }

    /// Waits for its end, which it takes as asked for when the line is closed.
    pub fn join(self) {
        drop(self.line);
        // It may have been reaped by others.
        let _ = waitpid(self.id, None);
    }
}

/// Makes the child a process of its own.
fn prepare(keep: Keep, line: &UnixStream, mask: SigSet) -> io::Result<()> {
    extern "C" fn leave_it(_: libc::c_int) {}
    // A handler, not SIG_IGN: programs that are started later have the default again.
    let handler = SigHandler::Handler(leave_it);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    for signal in FOR_THE_FIRST {
        // SAFETY: the handler does nothing.
        unsafe { sigaction(signal, &action) }?;
    }
    mask.thread_set_mask()?;
    // Whoever stops or kills the first process's group leaves this one to clean up.
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    // Nobody who runs as the same user looks inside.
    prctl::set_dumpable(false)?;
    let nothing = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&nothing)?;
    if keep != Keep::Stdout {
        dup2_stdout(&nothing)?;
    }
    drop(nothing);
    close_others(keep, line.as_raw_fd())
}

/// Closes what the parent had open. The values that own these descriptors are the parent's: the
/// child neither uses nor drops them.
fn close_others(keep: Keep, line: RawFd) -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open {
        let is_bpf = || {
            fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|target| is_bpf_object(&target))
        };
        let kept = fd <= libc::STDERR_FILENO || fd == line || (keep == Keep::Bpf && is_bpf());
        if !kept {
            // The one of the listing itself is closed already.
            let _ = close(fd);
        }
    }
    Ok(())
}

/// As the kernel names them: `anon_inode:bpf-map`, `bpf-prog`, `bpf_link`, `btf`.
fn is_bpf_object(target: &Path) -> bool {
    let name = target.to_string_lossy();
    name.strip_prefix("anon_inode:")
        .map(|name| name.trim_matches(['[', ']']))
        .is_some_and(|name| name.starts_with("bpf") || name == "btf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_objects_are_told_by_their_names() {
        for name in [
            "anon_inode:bpf-map",
            "anon_inode:[bpf_link]",
            "anon_inode:btf",
        ] {
            assert!(is_bpf_object(Path::new(name)), "{name}");
        }
        for name in ["anon_inode:[eventpoll]", "socket:[1]", "/tmp/bpf-map"] {
            assert!(!is_bpf_object(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_process_with_threads_is_not_split() {
        let other = std::thread::spawn(std::thread::park);
        let error = Part::start(Keep::Bpf, drop).unwrap_err();
        other.thread().unpark();
        other.join().unwrap();
        assert!(error.to_string().contains("threads"), "{error}");
    }
}
