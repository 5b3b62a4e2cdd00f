//! Flows from one agent to the server, at once and by way of the spool.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use serde::Serialize;
use traffic_tests::clickhouse::Server;
use traffic_user::{
    fleet::{
        exporter::{Exporter, Outbox},
        flows::FlowRows,
        parcel::{Batch, Parcel},
        store::Store,
        table::{Rows, Table},
    },
    flows::{EndReason, FlowRecord, FlowSide},
    record::Direction,
};

use super::DATABASE;

/// Rows that may be on their way, so that none is lost.
const AHEAD: u64 = 300_000;
const START_NS: u64 = 1_700_000_000_000_000_000;
const SPOOL_BYTES: u64 = 8 << 30;
const REPLAY_DEADLINE: Duration = Duration::from_mins(5);

/// What was measured of an agent.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    flows: u64,
    /// From the first row to the answer for the last.
    direct_s: f64,
    /// The agent's CPU time for it: making rows, compressing and sending them.
    direct_cpu_s: f64,
    /// The same with the server away: making rows, compressing, writing and syncing them.
    spooled_s: f64,
    spooled_cpu_s: f64,
    /// Bytes of the spool.
    spool_bytes: u64,
    /// From the start of the next run until the server has all rows.
    replayed_s: f64,
}

pub(super) fn measure(server: &mut Server, flows: u64) -> Result<Sent> {
    let spool = tempfile::tempdir()?;
    let stored = |server: &Server| {
        server.number(&format!(
            "SELECT count() FROM {DATABASE}.flows WHERE host = 'agent'"
        ))
    };
    let before = stored(server)?;
    let (direct_s, direct_cpu_s) = send(server, spool.path(), flows, 1)?;
    let direct = stored(server)? - before;
    ensure!(direct == flows, "{direct} of {flows} flows were stored");
    server.kill()?;
    let (spooled_s, spooled_cpu_s) = send(server, spool.path(), flows, 2)?;
    let spool_bytes = size(spool.path())?;
    server.resume()?;
    let begun = Instant::now();
    let exporter = exporter(server, spool.path(), 3)?;
    while stored(server)? - before < 2 * flows {
        ensure!(
            begun.elapsed() < REPLAY_DEADLINE,
            "the spool is not replayed"
        );
        thread::sleep(Duration::from_millis(50));
    }
    let replayed_s = begun.elapsed().as_secs_f64();
    let (exported, news) = exporter.finish();
    ensure!(exported.lost == 0, "{exported:?} {news:?}");
    Ok(Sent {
        flows,
        direct_s,
        direct_cpu_s,
        spooled_s,
        spooled_cpu_s,
        spool_bytes,
        replayed_s,
    })
}

fn exporter(server: &Server, spool: &Path, run: u64) -> Result<Exporter> {
    let store = Store::new(&server.url(DATABASE).parse()?, None);
    let outbox = Outbox::open(spool, SPOOL_BYTES, (START_NS + run, run))?;
    Ok(outbox.start(store)?)
}

/// Sends flows; seconds, and seconds of CPU time, until all are stored or spooled.
fn send(server: &Server, spool: &Path, flows: u64, run: u64) -> Result<(f64, f64)> {
    let mut exporter = exporter(server, spool, run)?;
    let (begun, cpu) = (Instant::now(), cpu_s()?);
    let mut rows = FlowRows::new("agent".to_owned(), run, START_NS);
    let mut sequence = 0;
    let mut push = |exporter: &mut Exporter, rows: Rows| {
        let table = Table::Flows;
        exporter.push(Parcel {
            run,
            sequence,
            batches: vec![Batch { table, rows }],
        });
        sequence += 1;
    };
    for number in 0..flows {
        rows.add("eth0", &flow(number));
        for full in rows.take_full() {
            push(&mut exporter, full);
            wait_for(&exporter);
        }
    }
    push(&mut exporter, rows.take_rest());
    let (exported, news) = exporter.finish();
    ensure!(
        exported.lost == 0 && exported.rows == flows,
        "{exported:?} {news:?}"
    );
    Ok((begun.elapsed().as_secs_f64(), cpu_s()? - cpu))
}

/// Waits until few rows are on their way.
fn wait_for(exporter: &Exporter) {
    loop {
        let exported = exporter.exported();
        let settled = exported.stored + exported.waiting + exported.lost;
        if exported.rows - settled.min(exported.rows) < AHEAD {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A connection of a client to a server, as they come and go.
fn flow(number: u64) -> FlowRecord {
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let part = |shift: u32, bits: u32| (random >> shift) & ((1 << bits) - 1);
    let byte = |shift| u8::try_from(part(shift, 8)).expect("eight bits");
    let first_ns = START_NS + number * 20_000;
    let side = |packets: u64, offset_ns, direction| FlowSide {
        packets,
        bytes: packets * (60 + part(11, 9)),
        ip_bytes: packets * (46 + part(11, 9)),
        first_ns: first_ns + offset_ns,
        last_ns: first_ns + offset_ns + part(3, 30),
        tcp_flags: 0x1b,
        direction: Some(direction),
        icmp_type_code: None,
    };
    FlowRecord {
        interface: 0,
        vlan: None,
        inner_vlan: None,
        ip_proto: if byte(40).is_multiple_of(4) { 17 } else { 6 },
        src_addr: [10, 0, byte(1) & 15, byte(9)].into(),
        dst_addr: [192, 0, 2, byte(17)].into(),
        src_port: 32_768 | u16::try_from(part(25, 15)).expect("fifteen bits"),
        dst_port: if byte(48).is_multiple_of(3) { 443 } else { 53 },
        forward: side(1 + part(33, 4), 0, Direction::Egress),
        reverse: side(1 + part(37, 5), part(7, 22), Direction::Ingress),
        handshake_ns: Some(part(7, 22)),
        response_ns: Some(part(13, 24)),
        end: Some(EndReason::EndOfFlow),
    }
}

/// CPU time of this process, in seconds.
fn cpu_s() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("ask for the CPU time")?;
    let time = usage.user_time() + usage.system_time();
    Ok(time.num_microseconds() as f64 / 1e6)
}

/// Bytes of the files in a directory and in those inside it.
fn size(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

impl Sent {
    pub(super) fn markdown(&self) -> String {
        let millions = self.flows as f64 / 1e6;
        let row = |what: &str, seconds: f64, cpu: Option<f64>| {
            let cpu = cpu.map_or("–".to_owned(), |cpu| format!("{:.2}", cpu / millions));
            let rate = self.flows as f64 / seconds / 1000.0;
            format!("| {what} | {rate:.0} | {cpu} |\n")
        };
        [
            format!("One agent, {millions} million flows, one thread:\n\n"),
            "| | thousand flows/s | agent's CPU seconds per million |\n|---|---|---|\n".to_owned(),
            row("stored at once", self.direct_s, Some(self.direct_cpu_s)),
            row(
                "into the spool, the server away",
                self.spooled_s,
                Some(self.spooled_cpu_s),
            ),
            row("spool replayed", self.replayed_s, None),
            format!(
                "\nA flow takes {:.0} bytes in the spool.\n",
                self.spool_bytes as f64 / self.flows as f64
            ),
        ]
        .concat()
    }
}
