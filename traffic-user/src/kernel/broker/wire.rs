//! What the two parts of a capture say to each other. Requests have one length, and every one that
//! makes no sense ends the conversation.

use std::io::{self, Read};

use traffic_ebpf::{
    tally::{Count, Counters, NumberedKey},
    timeline::SlotCounts,
};

use super::super::{attach::HookKind, interfaces::Interface, load::Pod, snapshot::Class};

/// Bytes of a request: four words and a name.
pub(super) const REQUEST_BYTES: usize = 4 * 4 + NAME_BYTES;
/// `IFNAMSIZ`.
const NAME_BYTES: usize = 16;

/// What can be asked of the part that holds the hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Attach to an interface.
    Plug(Interface),
    /// Give an interface that refused a number, without hooks.
    Skip(Interface),
    /// Let go of the interface with this number of the kernel.
    Unplug(u32),
    /// Put it into promiscuous mode.
    Promiscuous(u32),
    /// Give up what is not needed any more.
    Seal {
        /// Interfaces may still join.
        joins: bool,
        /// Go on as the user with this id.
        user: Option<u32>,
    },
    /// Send up what waits on this CPU.
    Flush(u32),
    /// Tell what was counted.
    Read(Query),
    /// Detach from everything, and end.
    Detach,
}

/// Numbers that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// The counters of so many interfaces.
    Counters(u32),
    /// Time slots, the last one counted in.
    Slots(u32, u32),
    /// Numbered classes.
    Numbered(Class),
}

impl Request {
    pub(super) fn encode(&self) -> [u8; REQUEST_BYTES] {
        let (words, name) = match self {
            Self::Plug(interface) | Self::Skip(interface) => {
                let kind = if matches!(self, Self::Plug(_)) { 1 } else { 11 };
                let first = interface.xdp_programs.first().copied().unwrap_or(0);
                let hardware_type = u32::from(interface.hardware_type);
                (
                    [kind, interface.ifindex, hardware_type, first],
                    interface.name.as_str(),
                )
            }
            Self::Unplug(ifindex) => ([2, *ifindex, 0, 0], ""),
            Self::Promiscuous(ifindex) => ([3, *ifindex, 0, 0], ""),
            Self::Seal { joins, user } => {
                let (known, user) = user.map_or((0, 0), |user| (1, user));
                ([4, u32::from(*joins), known, user], "")
            }
            Self::Flush(cpu) => ([5, *cpu, 0, 0], ""),
            Self::Read(Query::Counters(interfaces)) => ([6, *interfaces, 0, 0], ""),
            Self::Read(Query::Slots(first, last)) => ([7, *first, *last, 0], ""),
            Self::Read(Query::Numbered(Class::Places)) => ([8, 0, 0, 0], ""),
            Self::Read(Query::Numbered(Class::Slots)) => ([9, 0, 0, 0], ""),
            Self::Detach => ([10, 0, 0, 0], ""),
        };
        let mut bytes = [0; REQUEST_BYTES];
        let (head, tail) = bytes.split_at_mut(REQUEST_BYTES - NAME_BYTES);
        head.copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
        let length = name.len().min(NAME_BYTES - 1);
        tail[..length].copy_from_slice(&name.as_bytes()[..length]);
        bytes
    }

    /// `None` for what is no request.
    pub(super) fn decode(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let (head, tail) = bytes.split_at(REQUEST_BYTES - NAME_BYTES);
        let (words, _) = head.as_chunks();
        let [kind, first, second, third] = *words else {
            return None;
        };
        let [kind, first, second, third] = [kind, first, second, third].map(u32::from_le_bytes);
        Some(match kind {
            1 => Self::Plug(interface(tail, first, second, third)?),
            2 => Self::Unplug(first),
            3 => Self::Promiscuous(first),
            4 => Self::Seal {
                joins: first != 0,
                user: (second != 0).then_some(third),
            },
            5 => Self::Flush(first),
            6 => Self::Read(Query::Counters(first)),
            7 => Self::Read(Query::Slots(first, second)),
            8 => Self::Read(Query::Numbered(Class::Places)),
            9 => Self::Read(Query::Numbered(Class::Slots)),
            10 => Self::Detach,
            11 => Self::Skip(interface(tail, first, second, third)?),
            _ => return None,
        })
    }
}

/// What attaching needs to know of an interface.
fn interface(name: &[u8], ifindex: u32, hardware_type: u32, program: u32) -> Option<Interface> {
    let end = name.iter().position(|byte| *byte == 0)?;
    Some(Interface {
        name: std::str::from_utf8(&name[..end]).ok()?.to_owned(),
        ifindex,
        hardware_type: hardware_type.try_into().ok()?,
        xdp_programs: Some(program).filter(|id| *id != 0).into_iter().collect(),
        ..Interface::default()
    })
}

/// What begins an answer.
pub(super) const DONE: u8 = 0;
/// What begins a refusal, of which the rest are the words.
pub(super) const REFUSED: u8 = 1;

/// A hook as a byte; 0 is none.
pub(super) fn hook_code(hook: Option<HookKind>) -> u8 {
    match hook {
        None => 0,
        Some(HookKind::Tcx) => 1,
        Some(HookKind::Clsact) => 2,
        Some(HookKind::XdpNative) => 3,
        Some(HookKind::XdpGeneric) => 4,
    }
}

/// The hook of [`hook_code`].
pub(super) fn hook(code: u8) -> Option<HookKind> {
    match code {
        1 => Some(HookKind::Tcx),
        2 => Some(HookKind::Clsact),
        3 => Some(HookKind::XdpNative),
        4 => Some(HookKind::XdpGeneric),
        _ => None,
    }
}

/// Values that are integers alone, without padding, as the kernel has them.
pub(super) trait Plain: Copy {
    /// All zero.
    const ZERO: Self;
}

impl Plain for u32 {
    const ZERO: Self = 0;
}
impl Plain for Counters {
    const ZERO: Self = Self::ZERO;
}
impl Plain for SlotCounts {
    const ZERO: Self = Self::ZERO;
}
impl Plain for Count {
    const ZERO: Self = Self {
        packets: 0,
        bytes: 0,
    };
}
impl Plain for NumberedKey {
    const ZERO: Self = Self {
        place: 0,
        number: 0,
        protocol: 0,
        ip_version: 0,
    };
}

/// Appends values, with their number in front.
pub(super) fn put<T: Plain>(to: &mut Vec<u8>, values: &[T])
where
    Pod<T>: aya::Pod,
{
    let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&count.to_le_bytes());
    // SAFETY: `Pod` says that the values are integers without padding: all their bytes are set.
    let bytes =
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    to.extend_from_slice(bytes);
}

/// Reads values that [`put`] wrote.
pub(super) fn get<T: Plain>(from: &mut impl Read) -> io::Result<Vec<T>>
where
    Pod<T>: aya::Pod,
{
    let mut values = vec![T::ZERO; count(from)?];
    let bytes = size_of_val(values.as_slice());
    // SAFETY: the bytes of the vector, all set; `Pod` says that any bytes are a value.
    let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), bytes) };
    from.read_exact(bytes)?;
    Ok(values)
}

/// Reads a number of values or bytes.
pub(super) fn count(from: &mut impl Read) -> io::Result<usize> {
    let mut count = [0; 4];
    from.read_exact(&mut count)?;
    usize::try_from(u32::from_le_bytes(count)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_come_as_they_went() {
        let mut name = [0; NAME_BYTES];
        name[..4].copy_from_slice(b"eth0");
        let plug = interface(&name, 7, 1, 99).unwrap();
        for request in [
            Request::Plug(plug.clone()),
            Request::Skip(plug),
            Request::Unplug(3),
            Request::Promiscuous(4),
            Request::Seal {
                joins: true,
                user: None,
            },
            Request::Seal {
                joins: false,
                user: Some(65_534),
            },
            Request::Flush(2),
            Request::Read(Query::Counters(5)),
            Request::Read(Query::Slots(1, u32::MAX)),
            Request::Read(Query::Numbered(Class::Places)),
            Request::Read(Query::Numbered(Class::Slots)),
            Request::Detach,
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        assert_eq!(Request::decode(&[0; REQUEST_BYTES]), None);
    }

    #[test]
    fn values_come_as_they_went() {
        let mut bytes = Vec::new();
        put(&mut bytes, &[1u32, 2, 3]);
        put::<Count>(&mut bytes, &[]);
        let mut from = bytes.as_slice();
        assert_eq!(get::<u32>(&mut from).unwrap(), [1, 2, 3]);
        assert_eq!(get::<Count>(&mut from).unwrap(), []);
        assert!(get::<u32>(&mut from).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_none(bytes in any::<[u8; REQUEST_BYTES]>()) {
            if let Some(request) = Request::decode(&bytes) {
                prop_assert_eq!(Request::decode(&request.encode()), Some(request));
            }
        }
    }
}
