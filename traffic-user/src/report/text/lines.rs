//! Lines of the text: headings, rows of tables, fields, sentences.

use std::fmt::{self, Write};

use crate::report::{
    Report,
    number::{count, printable},
};

/// Columns of a label, of packets and of bytes: together 80.
pub(super) const LABEL: usize = 42;
pub(super) const PACKETS: usize = 15;
pub(super) const BYTES: usize = 23;
/// Columns of the names in front of single values.
pub(super) const FIELD: usize = 22;
pub(super) const WIDTH: usize = LABEL + PACKETS + BYTES;

/// Columns of a percentage, and what is left of a label beside it.
pub(super) const SHARE: usize = 10;
pub(super) const LABEL_NAME: usize = LABEL - SHARE - 1;

/// What marks a column as estimated; nothing where it is counted.
pub(super) fn estimated(report: &Report) -> &'static str {
    if report.sampled.is_some() {
        " (est.)"
    } else {
        ""
    }
}

pub(super) fn unit(name: &str, estimated: &str) -> String {
    format!("{name}{estimated}")
}

pub(super) fn write_heading(out: &mut String, heading: &str, estimated: &str) -> fmt::Result {
    let (packets, bytes) = (unit("packets", estimated), unit("bytes", estimated));
    writeln!(out, "\n{heading:<LABEL$}{packets:>PACKETS$}{bytes:>BYTES$}")
}

pub(super) fn write_row(out: &mut String, label: &str, packets: u64, bytes: u64) -> fmt::Result {
    write_label::<LABEL>(out, label)?;
    writeln!(out, "{:>PACKETS$}{:>BYTES$}", count(packets), count(bytes))
}

/// A label too long for its column has a line of its own.
pub(super) fn write_label<const COLUMNS: usize>(out: &mut String, label: &str) -> fmt::Result {
    let label = printable(label);
    if label.chars().count() <= COLUMNS {
        return write!(out, "{label:<COLUMNS$}");
    }
    write_wrapped(out, &label)?;
    write!(out, "{:<COLUMNS$}", "")
}

pub(super) fn write_field(out: &mut String, mut name: &str, value: &str) -> fmt::Result {
    for line in wrapped(value, WIDTH - FIELD) {
        writeln!(out, "{name:<FIELD$}{line}")?;
        name = "";
    }
    Ok(())
}

/// Breaks `text` between words so that no line is longer than the terminal.
pub(super) fn write_wrapped(out: &mut String, text: &str) -> fmt::Result {
    for line in wrapped(text, WIDTH) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Lines of `text`, broken between words so that they have at most `width` columns where words
/// do; one line at least.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in printable(text).split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}
