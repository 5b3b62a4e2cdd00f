//! What became of the tests on every kernel, as a table.

use std::{collections::BTreeMap, fmt::Write as _};

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It could not run; why, in a line.
    NotRun(String),
}

/// What became of the tests on one kernel.
#[derive(Debug)]
pub(crate) struct Column {
    /// The kernel, as it was asked for.
    pub(crate) kernel: String,
    /// Its release, as `uname -r` there.
    pub(crate) release: String,
    /// By name.
    pub(crate) tests: BTreeMap<String, Outcome>,
}

impl Column {
    /// A kernel that has said nothing yet.
    pub(crate) fn new(kernel: &str) -> Self {
        Self {
            kernel: kernel.to_owned(),
            release: "not booted".to_owned(),
            tests: BTreeMap::new(),
        }
    }

    /// How many tests ended so.
    pub(crate) fn count(&self, is_such: impl Fn(&Outcome) -> bool) -> u64 {
        self.tests
            .values()
            .map(|outcome| u64::from(is_such(outcome)))
            .sum()
    }
}

/// From `test NAME ... OUTCOME`. A test may print between; then the outcome stands alone.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    running: Option<String>,
}

impl Reader {
    /// Takes a line of a test binary; gives the test that ended with it.
    pub(crate) fn read(&mut self, line: &str) -> Option<(String, Outcome)> {
        let mut rest = line;
        if let Some((name, behind)) = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "))
        {
            self.running = Some(name.to_owned());
            rest = behind;
        }
        let outcome = if rest == "ok" {
            Outcome::Passed
        } else if rest.starts_with("FAILED") {
            Outcome::Failed
        } else {
            Outcome::NotRun(
                rest.strip_prefix("not run (")?
                    .strip_suffix(')')?
                    .to_owned(),
            )
        };
        Some((self.running.take()?, outcome))
    }

    /// The test that has not ended.
    pub(crate) fn take_running(&mut self) -> Option<String> {
        self.running.take()
    }
}

/// A row for every test, a column for every kernel, and below it why tests did not run.
pub(crate) fn table(columns: &[Column]) -> String {
    let mut names: Vec<&String> = columns
        .iter()
        .flat_map(|column| column.tests.keys())
        .collect();
    names.sort();
    names.dedup();
    let width = names
        .iter()
        .map(|name| name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!("{:width$}", "test");
    for column in columns {
        let _ = write!(text, "  {:>7}", column.kernel);
    }
    text.push('\n');
    for name in names {
        let _ = write!(text, "{name:width$}");
        for column in columns {
            let word = match column.tests.get(name) {
                Some(Outcome::Passed) => "pass",
                Some(Outcome::Failed) => "FAILED",
                Some(Outcome::NotRun(_)) => "not run",
                None => "-",
            };
            let _ = write!(text, "  {word:>7}");
        }
        text.push('\n');
    }
    for column in columns {
        let _ = writeln!(text, "{} is Linux {}", column.kernel, column.release);
    }
    text.push_str(&reasons(columns));
    text
}

/// Every reason once, with the kernels and how many tests it kept from running.
fn reasons(columns: &[Column]) -> String {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for column in columns {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for outcome in column.tests.values() {
            if let Outcome::NotRun(reason) = outcome {
                *counts.entry(reason).or_default() += 1;
            }
        }
        for (reason, count) in counts {
            let kernels = reasons.entry(reason).or_default();
            kernels.push(format!("{count} on {}", column.kernel));
        }
    }
    let lines = reasons
        .iter()
        .map(|(reason, kernels)| ["not run: ", &kernels.join(", "), " (", reason, ")\n"].concat());
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_with_and_without_output_between() {
        let mut reader = Reader::default();
        let mut read = |line: &str| reader.read(line);
        assert_eq!(
            read("test a ... ok"),
            Some(("a".to_owned(), Outcome::Passed))
        );
        assert_eq!(read("test b ... 3 variants"), None);
        assert_eq!(read("more"), None);
        assert_eq!(read("ok"), Some(("b".to_owned(), Outcome::Passed)));
        assert_eq!(
            read("test c ... not run (needs tcpdump)"),
            Some(("c".to_owned(), Outcome::NotRun("needs tcpdump".to_owned())))
        );
        assert_eq!(
            read("test d ... FAILED"),
            Some(("d".to_owned(), Outcome::Failed))
        );
        assert_eq!(read("ok"), None);
    }

    #[test]
    fn the_table_has_a_word_for_every_test_and_a_line_for_every_reason() {
        let mut old = Column::new("5.10");
        old.release = "5.10.0".to_owned();
        old.tests.insert("a".to_owned(), Outcome::Passed);
        old.tests
            .insert("b".to_owned(), Outcome::NotRun("needs tcx".to_owned()));
        let mut new = Column::new("newest");
        new.tests.insert("b".to_owned(), Outcome::Failed);
        assert_eq!(
            table(&[old, new]),
            "test     5.10   newest\n\
             a        pass        -\n\
             b     not run   FAILED\n\
             5.10 is Linux 5.10.0\n\
             newest is Linux not booted\n\
             not run: 1 on 5.10 (needs tcx)\n"
        );
    }
}
