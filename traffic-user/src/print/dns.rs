//! DNS messages (RFC 1035), brief: flags, the question, the answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{be16, bytes, put};
use crate::dns::type_name;

/// Appends a message of which `len` bytes were on the wire.
pub(super) fn put(message: &[u8], len: usize, out: &mut String) {
    match put_message(message, out) {
        Some(()) => put!(out, " ({len})"),
        None => out.push_str(" [|domain]"),
    }
}

/// Answers shown; a message of 64 KiB can claim many more.
const MAX_ANSWERS: u16 = 32;
/// Records looked through for the one with the upper bits of the response code.
const MAX_RECORDS: usize = 64;

const RESPONSE: u16 = 1 << 15;
const AUTHORITATIVE: u16 = 1 << 10;
const TRUNCATED: u16 = 1 << 9;
const RECURSION_DESIRED: u16 = 1 << 8;
const RECURSION_AVAILABLE: u16 = 1 << 7;
const AUTHENTIC: u16 = 1 << 5;
const CHECKING_DISABLED: u16 = 1 << 4;

/// `None` where the message is cut short.
fn put_message(message: &[u8], out: &mut String) -> Option<()> {
    let id = be16(message, 0)?;
    let flags = be16(message, 2)?;
    let counts = [4, 6, 8, 10].map(|offset| be16(message, offset));
    let [questions, answers, authorities, additional] = counts;
    let (questions, answers) = (questions?, answers?);
    let (authorities, additional) = (authorities?, additional?);
    put!(
        out,
        "{}{id}{}",
        if out.ends_with(' ') { "" } else { " " },
        operation(flags)
    );
    if flags & RESPONSE == 0 {
        put_if(flags & RECURSION_DESIRED != 0, "+", out);
        put_if(flags & CHECKING_DISABLED != 0, "%", out);
        put_count(questions, 1, "q", out);
        put_count(answers, 0, "a", out);
        put_count(authorities, 0, "n", out);
        put_count(additional, 0, "au", out);
        if questions > 0 {
            put_question(message, out)?;
        }
        return Some(());
    }
    let code = extended_code(message, questions, [answers, authorities, additional]);
    out.push_str(response_code(code.unwrap_or(0) << 4 | flags & 15));
    put_if(flags & AUTHORITATIVE != 0, "*", out);
    put_if(flags & RECURSION_AVAILABLE == 0, "-", out);
    put_if(flags & TRUNCATED != 0, "|", out);
    put_if(flags & AUTHENTIC != 0, "$", out);
    put_count(questions, 1, "q", out);
    put!(out, " {answers}/{authorities}/{additional}");
    put_answers(message, questions, answers, out)
}

fn put_if(condition: bool, text: &str, out: &mut String) {
    if condition {
        out.push_str(text);
    }
}

fn put_count(count: u16, usual: u16, name: &str, out: &mut String) {
    if count != usual {
        put!(out, " [{count}{name}]");
    }
}

fn operation(flags: u16) -> &'static str {
    match flags >> 11 & 15 {
        0 => "",
        1 => " inv_q",
        2 => " stat",
        4 => " notify",
        5 => " update",
        _ => " op?",
    }
}

fn response_code(code: u16) -> &'static str {
    match code {
        0 => "",
        1 => " FormErr",
        2 => " ServFail",
        3 => " NXDomain",
        4 => " NotImp",
        5 => " Refused",
        6 => " YXDomain",
        7 => " YXRRSet",
        8 => " NXRRSet",
        9 => " NotAuth",
        10 => " NotZone",
        16 => " BadVers",
        17 => " BadKey",
        18 => " BadTime",
        19 => " BadMode",
        20 => " BadName",
        21 => " BadAlg",
        22 => " BadTrunc",
        23 => " BadCookie",
        _ => " Resp?",
    }
}

/// The upper bits of the response code, which an OPT record has (RFC 6891, 6.1.3). `None` where
/// there is none in so many records of each section, or the message is cut short before it.
fn extended_code(message: &[u8], questions: u16, records: [u16; 3]) -> Option<u16> {
    const OPT: u16 = 41;
    let mut offset = HEADER;
    for _ in 0..questions {
        offset = skip_name(message, offset)? + 4;
    }
    let records: usize = records.map(usize::from).iter().sum();
    for _ in 0..records.min(MAX_RECORDS) {
        offset = skip_name(message, offset)?;
        if be16(message, offset)? == OPT {
            return message.get(offset + 4).copied().map(u16::from);
        }
        offset += 10 + usize::from(be16(message, offset + 8)?);
    }
    None
}

fn put_question(message: &[u8], out: &mut String) -> Option<()> {
    let mut name = String::new();
    let end = put_name(message, HEADER, &mut name)?;
    let (kind, class) = (be16(message, end)?, be16(message, end + 2)?);
    put!(out, " {}?", type_name(kind));
    // The upper bit asks for a unicast answer (RFC 6762).
    if class & 0x7fff != 1 {
        put!(out, " (Class {class})");
    }
    put!(out, " {name}");
    Some(())
}

fn put_answers(message: &[u8], questions: u16, answers: u16, out: &mut String) -> Option<()> {
    let mut offset = HEADER;
    for _ in 0..questions {
        offset = skip_name(message, offset)? + 4;
    }
    for number in 0..answers.min(MAX_ANSWERS) {
        offset = skip_name(message, offset)?;
        let kind = be16(message, offset)?;
        let len = usize::from(be16(message, offset + 8)?);
        offset += 10;
        put_if(number > 0, ",", out);
        put!(out, " {}", type_name(kind));
        message.get(offset..offset + len)?;
        put_data(message, kind, offset..offset + len, out)?;
        offset += len;
    }
    put_if(answers > MAX_ANSWERS, ", ...", out);
    Some(())
}

fn put_data(
    message: &[u8],
    kind: u16,
    range: std::ops::Range<usize>,
    out: &mut String,
) -> Option<()> {
    let start = range.start;
    let data = &message[range];
    match (kind, data.len()) {
        (1, 4) => put!(out, " {}", Ipv4Addr::from(bytes::<4>(data, 0)?)),
        (28, 16) => put!(out, " {}", Ipv6Addr::from(bytes::<16>(data, 0)?)),
        (2 | 5 | 12, _) => {
            out.push(' ');
            put_name(message, start, out)?;
        }
        (15, _) => {
            out.push(' ');
            put_name(message, start + 2, out)?;
            put!(out, " {}", be16(data, 0)?);
        }
        (33, _) => {
            out.push(' ');
            put_name(message, start + 6, out)?;
            put!(
                out,
                ":{} {} {}",
                be16(data, 4)?,
                be16(data, 0)?,
                be16(data, 2)?
            );
        }
        (16, _) => {
            let mut rest = data;
            while let Some((&len, behind)) = rest.split_first() {
                let (text, behind) = behind.split_at_checked(usize::from(len))?;
                out.push_str(" \"");
                put_text(text, out);
                out.push('"');
                rest = behind;
            }
        }
        _ => {}
    }
    Some(())
}

/// Bytes of a message's header.
const HEADER: usize = 12;
/// Labels followed in a name: it has at most 127, and pointers may form a circle.
const MAX_LABELS: usize = 128;

/// Says where the name at `offset` ends.
fn skip_name(message: &[u8], mut offset: usize) -> Option<usize> {
    for _ in 0..MAX_LABELS {
        let len = *message.get(offset)?;
        match len >> 6 {
            0 if len == 0 => return Some(offset + 1),
            0 => offset += 1 + usize::from(len),
            3 => return Some(offset + 2),
            _ => return None,
        }
    }
    None
}

/// Appends the name at `offset`, and says where it ends.
fn put_name(message: &[u8], mut offset: usize, out: &mut String) -> Option<usize> {
    let mut end = None;
    let begin = out.len();
    for _ in 0..MAX_LABELS {
        let len = *message.get(offset)?;
        match len >> 6 {
            0 if len == 0 => {
                if out.len() == begin {
                    out.push('.');
                }
                return Some(end.unwrap_or(offset + 1));
            }
            0 => {
                let next = offset + 1 + usize::from(len);
                put_text(message.get(offset + 1..next)?, out);
                out.push('.');
                offset = next;
            }
            3 => {
                end.get_or_insert(offset + 2);
                offset = usize::from(be16(message, offset)? & 0x3fff);
            }
            _ => return None,
        }
    }
    None
}

fn put_text(text: &[u8], out: &mut String) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => put!(out, "\\{}", char::from(byte)),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => put!(out, "\\{byte:03}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &[u8]) -> String {
        let mut out = "x: ".to_owned();
        put(message, message.len(), &mut out);
        out
    }

    const QUESTION: &[u8] = b"\x07example\x03com\0\0\x01\0\x01";

    #[test]
    fn a_query_names_its_question() {
        let header = [0x30, 0x39, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let message = [&header[..], QUESTION].concat();
        assert_eq!(shown(&message), "x: 12345+ [1au] A? example.com. (29)");
    }

    #[test]
    fn an_answer_has_its_records() {
        let header = [0x30, 0x39, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
        let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x05\0\x06\x03www\xc0\x0c";
        let address = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04";
        let message = [&header[..], QUESTION, alias, address].concat();
        assert_eq!(
            shown(&message),
            "x: 12345 2/0/0 CNAME www.example.com., A 1.2.3.4 (63)"
        );
    }

    #[test]
    fn a_response_code_has_its_upper_bits_in_a_record() {
        let header = [0x30, 0x39, 0x80, 7, 0, 1, 0, 0, 0, 0, 0, 1];
        let options = b"\0\0\x29\x10\0\x01\0\0\0\0\0";
        let message = [&header[..], QUESTION, options].concat();
        assert_eq!(shown(&message), "x: 12345 BadCookie- 0/0/1 (40)");
    }

    #[test]
    fn names_that_point_at_themselves_end() {
        let header = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let message = [&header[..], b"\xc0\x0c\0\x01\0\x01"].concat();
        assert_eq!(shown(&message), "x: 1 [|domain]");
    }
}
