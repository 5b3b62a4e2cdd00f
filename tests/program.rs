//! The program under test as a process.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{netns::Namespace, wait_until};

pub(crate) const BINARY: &str = "TRAFFIC_BIN";
pub(crate) const OBJECT: &str = "TRAFFIC_EBPF_OBJ";

/// What `traffic capture` writes to stderr once its gate is open.
const LISTENING: &str = "listening on";
/// Loading and attaching takes well under a second on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_mins(1);

/// Path of the program `traffic`, for tests with [`crate::Need::Program`].
///
/// # Panics
/// Without that need.
#[must_use]
pub fn binary() -> PathBuf {
    env::var_os(BINARY)
        .expect("the test declares Need::Program")
        .into()
}

/// Path of the eBPF object, for tests with [`crate::Need::Object`].
///
/// # Panics
/// Without that need.
#[must_use]
pub fn object() -> PathBuf {
    env::var_os(OBJECT)
        .expect("the test declares Need::Object")
        .into()
}

/// Runs `traffic ARGS` to its end, without a terminal.
///
/// # Errors
/// When it cannot start.
pub fn traffic<S: AsRef<OsStr>>(args: &[S]) -> Result<Output> {
    Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("run traffic")
}

/// A running `traffic capture`; killed on drop.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Receiver<String>,
    notes: String,
    directory: TempDir,
}

/// How a [`Capture`] ended.
#[derive(Debug)]
pub struct Captured {
    /// Exit status.
    pub status: ExitStatus,
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// Everything on stderr.
    pub stderr: String,
    /// The JSON report; null when none was written.
    pub report: serde_json::Value,
}

impl Capture {
    /// Starts `traffic capture ARGS` in `namespace`, asks it for a JSON report, and waits until it
    /// listens.
    ///
    /// # Errors
    /// When it ends or a deadline passes before it listens; with its stderr.
    pub fn start(namespace: &Namespace, args: &[&str]) -> Result<Self> {
        Self::start_as(namespace.command(binary()), args)
    }

    /// [`Capture::start`] with variables in its environment.
    ///
    /// # Errors
    /// As [`Capture::start`].
    pub fn start_with(
        namespace: &Namespace,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut program = namespace.command(binary());
        program.envs(environment.iter().copied());
        Self::start_as(program, args)
    }

    fn start_as(mut program: Command, args: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut child = program
            .arg("capture")
            .args(args)
            .arg("--json")
            .arg(directory.path().join("report.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start traffic capture")?;
        let stdout = child.stdout.take().map(read_in_background);
        let stderr = child.stderr.take().map(lines).context("stderr is piped")?;
        let mut capture = Self {
            child,
            stdout,
            stderr,
            notes: String::new(),
            directory,
        };
        capture.wait_for_note(LISTENING, START_DEADLINE)?;
        Ok(capture)
    }

    /// Waits for a line on stderr that contains `part`.
    ///
    /// # Errors
    /// When the program ends or `deadline` passes before; with what it said so far.
    pub fn wait_for_note(&mut self, part: &str, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.stderr.recv_timeout(left) else {
                bail!("wait for '{part}' on stderr, which said:\n{}", self.notes);
            };
            self.notes.push_str(&line);
            self.notes.push('\n');
            if line.contains(part) {
                return Ok(());
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id is a positive i32")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to traffic"))
    }

    /// Sends SIGINT and waits for the end.
    ///
    /// # Errors
    /// As [`Capture::finish`].
    pub fn interrupt(self) -> Result<Captured> {
        self.signal(Signal::SIGINT)?;
        self.finish()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not end, or its report cannot be read.
    pub fn finish(mut self) -> Result<Captured> {
        wait_until("the end of traffic capture", STOP_DEADLINE, || {
            !matches!(self.child.try_wait(), Ok(None))
        })?;
        let status = self.child.wait()?;
        // The writing end is closed: the channel gives what is left and then ends.
        for line in &self.stderr {
            self.notes.push_str(&line);
            self.notes.push('\n');
        }
        let report = self.directory.path().join("report.json");
        let stdout = self.stdout.take().and_then(|reader| reader.join().ok());
        Ok(Captured {
            status,
            stdout: stdout.context("read stdout of traffic capture")?,
            stderr: std::mem::take(&mut self.notes),
            report: match std::fs::read(report) {
                // Empty when the program was killed.
                Ok(bytes) if !bytes.is_empty() => {
                    serde_json::from_slice(&bytes).context("read report.json")?
                }
                Ok(_) | Err(_) => serde_json::Value::Null,
            },
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_in_background(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error stays in `bytes`.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
