//! The `clsact` qdisc, by a netlink socket that blocks (`rtnetlink(7)`).

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcHandle, TcMessage},
    },
};

/// `TC_H_CLSACT`, and its sides for arriving and leaving packets (`linux/pkt_sched.h`).
const CLSACT: u32 = 0xffff_fff1;
const SIDES: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

/// Removes the qdisc from an interface, unless it has filters.
pub(super) fn remove_unused(ifindex: u32) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    for side in SIDES {
        let filters = RouteNetlinkMessage::GetTrafficFilter(message(ifindex, side));
        if ask(&socket, filters, NLM_F_REQUEST | NLM_F_DUMP)? > 0 {
            return Ok(());
        }
    }
    let qdisc = RouteNetlinkMessage::DelQueueDiscipline(message(ifindex, CLSACT));
    ask(&socket, qdisc, NLM_F_REQUEST | NLM_F_ACK).map(drop)
}

fn message(ifindex: u32, parent: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = TcHandle::from(parent);
    message
}

/// Asks, and counts the answers up to the last.
fn ask(socket: &Socket, question: RouteNetlinkMessage, flags: u16) -> io::Result<usize> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut question = NetlinkMessage::new(header, NetlinkPayload::from(question));
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = 0;
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(io::Error::other)?;
            #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => answers += 1,
            }
            let length = answer.header.length as usize;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
