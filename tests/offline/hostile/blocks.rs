//! Pieces of capture files that nobody writes by accident.

/// Byte order of a section.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(crate) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// A pcapng block whose two lengths are true.
pub(crate) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let body_bytes = body.len().next_multiple_of(4);
    let length = u32::try_from(12 + body_bytes).expect("blocks here are below 4 GiB");
    let mut block = [order.u32(kind), order.u32(length)].concat();
    block.extend(body);
    block.resize(8 + body_bytes, 0);
    block.extend(order.u32(length));
    block
}

/// A section header block.
pub(crate) fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend([order.u16(1), order.u16(0)].concat());
    body.extend([0xff; 8]);
    block(order, 0x0a0d_0d0a, &body)
}

/// An interface of Ethernet frames, with options.
pub(crate) fn interface(order: Order, options: &[u8]) -> Vec<u8> {
    let mut body = [order.u16(1), order.u16(0)].concat();
    body.extend(order.u32(0));
    body.extend(options);
    block(order, 1, &body)
}

/// An option, padded.
pub(crate) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("options are below 64 KiB");
    let mut option = [order.u16(code), order.u16(length)].concat();
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

/// An enhanced packet block of a frame that is there whole.
pub(crate) fn packet(order: Order, interface: u32, units: u64, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("frames here are below 4 GiB");
    let words = [
        interface,
        u32::try_from(units >> 32).expect("half of it"),
        u32::try_from(units & 0xffff_ffff).expect("half of it"),
        length,
        length,
    ];
    let mut body: Vec<u8> = words.iter().flat_map(|word| order.u32(*word)).collect();
    body.extend(frame);
    block(order, 6, &body)
}

/// The header of a classic file of nanoseconds.
pub(crate) fn pcap(snaplen: u32, link_type: u32) -> Vec<u8> {
    let words = [0xa1b2_3c4d, 0x0004_0002, 0, 0, snaplen, link_type];
    words
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect()
}

/// A record of a classic file, with the lengths that it claims.
pub(crate) fn record(seconds: u32, captured: u32, wire: u32, frame: &[u8]) -> Vec<u8> {
    let words = [seconds, 0, captured, wire];
    let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    record.extend(frame);
    record
}

/// A record of a whole frame.
pub(crate) fn whole(seconds: u32, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("frames here are below 4 GiB");
    record(seconds, length, length, frame)
}
