//! DNS questions and how they were answered (RFC 1035, section 4).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

/// Names with their types that are kept; what comes later is only counted.
const MAX_QUESTIONS: usize = 10_000;
/// RFC 1035, section 4.1.1.
const HEADER_BYTES: usize = 12;
/// RFC 1035, section 2.3.4: a name with its length octets.
const MAX_NAME_BYTES: usize = 255;
/// The shortest message with a question: header, root name, type, class.
const MIN_QUERY_BYTES: usize = HEADER_BYTES + 5;

/// Counts questions and answers by name and type.
#[derive(Clone, Debug, Default)]
pub struct DnsTable {
    questions: HashMap<Vec<u8>, Tally>,
    other: u64,
    /// Questions by record type; `None` where the message was cut before it.
    record_types: BTreeMap<Option<u16>, u64>,
    /// Answers by response code.
    response_codes: [u64; 16],
}

/// Messages about one question.
#[derive(Clone, Debug, Default)]
struct Tally {
    queries: u64,
    /// By response code.
    answers: [u64; 16],
}

/// A question as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name in presentation form (RFC 4343, section 2.1), in lower case: printable ASCII only.
    pub name: String,
    /// `A`, `AAAA`, `TYPE4711`; `?` where the message was cut before it.
    pub record_type: String,
    /// Times asked.
    pub queries: u64,
    /// Answers by response code, without those that did not occur.
    pub answers: Vec<(String, u64)>,
}

impl DnsTable {
    /// Counts the message in a UDP datagram. `payload` may be cut short: a whole name is enough.
    /// What is no standard query with one question (RFC 9619), nor an answer to one, is ignored.
    pub fn add_datagram(&mut self, payload: &[u8]) {
        if let Some(message) = Message::read(payload) {
            self.add(message);
        }
    }

    /// Counts a message.
    pub(crate) fn add(&mut self, message: Message) {
        match message.answer {
            None => *self.record_types.entry(message.record_type).or_default() += 1,
            Some(code) => self.response_codes[usize::from(code)] += 1,
        }
        let tally = if let Some(tally) = self.questions.get_mut(&message.question) {
            tally
        } else if self.questions.len() < MAX_QUESTIONS {
            self.questions.entry(message.question).or_default()
        } else {
            self.other += 1;
            return;
        };
        match message.answer {
            None => tally.queries += 1,
            Some(code) => tally.answers[usize::from(code)] += 1,
        }
    }

    /// Counts the messages that begin in a TCP segment. A segment that begins in the middle of a
    /// message gives nothing: streams are not put together.
    pub fn add_segment(&mut self, mut payload: &[u8]) {
        while let Some((prefix, rest)) = payload.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes(*prefix));
            if len < MIN_QUERY_BYTES {
                return;
            }
            let (message, next) = rest.split_at(len.min(rest.len()));
            self.add_datagram(message);
            payload = next;
        }
    }

    /// Questions by record type, as in [`Question::record_type`].
    #[must_use]
    pub fn record_types(&self) -> BTreeMap<String, u64> {
        let types = self.record_types.iter();
        types
            .map(|(record_type, count)| (shown_type(*record_type), *count))
            .collect()
    }

    /// Answers by response code, without those that did not occur.
    #[must_use]
    pub fn response_codes(&self) -> BTreeMap<String, u64> {
        let codes = (0..).zip(self.response_codes);
        codes
            .filter(|(_, count)| *count > 0)
            .map(|(code, count)| (response_code_name(code), count))
            .collect()
    }

    /// Messages about questions beyond the first 10,000.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// The `top` questions that were asked most often.
    #[must_use]
    pub fn top(&self, top: usize) -> Vec<Question> {
        let mut questions: Vec<_> = self.questions.iter().collect();
        questions.sort_unstable_by_key(|(question, tally)| {
            let answers: u64 = tally.answers.iter().sum();
            (Reverse((tally.queries, answers)), *question)
        });
        let rows = questions.into_iter().take(top);
        rows.map(|(question, tally)| Question::new(question, tally))
            .collect()
    }
}

impl Question {
    fn new(key: &[u8], tally: &Tally) -> Self {
        let (name, record_type) = presentation(key);
        let answers = (0..).zip(tally.answers);
        Self {
            name,
            record_type: shown_type(record_type),
            queries: tally.queries,
            answers: answers
                .filter(|(_, count)| *count > 0)
                .map(|(code, count)| (response_code_name(code), count))
                .collect(),
        }
    }
}

/// What is read of a message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Chosen by who asks.
    pub(crate) id: u16,
    /// The response code of an answer; `None` for a query.
    pub(crate) answer: Option<u8>,
    /// The name with its length octets and the final 0, in lower case, then the type's two bytes
    /// if the message reaches that far.
    pub(crate) question: Vec<u8>,
    record_type: Option<u16>,
}

impl Message {
    /// Reads a standard query with one question, or an answer to one.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let (header, body) = message.split_first_chunk::<HEADER_BYTES>()?;
        let [id_high, id_low, flags, code, questions @ ..] = header;
        let opcode = flags >> 3 & 0x0f;
        let reserved = code & 0x40;
        if opcode != 0 || reserved != 0 || questions[..2] != [0, 1] {
            return None;
        }
        let name_len = name_len(body)?;
        let (name, rest) = body.split_at(name_len);
        let (record_type, rest) = rest.split_at(rest.len().min(2));
        if rest.first_chunk().is_some_and(|class| !is_class(*class)) {
            return None;
        }
        let mut question = name.to_ascii_lowercase();
        if record_type.len() == 2 {
            question.extend_from_slice(record_type);
        }
        Some(Self {
            id: u16::from_be_bytes([*id_high, *id_low]),
            answer: (flags & 0x80 != 0).then_some(code & 0x0f),
            record_type: record_type
                .first_chunk()
                .map(|bytes| u16::from_be_bytes(*bytes)),
            question,
        })
    }
}

/// Bytes of the name at the start of `bytes`. The first name of a message cannot be compressed,
/// because nothing stands before it.
fn name_len(bytes: &[u8]) -> Option<usize> {
    let mut position = 0;
    loop {
        let label_len = usize::from(*bytes.get(position)?);
        position += 1 + label_len;
        if label_len > 63 || position > MAX_NAME_BYTES {
            return None;
        }
        if label_len == 0 {
            return Some(position);
        }
    }
}

/// IN, CH, HS, NONE, ANY (IANA DNS classes).
fn is_class(class: [u8; 2]) -> bool {
    matches!(u16::from_be_bytes(class), 1 | 3 | 4 | 254 | 255)
}

/// The name and type of a key in the table.
pub(crate) fn presentation(key: &[u8]) -> (String, Option<u16>) {
    let mut name = String::new();
    let mut rest = key;
    while let Some((&len, after)) = rest.split_first() {
        rest = after;
        if len == 0 {
            break;
        }
        let (label, after) = rest.split_at(usize::from(len).min(rest.len()));
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            push_escaped(&mut name, *byte);
        }
        rest = after;
    }
    if name.is_empty() {
        name.push('.');
    }
    let record_type = rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    (name, record_type)
}

fn push_escaped(name: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => {
            name.push('\\');
            name.push(char::from(byte));
        }
        0x21..=0x7e => name.push(char::from(byte)),
        _ => write!(name, "\\{byte:03}").expect("a String takes everything"),
    }
}

fn shown_type(record_type: Option<u16>) -> String {
    record_type.map_or_else(|| "?".to_owned(), type_name)
}

/// Mnemonic of a record type (IANA DNS parameters), or `TYPE` and its number (RFC 3597).
pub(crate) fn type_name(record_type: u16) -> String {
    let mnemonic = match record_type {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    mnemonic.to_owned()
}

/// Mnemonic of a response code (IANA DNS parameters), or `RCODE` and its number.
fn response_code_name(code: u8) -> String {
    const NAMES: [&str; 12] = [
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
    ];
    let name = NAMES.get(usize::from(code));
    name.map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests;
