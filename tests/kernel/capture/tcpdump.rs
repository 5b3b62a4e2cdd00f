//! tcpdump beside the program under test.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use traffic_tests::{netns::Namespace, wait_until};

use crate::frame::{self, Frame};

/// Bytes of a frame that [`Tcpdump::start`] captures whole.
const LONGEST: &str = "16384";

/// A running tcpdump at full length with nanoseconds; killed on drop.
pub(crate) struct Tcpdump {
    child: Child,
    stderr: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Tcpdump {
    /// Starts it and waits until it listens. `direction` is `in`, `out` or `inout`. Frames have to
    /// be of at most [`LONGEST`] bytes.
    pub(crate) fn start(
        namespace: &Namespace,
        interface: &str,
        direction: &str,
        file: &Path,
    ) -> Result<Self> {
        // Immediate mode has slots of one size, so that large ones are few.
        let mode = ["-s", LONGEST, "--immediate-mode"];
        Self::with(namespace, interface, direction, file, &mode)
    }

    /// [`Tcpdump::start`] for frames of any length, which it writes once a second.
    pub(crate) fn start_at_full_length(
        namespace: &Namespace,
        interface: &str,
        direction: &str,
        file: &Path,
    ) -> Result<Self> {
        Self::with(namespace, interface, direction, file, &["-s", "0"])
    }

    fn with(
        namespace: &Namespace,
        interface: &str,
        direction: &str,
        file: &Path,
        mode: &[&str],
    ) -> Result<Self> {
        let mut child = namespace
            .command("tcpdump")
            .args(["-i", interface, "-Q", direction, "-n", "-U"])
            .args(["-B", "65536", "-Z", "root"])
            .args(mode)
            .args(["--time-stamp-precision=nano", "-w"])
            .arg(file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start tcpdump")?;
        let mut stderr = BufReader::new(child.stderr.take().context("stderr is piped")?);
        let mut said = String::new();
        while !said.contains("listening on") {
            let line = stderr.read_line(&mut said)?;
            ensure!(line > 0, "tcpdump ended: {said}");
        }
        Ok(Self {
            child,
            stderr,
            file: file.to_owned(),
        })
    }

    /// Waits until a frame that ends in `mark` was captured, and gives the frames before it.
    pub(crate) fn until(mut self, mark: &[u8]) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        wait_until(
            "the mark in tcpdump's file",
            Duration::from_secs(10),
            || {
                // While it is being written its last record may be cut short.
                let Ok(read) = frame::read(&self.file) else {
                    return false;
                };
                let marked = read.iter().position(|frame| frame.data.ends_with(mark));
                frames = read;
                frames.truncate(marked.unwrap_or_default());
                marked.is_some()
            },
        )?;
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        self.child.wait()?;
        ensure!(said.contains("\n0 packets dropped"), "{said}");
        Ok(frames)
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The frames before the one that ends in `mark`.
pub(crate) fn before(frames: impl IntoIterator<Item = Frame>, mark: &[u8]) -> Vec<Frame> {
    frames
        .into_iter()
        .take_while(|frame| !frame.data.ends_with(mark))
        .collect()
}
