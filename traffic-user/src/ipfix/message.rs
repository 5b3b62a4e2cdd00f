//! One IPFIX message in the making (RFC 7011, section 3).

/// Of every message.
pub(super) const VERSION: u16 = 10;
/// Bytes of a message header.
const HEADER: usize = 16;
/// Bytes of a set header.
const SET_HEADER: usize = 4;
/// Id of a template set.
pub(super) const TEMPLATES: u16 = 2;
/// Id of an options template set.
pub(super) const OPTIONS_TEMPLATES: u16 = 3;

/// A message: sets of records, one after the other.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Id of the open set, and where it begins.
    set: Option<(u16, usize)>,
    limit: usize,
    records: u32,
}

impl Message {
    /// An empty message of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: vec![0; HEADER],
            set: None,
            limit,
            records: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER
    }

    /// Data records in it, those of options included.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Whether a record of so many bytes still fits into the set `id`.
    pub(super) fn fits(&self, id: u16, octets: usize) -> bool {
        let header = match self.set {
            Some((open, _)) if open == id && id != OPTIONS_TEMPLATES => 0,
            _ => SET_HEADER,
        };
        self.bytes.len() + header + octets <= self.limit
    }

    /// Adds a record, in a set of its kind. Options templates get a set each: pmacct 1.7.7 reads one
    /// alone.
    pub(super) fn push(&mut self, id: u16, record: &[u8]) {
        if id == OPTIONS_TEMPLATES || self.set.is_none_or(|(open, _)| open != id) {
            self.close_set();
            self.set = Some((id, self.bytes.len()));
            self.bytes.extend(id.to_be_bytes());
            self.bytes.extend([0; 2]);
        }
        self.bytes.extend(record);
        self.records += u32::from(id > OPTIONS_TEMPLATES);
    }

    /// The message for the wire: exported at `time_s` since the Unix epoch, after `sequence` data
    /// records of this session.
    pub(super) fn finish(mut self, time_s: u32, sequence: u32, domain: u32) -> Vec<u8> {
        self.close_set();
        let length = length(&self.bytes);
        let header = &mut self.bytes[..HEADER];
        header[..2].copy_from_slice(&VERSION.to_be_bytes());
        header[2..4].copy_from_slice(&length);
        header[4..8].copy_from_slice(&time_s.to_be_bytes());
        header[8..12].copy_from_slice(&sequence.to_be_bytes());
        header[12..].copy_from_slice(&domain.to_be_bytes());
        self.bytes
    }

    fn close_set(&mut self) {
        if let Some((_, start)) = self.set.take() {
            let length = length(&self.bytes[start..]);
            self.bytes[start + 2..start + SET_HEADER].copy_from_slice(&length);
        }
    }
}

fn length(bytes: &[u8]) -> [u8; 2] {
    let length = u16::try_from(bytes.len()).expect("the limit of a message fits in 16 bits");
    length.to_be_bytes()
}
