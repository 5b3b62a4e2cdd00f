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
    /// User and system time of its threads, in seconds, and those of its children.
    pub(crate) cpu_s: f64,
    /// Largest resident set so far, in bytes, and what its children take now.
    pub(crate) peak_bytes: u64,
}

impl Usage {
    /// Of a process and of those that it started.
    fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mut usage = Self {
            cpu_s: cpu_s(pid)?,
            peak_bytes: kilobytes(&status, "VmHWM:").context("read VmHWM")? << 10,
        };
        for child in children(pid)? {
            // What it shares with its parent was counted there (proc_pid_smaps).
            let memory = fs::read_to_string(format!("/proc/{child}/smaps_rollup"))?;
            let own = |name| kilobytes(&memory, name).with_context(|| format!("read {name}"));
            usage.cpu_s += cpu_s(child)?;
            usage.peak_bytes += (own("Private_Clean:")? + own("Private_Dirty:")?) << 10;
        }
        Ok(usage)
    }
}

/// Seconds on a CPU, of all threads.
fn cpu_s(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The first word: time on a CPU in nanoseconds (proc_pid_schedstat).
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let word = text.split(' ').next().unwrap_or_default();
        nanoseconds += word.parse::<u64>().context("read schedstat")?;
    }
    Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
}

/// The processes that `pid` started.
fn children(pid: u32) -> Result<Vec<u32>> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let is_child = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state and parent (proc_pid_stat).
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        parent.is_some_and(|parent| parent.parse() == Ok(pid))
    };
    Ok(processes.filter(is_child).collect())
}

/// The number in the line that begins with `key`.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches(" kB").parse().ok()
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

    /// What it and the processes that it started have used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
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
