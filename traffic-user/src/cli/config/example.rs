//! A file with every key, made of the help texts.

use std::fmt::Write as _;

use clap::Arg;

use super::{
    capture,
    flag::{self, Takes},
};

/// Longest line.
const WIDTH: usize = 96;

/// A file with every key: the help text above it, and the key in a comment with its default, or
/// with what stands for its value.
#[must_use]
pub fn example() -> String {
    let mut text = "# Keys are the long names of the flags of `traffic capture`, or their letters \
                    where they\n# have no other. Flags on the command line go before this file.\n"
        .to_owned();
    let capture = capture();
    for flag in flag::all(&capture) {
        text.push('\n');
        for line in wrapped(&help(flag)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "#{} = {}", flag::key(flag), value(flag));
    }
    text
}

fn help(flag: &Arg) -> String {
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    let values = flag.get_possible_values();
    let names: Vec<_> = values
        .iter()
        .map(clap::builder::PossibleValue::get_name)
        .collect();
    if names.is_empty() || !flag.get_action().takes_values() {
        format!("{help}.")
    } else {
        format!("{help}. One of: {}.", names.join(", "))
    }
}

/// The default; what stands for a value where there is none.
fn value(flag: &Arg) -> String {
    let default = flag.get_default_values().first();
    let default = default.map(|value| value.to_string_lossy().into_owned());
    let placeholder = flag.get_value_names().and_then(<[_]>::first);
    let text = default.or_else(|| placeholder.map(ToString::to_string));
    match Takes::of(flag) {
        Takes::Nothing => "false".to_owned(),
        Takes::Times => "0".to_owned(),
        Takes::Value => literal(&text.unwrap_or_default()),
        Takes::Values => format!("[{}]", literal(&text.unwrap_or_default())),
    }
}

fn literal(text: &str) -> String {
    if text.parse::<u64>().is_ok() {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + word.chars().count() < WIDTH - 2 {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
