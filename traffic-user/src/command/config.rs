//! `traffic config`.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::cli::{self, ConfigAction, ConfigArgs};

/// Checks a configuration file, or prints one.
pub(super) fn run(args: &ConfigArgs) -> Result<ExitCode> {
    let text = match &args.action {
        ConfigAction::Check { file } => {
            let words = cli::check_config(file)?;
            let words: Vec<_> = words
                .iter()
                .map(|word| quoted(&word.to_string_lossy()))
                .collect();
            format!("{}\n", words.join(" "))
        }
        ConfigAction::Example => cli::example_config(),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).context("write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
