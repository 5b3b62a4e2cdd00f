//! From a key and its value to the words of a command line.

use std::{ffi::OsString, ops::Range};

use clap::{Arg, ArgAction, Command};
use toml::{Spanned, de::DeValue};

use super::{NOT_IN_FILES, is_about_value, reason, suggestion, try_flags};

/// What is wrong, and where.
type Wrong = (Range<usize>, String);

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// On or off.
    Nothing,
    /// It counts how often it stands there.
    Times,
    /// One value.
    Value,
    /// A value each time it stands there.
    Values,
}

impl Takes {
    pub(super) fn of(flag: &Arg) -> Self {
        let action = flag.get_action();
        if matches!(action, ArgAction::Count) {
            Self::Times
        } else if matches!(action, ArgAction::Append) {
            Self::Values
        } else if action.takes_values() {
            Self::Value
        } else {
            Self::Nothing
        }
    }
}

/// The flags that a file may hold.
pub(super) fn all(capture: &Command) -> impl Iterator<Item = &Arg> {
    capture
        .get_arguments()
        .filter(|flag| !flag.is_positional() && !NOT_IN_FILES.contains(&flag.get_id().as_str()))
}

/// The key of a flag: its long name, or its letter where it has no other.
pub(super) fn key(flag: &Arg) -> String {
    let long = flag.get_long().map(str::to_owned);
    long.or_else(|| flag.get_short().map(String::from))
        .expect("a flag that is not positional has a name")
}

/// The flag that `key` names, by its long name or its letter.
pub(super) fn find<'a>(capture: &'a Command, key: &str) -> Result<&'a Arg, String> {
    let mut letters = key.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    let is_named =
        |flag: &Arg| flag.get_long() == Some(key) || letter.is_some() && flag.get_short() == letter;
    all(capture).find(|flag| is_named(flag)).ok_or_else(|| {
        let nearest = match try_flags(capture, &[format!("--{key}")]) {
            Err(error) => suggestion(&error).map(str::to_owned),
            Ok(_) => None,
        };
        match nearest.filter(|name| !NOT_IN_FILES.contains(&name.as_str())) {
            Some(name) => format!("unknown key {key}: did you mean {name}?"),
            None => format!("unknown key {key}: keys are the flags of `traffic capture`"),
        }
    })
}

/// What stands for `key = value` on a command line, and what is wrong with it.
pub(super) fn words(
    capture: &Command,
    flag: &Arg,
    key: &str,
    value: &Spanned<DeValue<'_>>,
) -> (Vec<OsString>, Vec<Wrong>) {
    let values = match value.get_ref().as_array() {
        Some(values) if Takes::of(flag) == Takes::Values => values.iter().collect(),
        _ => vec![value],
    };
    let (mut words, mut wrong) = (Vec::new(), Vec::new());
    for value in values {
        match word(flag, value.get_ref()) {
            Some(some) => {
                match try_flags(capture, &some) {
                    Err(error) if is_about_value(&error) => {
                        wrong.push((value.span(), reason(&error)));
                    }
                    Err(_) | Ok(_) => {}
                }
                words.extend(some);
            }
            None => wrong.push((value.span(), mismatch(flag, key, value.get_ref()))),
        }
    }
    (words, wrong)
}

/// The words for one value; `None` where it is of a type that the flag cannot take.
fn word(flag: &Arg, value: &DeValue<'_>) -> Option<Vec<OsString>> {
    let name = match (flag.get_long(), flag.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, short) => format!("-{}", short?),
    };
    let text = match (Takes::of(flag), value) {
        (Takes::Nothing | Takes::Times, DeValue::Boolean(on)) => {
            return Some(vec![name.into(); usize::from(*on)]);
        }
        (Takes::Times, DeValue::Integer(times)) => {
            let times: u8 = times.as_str().parse().ok()?;
            return Some(vec![name.into(); usize::from(times)]);
        }
        (Takes::Value | Takes::Values, DeValue::String(text)) => text.as_ref(),
        (Takes::Value | Takes::Values, DeValue::Integer(number)) if number.radix() == 10 => {
            number.as_str()
        }
        (Takes::Value | Takes::Values, DeValue::Float(number)) => number.as_str(),
        _ => return None,
    };
    Some(vec![format!("{name}={text}").into()])
}

fn mismatch(flag: &Arg, key: &str, value: &DeValue<'_>) -> String {
    let allowed = match Takes::of(flag) {
        Takes::Nothing => "true or false",
        Takes::Times => "0 to 255, true or false",
        Takes::Value => "a string or a number",
        Takes::Values => "a string, a number, or an array of them",
    };
    format!("{key} is {allowed}, not {}", of_type(value))
}

fn of_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "this integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
