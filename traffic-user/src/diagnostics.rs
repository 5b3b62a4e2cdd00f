//! Log lines on stderr.

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries say more than users want to know; the programs' own words come through
        // aya-log under the name of the eBPF binary.
        metadata.target().starts_with("traffic") || metadata.level() <= LevelFilter::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!(
                "{}: {}",
                record.level().as_str().to_lowercase(),
                record.args()
            );
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
