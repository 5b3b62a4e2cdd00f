//! Where and when something was measured.

use std::{fs, process::Command};

use serde::Serialize;

/// The machine and its load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Environment {
    kernel: String,
    cpu: String,
    cpus: usize,
    memory_gib: u64,
    /// Runnable tasks, averaged over one minute.
    load: String,
    date: String,
}

impl Environment {
    pub(crate) fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: kernel.trim().to_owned(),
            cpu: field(&cpuinfo, "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: field(&memory, "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or(0)
                >> 20,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            date: output("date", &["--utc", "--iso-8601=minutes"]),
        }
    }

    /// One line.
    pub(crate) fn text(&self) -> String {
        let Self {
            kernel,
            cpu,
            cpus,
            memory_gib,
            load,
            date,
        } = self;
        format!(
            "{date}, Linux {kernel}, {cpus} × {cpu}, {memory_gib} GiB, load average {load} \
             (1 minute)"
        )
    }
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

/// The first line that a command prints; empty when it cannot run.
pub(crate) fn output(program: &str, args: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(args).output() else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().trim().to_owned()
}
