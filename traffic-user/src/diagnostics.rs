//! Lines on stderr: the log, and what else is said while a capture runs.

use std::{
    io::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use log::{LevelFilter, Log, Metadata, Record};

/// Lines that wait at most; what comes after the first ones is left out, because they say most.
const HELD_LINES: usize = 1000;

/// Lines that wait because the terminal is in use.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Vec<String>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line to stderr, now or when the terminal is free again.
pub fn say(line: &str) {
    match &mut *held() {
        Some(lines) if lines.len() < HELD_LINES => lines.push(line.to_owned()),
        Some(_) => {}
        None => print(line),
    }
}

/// A terminal that went away hears nothing; what is still to be done matters more.
fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Keeps lines back from now on.
pub fn hold() {
    held().get_or_insert_default();
}

/// Prints the lines that were kept back, and the later ones at once.
pub fn release() {
    let lines = held().take().unwrap_or_default();
    for line in lines {
        print(&line);
    }
}

/// The newest line that is kept back.
#[must_use]
pub fn last_held() -> Option<String> {
    held().as_ref()?.last().cloned()
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries say more than users want to know; the programs' own words come through
        // aya-log under the name of the eBPF binary.
        metadata.target().starts_with("traffic") || metadata.level() <= LevelFilter::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            say(&format!("{level}: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Sends log lines to stderr: warnings, from `-v` on information, from `-vv` on everything.
pub fn init(verbosity: i16) {
    let level = match verbosity {
        ..0 => LevelFilter::Error,
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2.. => LevelFilter::Debug,
    };
    // A second call, in tests, changes only the level.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}
