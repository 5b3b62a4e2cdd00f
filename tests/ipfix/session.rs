//! Sessions of an exporter, seen from the collector's side.

use std::{
    io::Read as _,
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use traffic_ebpf::tally::Count;
use traffic_tests::wait_until;
use traffic_user::{
    flows::{EndReason, FlowRecord, FlowSide},
    ipfix::{Exporter, Layout, Overflow, Settings},
    record::Direction,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// A collector that restarts gets templates and sequence numbers from the beginning.
pub(crate) fn a_restarted_collector_gets_a_new_session() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let collector = format!("{}/tcp", listener.local_addr()?);
    let settings = Settings {
        collector: collector.parse().map_err(anyhow::Error::msg)?,
        domain: 3,
        layout: Layout::Biflow,
        overflow: Overflow::Lose,
    };
    let mut exporter = Exporter::open(&settings)?.begin()?;
    exporter.interface(1, 1);
    let mut first = listener.accept()?.0;
    exporter.flow(&flow());
    exporter.tick(Count::default());
    let message = Message::read(&mut first)?;
    ensure!(
        (message.sequence, message.first_set) == (0, 2),
        "{message:?}"
    );
    exporter.flow(&flow());
    exporter.tick(Count::default());
    // The first message held a flow; options may have followed it.
    let mut next = Message::read(&mut first)?;
    while next.first_set != 256 {
        next = Message::read(&mut first)?;
    }
    ensure!(next.sequence > 0, "{next:?}");
    drop(first);

    listener.set_nonblocking(true)?;
    let mut second = None;
    wait_until("another connection", DEADLINE, || {
        second = listener.accept().ok();
        second.is_some()
    })?;
    let mut second = second.map(|(stream, _)| stream).expect("waited for");
    second.set_nonblocking(false)?;
    exporter.flow(&flow());
    exporter.tick(Count::default());
    let message = Message::read(&mut second)?;
    ensure!(
        (message.sequence, message.first_set) == (0, 2),
        "{message:?}"
    );
    let exported = exporter.finish();
    ensure!(exported.sent + exported.lost == 3, "{exported:?}");
    Ok(())
}

/// What a message says of itself.
#[derive(Debug)]
struct Message {
    sequence: u32,
    /// Id of its first set.
    first_set: u16,
}

impl Message {
    fn read(stream: &mut TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut header = [0; 16];
        stream.read_exact(&mut header)?;
        let [_, _, high, low, _, _, _, _, a, b, c, d, domain @ ..] = header;
        ensure!(u32::from_be_bytes(domain) == 3, "{header:?}");
        let mut body = vec![0; usize::from(u16::from_be_bytes([high, low])) - header.len()];
        stream.read_exact(&mut body)?;
        Ok(Self {
            sequence: u32::from_be_bytes([a, b, c, d]),
            first_set: u16::from_be_bytes([body[0], body[1]]),
        })
    }
}

/// A datagram that nobody answered.
fn flow() -> FlowRecord {
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    FlowRecord {
        interface: 0,
        vlan: None,
        inner_vlan: None,
        ip_proto: 17,
        src_addr: address,
        dst_addr: address,
        src_port: 9,
        dst_port: 53,
        forward: FlowSide {
            packets: 1,
            bytes: 100,
            ip_bytes: 86,
            direction: Some(Direction::Ingress),
            ..FlowSide::default()
        },
        reverse: FlowSide::default(),
        handshake_ns: None,
        response_ns: None,
        end: Some(EndReason::IdleTimeout),
    }
}
