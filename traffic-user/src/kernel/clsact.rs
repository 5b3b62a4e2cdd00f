//! TC by filters of the `clsact` qdisc, for kernels without tcx. Such a filter stays when its
//! process is killed, so its name says whose it is.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "messages of rtnetlink are many, and new kernels add to them"
)]

use std::{
    fmt, fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    process,
};

use aya::programs::{TcAttachType, tc::SchedClassifierLink};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{
            TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
        },
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use super::interfaces::Interface;

/// `TC_H_CLSACT`, and below it the hooks (`linux/pkt_sched.h`).
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// `ETH_P_ALL` (`linux/if_ether.h`).
const EVERY_PROTOCOL: u16 = 3;
/// What the names of our filters begin with.
const NAME: &str = "traffic_";
/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`), where every process is seen.
const INITIAL_NAMESPACE: u64 = 0xefff_fffc;

/// The process that attached a filter, so told that no other is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    /// Its id in its own PID namespace.
    pid: u32,
    /// Clock ticks from boot to its start (field 22 of `proc_pid_stat(5)`).
    started: u64,
    /// Inode of its PID namespace.
    namespace: u64,
    /// Whether the qdisc was made for captures, and goes with the last of them.
    added: bool,
}

/// Whether the process that attached a filter still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// It runs.
    Alive,
    /// It has ended.
    Ended,
    /// It lived in another PID namespace, whose processes are not seen from here.
    OutOfSight,
}

/// A filter of ours.
#[derive(Clone, Copy, Debug)]
struct Filter {
    direction: Direction,
    priority: u16,
    handle: TcHandle,
    owner: Owner,
}

/// A side of the qdisc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    fn parent(self) -> TcHandle {
        TcHandle::from(match self {
            Self::Ingress => INGRESS,
            Self::Egress => EGRESS,
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl Owner {
    /// This process.
    fn this(added: bool) -> io::Result<Self> {
        let pid = process::id();
        Ok(Self {
            pid,
            started: started(pid)?.ok_or(io::ErrorKind::NotFound)?,
            namespace: own_namespace()?,
            added,
        })
    }

    /// The name of a filter of this owner.
    fn name(self, direction: Direction) -> String {
        let Self {
            pid,
            started,
            namespace,
            added,
        } = self;
        let added = u8::from(added);
        format!("{NAME}{direction} pid={pid} started={started} pidns={namespace} added={added}")
    }

    /// From the name of a filter; `None` when it is not ours.
    fn from_name(name: &str) -> Option<Self> {
        let mut words = name.strip_prefix(NAME)?.split(' ').skip(1);
        let mut value = |key: &str| -> Option<u64> {
            words
                .next()?
                .strip_prefix(key)?
                .strip_prefix('=')?
                .parse()
                .ok()
        };
        Some(Self {
            pid: u32::try_from(value("pid")?).ok()?,
            started: value("started")?,
            namespace: value("pidns")?,
            added: value("added")? == 1,
        })
    }

    fn state(self) -> io::Result<OwnerState> {
        let here = own_namespace()?;
        if here == self.namespace {
            let is_alive = started(self.pid)? == Some(self.started);
            return Ok(if is_alive {
                OwnerState::Alive
            } else {
                OwnerState::Ended
            });
        }
        Ok(if self.is_seen_from_outside()? {
            OwnerState::Alive
        } else if here == INITIAL_NAMESPACE {
            OwnerState::Ended
        } else {
            OwnerState::OutOfSight
        })
    }

    /// Whether a process of an inner PID namespace is this one.
    fn is_seen_from_outside(self) -> io::Result<bool> {
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if innermost_pid(pid) == Some(self.pid) && started(pid)? == Some(self.started) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Inode of this process's PID namespace.
fn own_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

/// When a process started; `None` when there is none with this id.
fn started(pid: u32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(line) => Ok(start_time(&line)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It ended while it was read.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Field 22 of a line of `proc_pid_stat(5)`; the name before may hold spaces and parentheses.
fn start_time(line: &str) -> Option<u64> {
    let (_, behind_name) = line.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

/// The id that a process has in its own PID namespace (`NSpid` of `proc_pid_status(5)`).
fn innermost_pid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Makes the qdisc of `interface` ready: removes what processes that have ended left there, and
/// adds it where there is none. Whether it was made for captures, by this one or another.
pub(super) fn prepare(interface: &Interface) -> io::Result<bool> {
    let mut is_ours = false;
    for filter in filters(interface.ifindex)? {
        is_ours |= filter.owner.added;
        if filter.owner.state()? == OwnerState::Ended {
            log::info!(
                "{}: removing the {} filter of process {}, which has ended",
                interface.name,
                filter.direction,
                filter.owner.pid
            );
            remove(interface, &filter)?;
        }
    }
    match aya::programs::tc::qdisc_add_clsact(&interface.name) {
        Ok(()) => Ok(true),
        Err(error) if super::attach::os_error(&error) == Some(libc::EEXIST) => Ok(is_ours),
        Err(error) => Err(io::Error::other(format!("add the clsact qdisc: {error}"))),
    }
}

/// Attaches a loaded program before all other filters.
pub(super) fn attach(
    program: BorrowedFd<'_>,
    interface: &Interface,
    direction: TcAttachType,
    added: bool,
) -> io::Result<SchedClassifierLink> {
    let side = match direction {
        TcAttachType::Egress => Direction::Egress,
        TcAttachType::Ingress | TcAttachType::Custom(_) => Direction::Ingress,
    };
    let descriptor = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
    let mut message = message(interface.ifindex, side.parent());
    message.header.info = u32::from(EVERY_PROTOCOL.to_be());
    message.attributes = vec![
        TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(descriptor)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(Owner::this(added)?.name(side))),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]),
    ];
    let request = RouteNetlinkMessage::NewTrafficFilter(message);
    let made = ask(request, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO)?;
    let made = made.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewTrafficFilter(made) => Some(&made.header),
        _ => None,
    });
    let made = made.ok_or_else(|| io::Error::other("the kernel did not name the filter"))?;
    link(interface, direction, priority(made.info), made.handle)
}

fn link(
    interface: &Interface,
    direction: TcAttachType,
    priority: u16,
    handle: TcHandle,
) -> io::Result<SchedClassifierLink> {
    let handle = aya::programs::tc::TcHandle::new(handle.major, handle.minor);
    SchedClassifierLink::attached(&interface.name, direction, priority, handle, None)
}

/// A filter that a capture left behind, or one that is in use.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// `ingress` or `egress`.
    pub direction: String,
    /// Process that attached it, by its id in its own PID namespace.
    pub pid: u32,
    /// Whether that still runs.
    pub owner: OwnerState,
}

/// What was found on an interface.
#[derive(Clone, Debug, Default)]
pub struct Cleanup {
    /// Every filter of ours; those of processes that have ended are removed.
    pub filters: Vec<Leftover>,
    /// Whether the empty qdisc, which had been made for captures, is removed.
    pub qdisc: bool,
}

/// Removes what captures that were killed left on `interface`, or only tells.
///
/// # Errors
/// When the kernel refuses, for example without `CAP_NET_ADMIN`.
pub fn clean_up(interface: &Interface, only_tell: bool) -> io::Result<Cleanup> {
    let mut cleanup = Cleanup::default();
    let mut ended_with_qdisc = false;
    for filter in filters(interface.ifindex)? {
        let owner = filter.owner.state()?;
        if owner == OwnerState::Ended {
            ended_with_qdisc |= filter.owner.added;
            if !only_tell {
                remove(interface, &filter)?;
            }
        }
        cleanup.filters.push(Leftover {
            direction: filter.direction.to_string(),
            pid: filter.owner.pid,
            owner,
        });
    }
    let ended = cleanup
        .filters
        .iter()
        .filter(|filter| filter.owner == OwnerState::Ended);
    let left = every_filter(interface.ifindex)?.len();
    let left = if only_tell {
        left - ended.count()
    } else {
        left
    };
    cleanup.qdisc = ended_with_qdisc && left == 0;
    if cleanup.qdisc && !only_tell {
        remove_qdisc(interface.ifindex)?;
    }
    Ok(cleanup)
}

/// Removes the qdisc, unless it has filters.
pub(super) fn remove_unused(ifindex: u32) -> io::Result<()> {
    if every_filter(ifindex)?.is_empty() {
        remove_qdisc(ifindex)?;
    }
    Ok(())
}

fn remove_qdisc(ifindex: u32) -> io::Result<()> {
    let qdisc = message(ifindex, TcHandle::from(CLSACT));
    ask(RouteNetlinkMessage::DelQueueDiscipline(qdisc), 0).map(drop)
}

fn remove(interface: &Interface, filter: &Filter) -> io::Result<()> {
    let mut message = message(interface.ifindex, filter.direction.parent());
    message.header.handle = filter.handle;
    message.header.info = u32::from(filter.priority) << 16 | u32::from(EVERY_PROTOCOL.to_be());
    message.attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
    ask(RouteNetlinkMessage::DelTrafficFilter(message), 0)?;
    Ok(())
}

/// Filters of ours on an interface.
fn filters(ifindex: u32) -> io::Result<Vec<Filter>> {
    let every = every_filter(ifindex)?;
    Ok(every
        .iter()
        .filter_map(|(direction, message)| ours(*direction, message))
        .collect())
}

fn ours(direction: Direction, message: &TcMessage) -> Option<Filter> {
    let options = message
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
    let name = options.flatten().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name),
        _ => None,
    })?;
    Some(Filter {
        direction,
        priority: priority(message.header.info),
        handle: message.header.handle,
        owner: Owner::from_name(name)?,
    })
}

/// Every filter of an interface, ours or not. Where there is no qdisc there is none.
fn every_filter(ifindex: u32) -> io::Result<Vec<(Direction, TcMessage)>> {
    let mut filters = Vec::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let request = RouteNetlinkMessage::GetTrafficFilter(message(ifindex, direction.parent()));
        let answers = match ask(request, NLM_F_DUMP) {
            Ok(answers) => answers,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => continue,
            Err(error) => return Err(error),
        };
        filters.extend(answers.into_iter().filter_map(|answer| match answer {
            // A priority is listed as well as its filters; it has no handle.
            RouteNetlinkMessage::NewTrafficFilter(filter)
                if u32::from(filter.header.handle) != 0 =>
            {
                Some((direction, filter))
            }
            _ => None,
        }));
    }
    Ok(filters)
}

fn message(ifindex: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = parent;
    message
}

/// The upper half of a filter's information is its priority.
fn priority(info: u32) -> u16 {
    (info >> 16) as u16
}

/// Asks the kernel and waits for its answer, in the network namespace of this thread.
fn ask(request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) => {
                    return error.code.map_or(Ok(answers), |_| Err(error.to_io()));
                }
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
