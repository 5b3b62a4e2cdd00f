//! Where in an expression libpcap stopped. It does not say, but it can be asked: a number that is
//! too large is refused as soon as it is read, and it is read only where what stands before it can
//! go on.

use std::fmt;

/// Where an expression cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this word.
    Word {
        /// The word.
        word: String,
        /// Its first character, counted from 1.
        character: usize,
    },
    /// At the end, where something is missing.
    End,
    /// This libpcap does not let itself be asked.
    Unknown,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { word, character } => write!(f, ", at '{word}' (character {character})"),
            Self::End => write!(f, ", where it ends"),
            Self::Unknown => Ok(()),
        }
    }
}

/// A number of more than 32 bits, and what libpcap says of it.
const LARGE: &str = "99999999999999";
const TOO_LARGE: &str = "overflows";

impl Place {
    /// Finds the place in `expression`, of which libpcap said `message`. `refuse` compiles another
    /// one and gives libpcap's message, if it is refused.
    pub(super) fn find(
        expression: &str,
        message: &str,
        refuse: impl Fn(&str) -> Option<String>,
    ) -> Self {
        if let Some(start) = quoted(message).and_then(|word| expression.find(word)) {
            return Self::at(expression, start, quoted(message).map_or(0, str::len));
        }
        let goes_on = |before: &str| {
            refuse(&format!("{before} {LARGE}")).is_some_and(|said| said.contains(TOO_LARGE))
        };
        if !goes_on("") {
            return Self::Unknown;
        }
        let words = words(expression);
        let whole = words.partition_point(|(start, len)| goes_on(&expression[..start + len]));
        match words.get(whole) {
            Some(&(start, len)) => Self::at(expression, start, len),
            None => Self::End,
        }
    }

    fn at(expression: &str, start: usize, len: usize) -> Self {
        Self::Word {
            word: expression[start..start + len].to_owned(),
            character: expression[..start].chars().count() + 1,
        }
    }
}

/// What a message has in quotation marks.
fn quoted(message: &str) -> Option<&str> {
    message.split('\'').nth(1).filter(|word| !word.is_empty())
}

/// What characters of one word or sign have in common; brackets stand alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Sign,
    Bracket,
    Space,
}

impl Kind {
    fn of(character: char) -> Self {
        match character {
            '_' | '.' | ':' | '-' | '\\' => Self::Word,
            '&' | '|' | '<' | '>' | '=' | '!' => Self::Sign,
            _ if character.is_alphanumeric() => Self::Word,
            _ if character.is_whitespace() => Self::Space,
            _ => Self::Bracket,
        }
    }
}

/// Beginnings and lengths of words, signs and brackets.
fn words(expression: &str) -> Vec<(usize, usize)> {
    let mut words: Vec<(usize, usize)> = Vec::new();
    let mut before = Kind::Space;
    for (start, character) in expression.char_indices() {
        let kind = Kind::of(character);
        match words.last_mut() {
            Some((_, len)) if kind == before && kind != Kind::Bracket => {
                *len += character.len_utf8();
            }
            _ => words.push((start, character.len_utf8())),
        }
        before = kind;
    }
    words.retain(|(start, len)| !expression[*start..start + len].trim().is_empty());
    words
}

#[cfg(test)]
mod tests {
    use crate::{
        capture_file::LinkType,
        filter::{CompileError, compile},
    };

    fn message(expression: &str) -> String {
        match compile(expression, LinkType::ETHERNET) {
            Err(error @ CompileError::Refused { .. }) => error.to_string(),
            other => panic!("{expression}: {other:?}"),
        }
    }

    #[test]
    fn the_place_of_a_refusal_is_named() {
        let syntax = "can't parse filter expression: syntax error";
        for (expression, place) in [
            ("tcp prot 80", ", at 'prot' (character 5)"),
            ("(tcp or udp))", ", at ')' (character 13)"),
            ("ip[6:2] && & 1", ", at '&&' (character 9)"),
            ("tcp and and udp", ", at 'and' (character 9)"),
            ("host 10.0.0.1 and", ", where it ends"),
        ] {
            assert_eq!(message(expression), format!("{syntax}{place}"));
        }
        assert_eq!(
            message("udp or tcp port nothing"),
            "unknown port 'nothing', at 'nothing' (character 17)"
        );
        assert!(message("ip[6:3] = 1").ends_with(", at ']' (character 7)"));
    }
}
