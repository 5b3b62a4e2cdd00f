//! A flow that goes on.

use super::{
    key::{FlowKey, Side},
    record::{EndReason, FlowRecord, FlowSide},
};
use crate::record::{Direction, PacketRecord};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// No such packet was seen.
const NEVER: u64 = u64::MAX;

/// What is known of a flow so far.
#[derive(Clone, Debug)]
pub(super) struct LiveFlow {
    pub(super) key: FlowKey,
    sides: [LiveSide; 2],
    /// `None` where only the times of the packets tell.
    known_initiator: Option<Side>,
    is_closed: bool,
}

/// One direction. Times are the earliest and the latest, whatever the order of arrival: batches of
/// several CPUs interleave.
#[derive(Clone, Copy, Debug)]
struct LiveSide {
    packets: u64,
    bytes: u64,
    ip_bytes: u64,
    first_ns: u64,
    last_ns: u64,
    /// First segment with SYN.
    syn_ns: u64,
    /// First segment with ACK and without SYN.
    ack_ns: u64,
    /// First segment with PSH.
    push_ns: u64,
    tcp_flags: u8,
    direction: Direction,
    icmp_type_code: Option<(u8, u8)>,
}

const EMPTY: LiveSide = LiveSide {
    packets: 0,
    bytes: 0,
    ip_bytes: 0,
    first_ns: NEVER,
    last_ns: 0,
    syn_ns: NEVER,
    ack_ns: NEVER,
    push_ns: NEVER,
    tcp_flags: 0,
    direction: Direction::Ingress,
    icmp_type_code: None,
};

impl LiveFlow {
    /// A flow that begins with `record`.
    pub(super) fn new(key: FlowKey, side: Side, record: &PacketRecord) -> Self {
        let mut flow = Self {
            key,
            sides: [EMPTY; 2],
            known_initiator: None,
            is_closed: false,
        };
        flow.add(side, record);
        flow
    }

    /// Adds a packet; whether it closed the connection.
    #[inline]
    pub(super) fn add(&mut self, side: Side, record: &PacketRecord) -> bool {
        let flags = record.headers().read_tcp_flags();
        let this = &mut self.sides[side];
        if this.packets == 0 {
            this.direction = record.direction();
            this.icmp_type_code = record.headers().icmp_type_code();
        }
        let time_ns = record.timestamp_ns();
        this.packets += 1;
        this.bytes += u64::from(record.wire_len());
        this.ip_bytes += u64::from(record.ip_len());
        this.first_ns = this.first_ns.min(time_ns);
        this.last_ns = this.last_ns.max(time_ns);
        let Some(flags) = flags else { return false };
        this.add_tcp(flags, time_ns);
        if flags & (SYN | ACK) == SYN | ACK {
            self.known_initiator.get_or_insert(1 - side);
        }
        let was_closed = self.is_closed;
        let [low, high] = &self.sides;
        self.is_closed |= flags & RST != 0 || low.tcp_flags & high.tcp_flags & FIN != 0;
        self.is_closed && !was_closed
    }

    /// Whether the connection was closed, and nothing new is to come.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether there is anything to tell: a part that a timeout cut off may be without a packet
    /// since.
    pub(super) fn is_empty(&self) -> bool {
        self.packets() == 0
    }

    pub(super) fn packets(&self) -> u64 {
        self.sides[0].packets + self.sides[1].packets
    }

    pub(super) fn bytes(&self) -> u64 {
        self.sides[0].bytes + self.sides[1].bytes
    }

    /// Why `record` begins another flow, where it does.
    #[inline]
    pub(super) fn ends_before(
        &self,
        record: &PacketRecord,
        idle_ns: u64,
        active_ns: u64,
    ) -> Option<EndReason> {
        let time_ns = record.timestamp_ns();
        let [low, high] = &self.sides;
        let first_ns = low.first_ns.min(high.first_ns);
        let last_ns = low.last_ns.max(high.last_ns);
        let opens = || record.headers().read_tcp_flags().map(|f| f & (SYN | ACK)) == Some(SYN);
        if self.is_closed && opens() {
            Some(EndReason::EndOfFlow)
        } else if self.is_empty() {
            None
        } else if time_ns > last_ns.saturating_add(idle_ns)
            || first_ns > time_ns.saturating_add(idle_ns)
        {
            Some(self.silent_end())
        } else if time_ns >= first_ns.saturating_add(active_ns)
            || last_ns >= time_ns.saturating_add(active_ns)
        {
            Some(EndReason::ActiveTimeout)
        } else {
            None
        }
    }

    /// Why it ends when nothing more comes.
    pub(super) fn silent_end(&self) -> EndReason {
        self.end_or(EndReason::IdleTimeout)
    }

    /// Why it ends: `reason`, unless it was closed.
    pub(super) fn end_or(&self, reason: EndReason) -> EndReason {
        if self.is_closed {
            EndReason::EndOfFlow
        } else {
            reason
        }
    }

    /// Who began: the first packet by its time, because batches of several CPUs interleave.
    fn initiator(&self) -> Side {
        let [low, high] = &self.sides;
        self.known_initiator
            .unwrap_or(Side::from(high.first_ns < low.first_ns))
    }

    /// Begins the next part of the same flow, without a packet.
    pub(super) fn restart(&mut self) {
        self.known_initiator = Some(self.initiator());
        self.sides = [EMPTY; 2];
    }

    /// The flow as others take it.
    pub(super) fn record(&self, end: Option<EndReason>) -> FlowRecord {
        let forward = self.initiator();
        let reverse = 1 - forward;
        let [vlan, inner_vlan] = self.key.vlans();
        FlowRecord {
            interface: self.key.interface(),
            vlan,
            inner_vlan,
            ip_proto: self.key.ip_proto(),
            src_addr: self.key.source(forward),
            dst_addr: self.key.source(reverse),
            src_port: self.key.source_port(forward),
            dst_port: self.key.source_port(reverse),
            forward: self.sides[forward].record(),
            reverse: self.sides[reverse].record(),
            handshake_ns: self.handshake_ns(),
            response_ns: self.response_ns(),
            end,
        }
    }

    /// The initiator's side, then the other.
    fn in_order(&self) -> [&LiveSide; 2] {
        let initiator = self.initiator();
        [&self.sides[initiator], &self.sides[1 - initiator]]
    }

    fn handshake_ns(&self) -> Option<u64> {
        let [asks, answers] = self.in_order();
        let seen = asks.syn_ns <= answers.syn_ns && answers.syn_ns <= asks.ack_ns;
        (seen && asks.ack_ns != NEVER).then(|| asks.ack_ns - asks.syn_ns)
    }

    fn response_ns(&self) -> Option<u64> {
        let [asks, answers] = self.in_order();
        let is_tcp = self.key.ip_proto() == 6;
        if is_tcp && asks.syn_ns == NEVER {
            return None;
        }
        let time = |side: &LiveSide| if is_tcp { side.push_ns } else { side.first_ns };
        let (question_ns, answer_ns) = (time(asks), time(answers));
        let seen = question_ns <= answer_ns && answer_ns != NEVER;
        seen.then(|| answer_ns - question_ns)
    }
}

impl LiveSide {
    #[inline]
    fn add_tcp(&mut self, flags: u8, time_ns: u64) {
        self.tcp_flags |= flags;
        if flags & SYN != 0 {
            self.syn_ns = self.syn_ns.min(time_ns);
        } else if flags & ACK != 0 {
            self.ack_ns = self.ack_ns.min(time_ns);
        }
        if flags & PSH != 0 {
            self.push_ns = self.push_ns.min(time_ns);
        }
    }

    fn record(&self) -> FlowSide {
        if self.packets == 0 {
            return FlowSide::default();
        }
        FlowSide {
            packets: self.packets,
            bytes: self.bytes,
            ip_bytes: self.ip_bytes,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            tcp_flags: self.tcp_flags,
            direction: Some(self.direction),
            icmp_type_code: self.icmp_type_code,
        }
    }
}
