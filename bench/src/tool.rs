//! A tool under test as a process: started, watched, stopped, and what it used.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const START_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_mins(2);

/// A running tool; killed on drop.
pub(crate) struct Tool {
    child: Child,
    lines: Receiver<String>,
    output: String,
    /// From its start until it said that it listens.
    pub(crate) start: Duration,
}

/// What a tool has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of its threads, in seconds.
    pub(crate) cpu_s: f64,
    /// Largest resident set so far, in bytes.
    pub(crate) peak_bytes: u64,
}

impl Tool {
    /// Starts `command` and waits until a line of its output has `ready` in it.
    pub(crate) fn start(command: &mut Command, ready: &str) -> Result<Self> {
        let before = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        read_lines(stdout, sender.clone());
        read_lines(stderr, sender);
        let mut tool = Self {
            child,
            lines,
            output: String::new(),
            start: Duration::ZERO,
        };
        tool.wait_for(ready)?;
        tool.start = before.elapsed();
        Ok(tool)
    }

    fn wait_for(&mut self, ready: &str) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.output.push_str(&line);
                    self.output.push('\n');
                    if line.contains(ready) {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!("it never said `{ready}`:\n{}", self.output)
                }
            }
        }
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let process = format!("/proc/{}", self.child.id());
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("{process}/task"))? {
            // The first word: time on a CPU in nanoseconds (proc_pid_schedstat).
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let word = text.split(' ').next().unwrap_or_default();
            nanoseconds += word.parse::<u64>().context("read schedstat")?;
        }
        let status = fs::read_to_string(format!("{process}/status"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .context("read VmHWM")?;
        Ok(Usage {
            cpu_s: Duration::from_nanos(nanoseconds).as_secs_f64(),
            peak_bytes: peak << 10,
        })
    }

    /// Interrupts it, as Ctrl-C would, and returns everything that it printed.
    pub(crate) fn stop(mut self) -> Result<String> {
        let pid = i32::try_from(self.child.id()).context("process ids are positive")?;
        kill(Pid::from_raw(pid), Signal::SIGINT).context("stop the tool")?;
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.output.push_str(&line);
                    self.output.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("it does not stop:\n{}", self.output),
            }
        }
        self.child.wait()?;
        Ok(std::mem::take(&mut self.output))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stream: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    thread::spawn(move || {
        // A counter that is redrawn ends in a carriage return.
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}
