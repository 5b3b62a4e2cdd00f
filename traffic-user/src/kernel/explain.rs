//! Diagnostic lines of the programs, in words.

use log::{Log, Metadata, Record};
use traffic_ebpf::parse::ParseError;

/// What stands in front of the code in a program's line.
const MARK: &str = "parse error ";

/// Passes the programs' lines on, with names of parse errors for their codes: programs have no
/// strings to choose from.
pub(super) struct Explain;

impl Log for Explain {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let line = explain(&record.args().to_string());
        log::logger().log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .args(format_args!("{line}"))
                .build(),
        );
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

fn explain(line: &str) -> String {
    let error = line.rsplit_once(MARK).and_then(|(before, code)| {
        let error = ParseError::from_code(code.trim().parse().ok()?)?;
        Some(format!("{before}{}", error.label().replace('_', " ")))
    });
    error.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_names() {
        assert_eq!(
            explain("18 bytes: parse error 5"),
            "18 bytes: truncated ipv4 header"
        );
        assert_eq!(explain("parse error 200"), "parse error 200");
        assert_eq!(explain("other"), "other");
    }
}
