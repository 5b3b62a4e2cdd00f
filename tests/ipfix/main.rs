//! IPFIX, read back by collectors that others wrote.

mod collectors;
mod frames;
mod session;
#[path = "../written.rs"]
mod written;

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use traffic_tests::{
    Need, Test, ledger,
    program::{Capture, traffic},
    stage::Stage,
};

use self::collectors::{Nfacctd, Nfcapd};

const NFDUMP: &[Need] = &[
    Need::Program,
    Need::Tool("nfcapd"),
    Need::Tool("nfdump"),
    Need::Tool("setpriv"),
];
const TSHARK: &[Need] = &[Need::Program, Need::Tool("tshark")];

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "nfdump_has_the_totals_of_a_file",
            NFDUMP,
            nfdump_has_the_totals_of_a_file,
        ),
        Test::new(
            "nfdump_has_the_totals_of_a_capture",
            &[
                Need::Capture,
                Need::Tool("nfcapd"),
                Need::Tool("nfdump"),
                Need::Tool("setpriv"),
            ],
            nfdump_has_the_totals_of_a_capture,
        ),
        Test::new(
            "pmacct_has_the_totals_of_a_file",
            &[Need::Program, Need::Tool("nfacctd"), Need::Tool("setpriv")],
            pmacct_has_the_totals_of_a_file,
        ),
        Test::new("tshark_reads_datagrams", TSHARK, tshark_reads_datagrams),
        Test::new(
            "tshark_reads_a_connection",
            TSHARK,
            tshark_reads_a_connection,
        ),
        Test::new(
            "a_collector_that_is_away_costs_records_and_no_time",
            &[Need::Program],
            a_collector_that_is_away_costs_records_and_no_time,
        ),
        Test::new(
            "a_restarted_collector_gets_a_new_session",
            &[],
            session::a_restarted_collector_gets_a_new_session,
        ),
    ])
}

fn nfdump_has_the_totals_of_a_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.pcapng");
    let (packets, bytes) = frames::write(&file)?;
    let collector = Nfcapd::start(None)?;
    let report = read(&directory, &["--ipfix", &collector.address])?;
    ensure!(ledger::entry(&report, "ipfix_lost")? == 0);
    let flows = collector.totals(frames::FLOWS.into())?;
    ensure!(flows.flows == u64::from(frames::FLOWS), "{flows:?}");
    ensure!(
        (flows.packets, flows.bytes) == (packets, bytes),
        "{flows:?}"
    );
    let all = report["flows"]["packets"].as_u64().context("flows")?;
    ensure!(all == packets, "{all} packets of flows");
    let other = report["flows"]["other_packets"].as_u64().context("flows")?;
    ensure!(all + other == ledger::entry(&report, "matched")?);
    Ok(())
}

fn nfdump_has_the_totals_of_a_capture() -> Result<()> {
    let stage = Stage::new()?;
    let collector = Nfcapd::start(Some(&stage.pair.left))?;
    let args = ["-i", "veth0", "-d", "0", "--ipfix", &collector.address];
    let capture = Capture::start(&stage.pair.left, &args)?;
    stage.flood()?.join()?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    let report = captured.report;
    let sent = ledger::entry(&report, "ipfix_sent")?;
    ensure!(ledger::entry(&report, "ipfix_lost")? == 0 && sent > 0);
    let flows = collector.totals(sent)?;
    let number = |name: &str| {
        report["flows"][name]
            .as_u64()
            .context("flows in the report")
    };
    ensure!(flows.packets == number("packets")?, "{flows:?}");
    let frames = number("packets")? + number("other_packets")?;
    ensure!(frames == ledger::entry(&report, "summaries_delivered")?);
    Ok(())
}

fn pmacct_has_the_totals_of_a_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.pcapng");
    let (packets, bytes) = frames::write(&file)?;
    let collector = Nfacctd::start()?;
    let report = read(
        &directory,
        &["--ipfix", &collector.address, "--ipfix-uniflow"],
    )?;
    ensure!(ledger::entry(&report, "ipfix_sent")? == 2 * u64::from(frames::FLOWS));
    collector.expect(packets, bytes)
}

fn tshark_reads_datagrams() -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let address = socket.local_addr()?;
    let reader = thread::spawn(move || {
        let mut messages = Vec::new();
        let mut buffer = [0; 2000];
        while let Ok(length) = socket.recv(&mut buffer) {
            messages.push(buffer[..length].to_vec());
        }
        messages
    });
    let messages = export(&format!("{address}"), || {
        reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader of the socket failed"))
    })?;
    ensure!(messages.iter().all(|message| message.len() <= 1400));
    tshark_reads(&frames::datagrams(&messages), "udp.port==4739,cflow")
}

fn tshark_reads_a_connection() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let reader = thread::spawn(move || -> Result<Vec<u8>> {
        let mut stream = Vec::new();
        listener.accept()?.0.read_to_end(&mut stream)?;
        Ok(stream)
    });
    let stream = export(&format!("{address}/tcp"), || {
        reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader of the socket failed"))?
    })?;
    tshark_reads(&frames::segments(&stream), "tcp.port==4739,cflow")
}

/// What a collector got of a file's flows.
fn export<T>(collector: &str, received: impl FnOnce() -> Result<T>) -> Result<T> {
    let directory = tempfile::tempdir()?;
    frames::write(&directory.path().join("a.pcapng"))?;
    let report = read(&directory, &["--ipfix", collector])?;
    ensure!(ledger::entry(&report, "ipfix_sent")? == u64::from(frames::FLOWS));
    received()
}

/// tshark finds every flow, both of its directions, and nothing to complain about.
fn tshark_reads(frames: &[Vec<u8>], decode_as: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("messages.pcapng");
    frames::write_frames(&file, frames)?;
    let show = |args: &[&str]| -> Result<String> {
        let mut tshark = Command::new("tshark");
        let output = tshark
            .arg("-r")
            .arg(&file)
            .args(["-d", decode_as])
            .args(args)
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let complaints = "_ws.malformed or cflow.unknown_field_type or cflow.no_template_found \
                      or cflow.sequence_analysis.expected_sn";
    let complaints = show(&["-Y", complaints])?;
    ensure!(complaints.is_empty(), "{complaints}");
    let fields = ["cflow.protocol", "cflow.packets", "cflow.od_id"];
    let fields: Vec<_> = fields.iter().flat_map(|field| ["-e", field]).collect();
    let table = show(&[&["-T", "fields", "-E", "separator=/t"][..], &fields].concat())?;
    let count = |column: usize| -> usize {
        let cells = table
            .lines()
            .filter_map(|line| line.split('\t').nth(column));
        cells
            .flat_map(|cell| cell.split(','))
            .filter(|value| !value.is_empty())
            .count()
    };
    ensure!(count(0) == usize::from(frames::FLOWS), "{} flows", count(0));
    // Forward and back.
    ensure!(
        count(1) == 2 * usize::from(frames::FLOWS),
        "{} counts",
        count(1)
    );
    Ok(())
}

fn a_collector_that_is_away_costs_records_and_no_time() -> Result<()> {
    let closed = free_address()?;
    for collector in [format!("{closed}"), format!("{closed}/tcp")] {
        let directory = tempfile::tempdir()?;
        frames::write(&directory.path().join("a.pcapng"))?;
        let report = read(&directory, &["--ipfix", &collector])?;
        let entry = |name| ledger::entry(&report, name);
        let all = entry("ipfix_sent")? + entry("ipfix_lost")?;
        ensure!(all == u64::from(frames::FLOWS), "{collector}: {all}");
        ensure!(entry("ipfix_lost")? > 0, "{collector}: nothing lost");
    }
    Ok(())
}

/// An address where nobody listens on any protocol.
fn free_address() -> Result<SocketAddr> {
    let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    ensure!(TcpStream::connect(address).is_err(), "{address} is taken");
    Ok(address)
}

/// `traffic read` on the file of [`frames::write`]; its report.
fn read(directory: &TempDir, args: &[&str]) -> Result<Value> {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (file, json) = (path("a.pcapng"), path("report.json"));
    let output = traffic(&[&["read", &file, "-qq", "--json", &json][..], args].concat())?;
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&std::fs::read(json)?)?)
}
