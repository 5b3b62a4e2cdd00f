//! Reads filter expressions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressRange, End, FilterError, Node, Test};
use crate::fleet::table;

/// Parentheses and negations inside each other, at most.
const MAX_DEPTH: usize = 100;
/// Tags that a row tells of.
const MAX_TAGS: u8 = 2;
/// TCP, UDP, SCTP.
const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];

/// Words that select an IP protocol: the IP version that they mean, and its number.
const PROTOCOLS: [(&str, Option<u8>, u8); 8] = [
    ("tcp", None, 6),
    ("udp", None, 17),
    ("sctp", None, 132),
    ("icmp", Some(4), 1),
    ("icmp6", Some(6), 58),
    ("igmp", Some(4), 2),
    ("esp", None, 50),
    ("ah", None, 51),
];

/// The words before an address or a number.
#[derive(Clone, Copy, Debug)]
struct Words {
    version: Option<u8>,
    protocol: Option<u8>,
    end: End,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    let mut parser = Parser {
        tokens: tokens(text),
        next: 0,
        tags: 0,
        depth: 0,
        words: None,
    };
    let root = parser.expression()?;
    match parser.peek() {
        None => Ok(root),
        Some(word) => Err(expected("and, or, or the end", word)),
    }
}

fn tokens(text: &str) -> Vec<String> {
    let spaced = ["(", ")", "!", "&&", "||"]
        .iter()
        .fold(text.to_owned(), |text, sign| {
            text.replace(sign, &format!(" {sign} "))
        });
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn expected(what: &'static str, found: &str) -> FilterError {
    FilterError::Expected {
        what,
        found: found.to_owned(),
    }
}

struct Parser {
    tokens: Vec<String>,
    next: usize,
    /// `vlan`s so far.
    tags: u8,
    depth: usize,
    /// Those of the last primitive.
    words: Option<Words>,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.next).map(String::as_str)
    }

    fn take(&mut self, what: &'static str) -> Result<String, FilterError> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token.ok_or(FilterError::End(what))
    }

    fn takes(&mut self, words: &[&str]) -> bool {
        let found = self.peek().is_some_and(|word| words.contains(&word));
        self.next += usize::from(found);
        found
    }

    fn expression(&mut self) -> Result<Node, FilterError> {
        let mut left = self.term()?;
        loop {
            if self.takes(&["and", "&&"]) {
                left = Node::And(Box::new(left), Box::new(self.term()?));
            } else if self.takes(&["or", "||"]) {
                left = Node::Or(Box::new(left), Box::new(self.term()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError::Deep(MAX_DEPTH));
        }
        let node = if self.takes(&["not", "!"]) {
            Node::Not(Box::new(self.term()?))
        } else if self.takes(&["("]) {
            let inner = self.expression()?;
            let end = self.take("')'")?;
            if end != ")" {
                return Err(expected("and, or, or ')'", &end));
            }
            inner
        } else {
            let tags = self.tags;
            let test = self.primitive()?;
            Node::Test { tags, test }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn primitive(&mut self) -> Result<Test, FilterError> {
        if self.takes(&["vlan"]) {
            return self.vlan();
        }
        let mut words = Words {
            version: None,
            protocol: None,
            end: End::Either,
            kind: Kind::Host,
        };
        let mut alone = None;
        if self.takes(&["ip"]) {
            (words.version, alone) = (Some(4), Some(Test::Version(4)));
        } else if self.takes(&["ip6"]) {
            (words.version, alone) = (Some(6), Some(Test::Version(6)));
        } else if let Some((version, number)) = self.peek().and_then(protocol) {
            self.next += 1;
            words.protocol = Some(number);
            alone = Some(Test::Protocol(version, number));
        }
        let end = self.end();
        let kind = self.kind();
        words.end = end.unwrap_or(End::Either);
        words.kind = kind.unwrap_or(Kind::Host);
        match (alone, end.is_none() && kind.is_none()) {
            (Some(test), true) => {
                self.words = None;
                return Ok(test);
            }
            (None, true) => {
                if let Some(word) = self.peek().filter(|word| !is_id(word)) {
                    return Err(FilterError::NotStored(word.to_owned()));
                }
                words = self.words.unwrap_or(words);
            }
            (_, false) => {}
        }
        self.words = Some(words);
        let id = self.take("an address or a number")?;
        words.test(&id)
    }

    fn vlan(&mut self) -> Result<Test, FilterError> {
        if self.tags >= MAX_TAGS {
            return Err(FilterError::NotStored("a third vlan".to_owned()));
        }
        self.tags += 1;
        let Some(id) = self.peek().filter(|word| is_number(word)) else {
            return Ok(Test::Vlan(None));
        };
        let what = "a VLAN id from 0 to 4095";
        let number: Option<u16> = id.parse().ok().filter(|id| *id < 4096);
        let number = number.ok_or_else(|| expected(what, id))?;
        self.next += 1;
        Ok(Test::Vlan(Some(number)))
    }

    /// `src`, `dst`, `src or dst`, `src and dst`.
    fn end(&mut self) -> Option<End> {
        let first = self.peek().filter(|word| matches!(*word, "src" | "dst"))?;
        let (other, alone) = if first == "src" {
            ("dst", End::Source)
        } else {
            ("src", End::Destination)
        };
        self.next += 1;
        let word = |place: usize| self.tokens.get(place).map(String::as_str);
        let both = match (word(self.next), word(self.next + 1)) {
            (Some("or" | "||"), Some(word)) if word == other => End::Either,
            (Some("and" | "&&"), Some(word)) if word == other => End::Both,
            _ => return Some(alone),
        };
        self.next += 2;
        Some(both)
    }

    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek()? {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            "proto" => Kind::Protocol,
            _ => return None,
        };
        self.next += 1;
        Some(kind)
    }
}

fn protocol(word: &str) -> Option<(Option<u8>, u8)> {
    let found = PROTOCOLS.iter().find(|(name, ..)| *name == word);
    found.map(|(_, version, number)| (*version, *number))
}

/// Whether a word can be an address or a number.
fn is_id(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) || word.contains(':')
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

impl Words {
    fn test(self, id: &str) -> Result<Test, FilterError> {
        match self.kind {
            Kind::Host | Kind::Net if self.protocol.is_some() => {
                Err(expected("port or portrange behind this protocol", id))
            }
            Kind::Port | Kind::PortRange if self.version.is_some() => {
                Err(expected("tcp, udp or sctp before a port", id))
            }
            Kind::Host => self.host(id),
            Kind::Net => self.net(id),
            Kind::Port => self.ports(port(id)?, port(id)?),
            Kind::PortRange => {
                let what = "FIRST-LAST";
                let (first, last) = id.split_once('-').ok_or_else(|| expected(what, id))?;
                let (first, last) = (port(first)?, port(last)?);
                self.ports(first.min(last), first.max(last))
            }
            Kind::Protocol => self.number(id),
        }
    }

    fn host(self, id: &str) -> Result<Test, FilterError> {
        let address = id.parse::<IpAddr>();
        let address = address.map_err(|_| expected("an address (a prefix needs net)", id))?;
        self.range(id, address, if address.is_ipv4() { 32 } else { 128 })
    }

    fn net(self, id: &str) -> Result<Test, FilterError> {
        let what = "a network, as 10.0.0.0/8 or 2001:db8::/32";
        let (text, prefix) = match id.split_once('/') {
            Some((text, prefix)) => (text, Some(prefix.parse::<u8>())),
            None => (id, None),
        };
        let prefix = prefix.transpose().map_err(|_| expected(what, id))?;
        let (address, whole): (IpAddr, u8) = if text.contains(':') {
            let address = text.parse::<Ipv6Addr>().map_err(|_| expected(what, id))?;
            (address.into(), 128)
        } else {
            let (address, bits) = short(text).ok_or_else(|| expected(what, id))?;
            (address.into(), bits)
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(whole);
        if prefix > most {
            return Err(expected(what, id));
        }
        self.range(id, address, prefix)
    }

    fn range(self, id: &str, address: IpAddr, prefix: u8) -> Result<Test, FilterError> {
        let version = if address.is_ipv4() { 4 } else { 6 };
        if self.version.is_some_and(|wanted| wanted != version) {
            return Err(expected("an address of that IP version", id));
        }
        let bits = if version == 4 { prefix + 96 } else { prefix };
        let host = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
        let first = u128::from_be_bytes(table::address(address));
        if first & host != 0 {
            return Err(FilterError::HostBits(id.to_owned()));
        }
        let range = AddressRange {
            version,
            first: first.to_be_bytes(),
            last: (first | host).to_be_bytes(),
        };
        let end = self.end;
        Ok(Test::Address { end, range })
    }

    fn ports(self, first: u16, last: u16) -> Result<Test, FilterError> {
        let protocols = match self.protocol {
            None => PORT_PROTOCOLS.to_vec(),
            Some(protocol) if PORT_PROTOCOLS.contains(&protocol) => vec![protocol],
            Some(_) => {
                return Err(expected(
                    "tcp, udp or sctp before a port",
                    &first.to_string(),
                ));
            }
        };
        Ok(Test::Port {
            end: self.end,
            protocols,
            first,
            last,
        })
    }

    fn number(self, id: &str) -> Result<Test, FilterError> {
        let what = "a protocol's number from 0 to 255";
        if self.end != End::Either || self.protocol.is_some() {
            return Err(expected("proto behind ip or ip6, or alone", id));
        }
        let name = id.strip_prefix('\\').unwrap_or(id);
        let number = protocol(name).map(|(_, number)| number);
        let number = number.or_else(|| id.parse().ok());
        let number = number.ok_or_else(|| expected(what, id))?;
        Ok(Test::Protocol(self.version, number))
    }
}

/// Flows without ports, as fragments have it, stand with port 0.
fn port(id: &str) -> Result<u16, FilterError> {
    let port = id.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| expected("a port's number from 1 to 65535", id))
}

/// The first parts of an IPv4 address, and how many bits they are.
fn short(text: &str) -> Option<(Ipv4Addr, u8)> {
    let parts: Vec<u8> = text
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let mut octets = [0; 4];
    octets.get_mut(..parts.len())?.copy_from_slice(&parts);
    let bits = u8::try_from(8 * parts.len()).ok()?;
    Some((octets.into(), bits))
}
