//! A file in place of flags of `traffic capture`.
//!
//! There is no second list of options: a key of the file is the name of a flag, and becomes that
//! flag before clap reads the command line. Flags of the command line go before the file.

mod example;
mod flag;

use std::{
    ffi::{OsStr, OsString},
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgMatches, Args, Command, CommandFactory as _, FromArgMatches as _, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use thiserror::Error;
use toml::de::DeTable;

pub use self::example::example;
use super::Cli;

/// The subcommand whose flags a file may hold.
const CAPTURE: &str = "capture";
/// What only a command line can say.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// Arguments of `traffic config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// Subcommands of `traffic config`.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Checks a file, and prints the command line that it stands for.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Prints a file with every key, each in a comment with its default.
    Example,
}

/// Why a command line cannot be followed.
#[derive(Debug, Error)]
pub enum CommandLineError {
    /// What clap says; also that help was asked for.
    #[error(transparent)]
    Refused(#[from] clap::Error),
    /// The file of `--config` cannot be read.
    #[error("read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of `--config` says what cannot be: a line for each problem.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

impl CommandLineError {
    /// Whether what was asked for is wrong, not what became of it.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Unreadable { .. })
    }
}

/// A place in a file, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            column,
            message,
        } = self;
        write!(f, "{}:{line}:{column}: {message}", path.display())
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

impl Cli {
    /// Reads a command line, and the file that its `--config` names.
    ///
    /// # Errors
    /// When one of them, or both together, ask for what cannot be.
    pub fn from_command_line(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, CommandLineError> {
        let words: Vec<_> = words.into_iter().collect();
        // What is missing on the command line may stand in the file.
        let given = Self::command()
            .ignore_errors(true)
            .try_get_matches_from(&words)?;
        let capture = given.subcommand_matches(CAPTURE);
        let matches = match capture.and_then(|given| Some((given, file(given)?))) {
            Some((given, path)) => File::read(path)?.complete(&words, given)?,
            None => Self::command().try_get_matches_from(&words)?,
        };
        Ok(Self::from_arg_matches(&matches)?)
    }
}

fn file(given: &ArgMatches) -> Option<&Path> {
    given.get_one::<PathBuf>("config").map(PathBuf::as_path)
}

/// Checks the file at `path`; the words of the command line that it stands for.
///
/// # Errors
/// When it cannot be read, or says what cannot be.
pub fn check(path: &Path) -> Result<Vec<OsString>, CommandLineError> {
    let file = File::read(path)?;
    let words = ["traffic", CAPTURE].map(OsString::from);
    file.complete(&words, &ArgMatches::default())?;
    Ok(words.into_iter().chain(file.words().cloned()).collect())
}

/// A file whose keys and values, each for itself, are right.
struct File {
    text: Text,
    settings: Vec<Setting>,
}

/// A key of the file.
struct Setting {
    /// Of the key.
    span: Range<usize>,
    /// The flag.
    flag: Arg,
    /// What stands on a command line for it.
    words: Vec<OsString>,
}

impl File {
    fn read(path: &Path) -> Result<Self, CommandLineError> {
        let content = fs::read_to_string(path).map_err(|source| CommandLineError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, content)
    }

    fn parse(path: &Path, content: String) -> Result<Self, CommandLineError> {
        let text = Text {
            path: path.to_owned(),
            content,
        };
        let capture = capture();
        let (table, errors) = DeTable::parse_recoverable(&text.content);
        let mut problems: Vec<_> = errors
            .iter()
            .map(|error| text.problem(&error.span().unwrap_or_default(), error.message()))
            .collect();
        let mut settings = Vec::new();
        for (key, value) in table.get_ref() {
            match flag::find(&capture, key.get_ref()) {
                Ok(flag) => {
                    let (words, wrong) = flag::words(&capture, flag, key.get_ref(), value);
                    problems.extend(wrong.iter().map(|(span, why)| text.problem(span, why)));
                    settings.push(Setting {
                        span: key.span(),
                        flag: flag.clone(),
                        words,
                    });
                }
                Err(why) => problems.push(text.problem(&key.span(), &why)),
            }
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            return Err(CommandLineError::Wrong(problems));
        }
        settings.sort_by_key(|setting| setting.span.start);
        Ok(Self { text, settings })
    }

    fn words(&self) -> impl Iterator<Item = &OsString> {
        self.settings.iter().flat_map(|setting| &setting.words)
    }

    /// Parses `words` with the keys that they leave to the file; `given` is what they say alone.
    fn complete(
        &self,
        words: &[OsString],
        given: &ArgMatches,
    ) -> Result<ArgMatches, CommandLineError> {
        let capture = capture();
        let explicit: Vec<&Arg> = capture
            .get_arguments()
            .filter(|flag| is_given(given, flag))
            .collect();
        let settings: Vec<&Setting> = self
            .settings
            .iter()
            .filter(|setting| {
                let excludes = |flag| excludes(&capture, flag, &setting.flag);
                !explicit.iter().copied().any(excludes)
            })
            .collect();
        parse(words, &settings).map_err(|error| self.locate(error, words, &settings))
    }

    /// Names the key that an error comes from, if it comes from one.
    fn locate(
        &self,
        error: clap::Error,
        words: &[OsString],
        settings: &[&Setting],
    ) -> CommandLineError {
        if parse(words, &[]).is_err_and(|alone| alone.kind() == error.kind()) {
            return error.into();
        }
        let why = reason(&error);
        let causes =
            |settings: &[&Setting]| parse(words, settings).is_err_and(|e| reason(&e) == why);
        let alone = settings.iter().find(|setting| causes(&[setting]));
        let last = || {
            let ends = 1..=settings.len();
            let end = ends.into_iter().find(|&end| causes(&settings[..end]))?;
            settings.get(end - 1)
        };
        match alone.or_else(last) {
            Some(setting) => CommandLineError::Wrong(vec![self.text.problem(&setting.span, &why)]),
            None => error.into(),
        }
    }
}

/// The text of a file, to tell places in it.
struct Text {
    path: PathBuf,
    content: String,
}

impl Text {
    fn problem(&self, span: &Range<usize>, message: &str) -> Problem {
        let before = self.content.get(..span.start).unwrap_or(&self.content);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Problem {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.to_owned(),
        }
    }
}

/// The subcommand as clap knows it.
fn capture() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand(CAPTURE)
        .expect("there is such a subcommand")
        .clone()
}

fn is_given(given: &ArgMatches, flag: &Arg) -> bool {
    given.try_contains_id(flag.get_id().as_str()).is_ok()
        && given.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// Whether `given`, on the command line, leaves no room for `other` in the file.
fn excludes(capture: &Command, given: &Arg, other: &Arg) -> bool {
    let names = |one: &Arg, two: &Arg| {
        let conflicts = capture.get_arg_conflicts_with(one);
        conflicts.iter().any(|flag| flag.get_id() == two.get_id())
    };
    given.get_id() == other.get_id() || names(given, other) || names(other, given)
}

/// Parses `words` with those of `settings` behind the subcommand's name.
fn parse(words: &[OsString], settings: &[&Setting]) -> Result<ArgMatches, clap::Error> {
    let name = words.iter().position(|word| word == CAPTURE);
    let (before, after) = words.split_at(name.map_or(words.len(), |name| name + 1));
    let settings = settings.iter().flat_map(|setting| &setting.words);
    Cli::command().try_get_matches_from(before.iter().chain(settings).chain(after))
}

/// What clap says, in a line.
fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.trim_start_matches("error: ").to_owned()
}

/// The flag that clap would rather have seen.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let suggested = error.get(ContextKind::SuggestedArg)?;
    if let ContextValue::String(flag) = suggested {
        Some(flag.trim_start_matches('-'))
    } else {
        None
    }
}

/// Whether an error is about one flag's value, whatever the others say.
fn is_about_value(error: &clap::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict
    )
}

/// Parses flags of `capture` alone.
fn try_flags<S: AsRef<OsStr>>(capture: &Command, words: &[S]) -> Result<ArgMatches, clap::Error> {
    let words = words.iter().map(|word| word.as_ref().to_owned());
    let name = OsString::from(CAPTURE);
    capture
        .clone()
        .try_get_matches_from(std::iter::once(name).chain(words))
}

#[cfg(test)]
mod tests;
