//! Programs beside the one under test: servers, collectors, other tools.

use std::{ffi::OsStr, process::Command};

/// A program that the kernel kills when the thread that started it is gone, however that ended: an
/// interrupted test or measurement leaves none behind. `namespace` is the name of the one that it
/// is in, if that is not this process's. The process is the program itself: what is before it
/// replaces itself.
#[must_use]
pub fn command(namespace: Option<&str>, program: impl AsRef<OsStr>) -> Command {
    let mortal = ["setpriv", "--pdeathsig", "KILL", "--"];
    let mut command = match namespace {
        None => Command::new(mortal[0]),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, mortal[0]]);
            command
        }
    };
    command.args(&mortal[1..]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::process::ExitStatusExt, process::Child, thread, time::Duration};

    use super::*;
    use crate::wait_until;

    /// Starts a peer, and waits until it is the program.
    fn start() -> Child {
        let child = command(None, "sleep").arg("60").spawn().unwrap();
        let name = format!("/proc/{}/comm", child.id());
        let runs = || fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n");
        wait_until("the program", Duration::from_secs(20), runs).unwrap();
        child
    }

    #[test]
    fn a_peer_dies_with_what_started_it() {
        let mut started = thread::spawn(start).join().unwrap();
        let status = started.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{status}");
    }
}
