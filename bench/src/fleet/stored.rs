//! Reports on many stored flows, which the server makes itself.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use traffic_tests::{clickhouse::Server, wait_until};
use traffic_user::fleet::table::Table;

use super::DATABASE;
use crate::statistics::median;

/// Rows that are made at once.
const CHUNK: u64 = 2_000_000;
/// Hosts over which flows are spread.
const HOSTS: u64 = 100;
/// First second of the flows, a midnight, and how many there are.
const START: u64 = 1_799_971_200;
const SECONDS: u64 = 7 * 86_400;
/// Seconds of the timeline, for the size of its rows: of each host, 12 classes.
const TIMELINE_SECONDS: u64 = 3600;
const CLASSES: u64 = 12;
const MERGE_DEADLINE: Duration = Duration::from_mins(5);

/// What was measured of the rows.
#[derive(Debug, Serialize)]
pub(super) struct Stored {
    rows: u64,
    /// How long the server took to make those that were not there.
    made: Option<(u64, f64)>,
    sizes: Vec<Size>,
    reports: Vec<Timed>,
}

/// Bytes of a table on disk.
#[derive(Debug, Serialize)]
struct Size {
    table: String,
    rows: u64,
    bytes: u64,
}

/// A report, several times.
#[derive(Debug, Serialize)]
struct Timed {
    what: String,
    filter: Option<String>,
    flows: u64,
    seconds: Vec<f64>,
}

pub(super) fn measure(
    server: &Server,
    rows: u64,
    repetitions: u16,
    traffic: &Path,
) -> Result<Stored> {
    let made = make(server, rows)?;
    settle(server)?;
    let hour = (START + 86_400, 3600);
    let day = (START + 86_400, 86_400);
    let week = (START, SECONDS);
    let selected = Some("src net 10.0.0.0/12 and tcp port 443");
    let asked = [
        ("an hour", hour, None, Vec::new()),
        ("a day of one host", day, None, vec!["--host", "host7"]),
        ("a day", day, None, Vec::new()),
        ("a day", day, selected, Vec::new()),
        ("7 days: all rows", week, None, Vec::new()),
        ("7 days: all rows", week, selected, Vec::new()),
    ];
    let mut reports = Vec::new();
    for (what, range, filter, more) in asked {
        eprintln!("report on {what} {}", filter.unwrap_or_default());
        let options = options(server, range, filter, &more);
        reports.push(time(what, filter, &options, repetitions, traffic)?);
    }
    Ok(Stored {
        rows: count(server)?,
        made,
        sizes: sizes(server)?,
        reports,
    })
}

fn count(server: &Server) -> Result<u64> {
    server.number(&format!(
        "SELECT count() FROM {DATABASE}.flows WHERE host != 'agent'"
    ))
}

/// Makes rows up to this number; how many there were to make, and in what time.
fn make(server: &Server, rows: u64) -> Result<Option<(u64, f64)>> {
    let before = count(server)?;
    let begun = Instant::now();
    let mut from = before;
    while from < rows {
        let to = rows.min(from + CHUNK);
        server.query(&flows(from, to, rows))?;
        from = to;
        eprintln!("{from} of {rows} rows");
    }
    if before < rows {
        server.query(&timeline())?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok((before < rows).then_some((rows - before, seconds)))
}

/// Flows `from` to `to` of `rows`, in the order of time: client and server, ports, sizes and times
/// differ as those of an office's connections do. What no report reads of all rows (times of each
/// side, bytes from the IP header) is left out: a whole row takes some 85 bytes, these some 50.
fn flows(from: u64, to: u64, rows: u64) -> String {
    let columns: Vec<_> = Table::Flows
        .columns()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let value = |name: &str| match name {
        "host" => format!("concat('host', toString(i % {HOSTS}))"),
        "run" => format!("toUInt64(i % {HOSTS})"),
        "time" => "toDateTime(second)".to_owned(),
        "number" => format!("toUInt64(intDiv(i, {HOSTS}))"),
        "interface" => "'eth0'".to_owned(),
        "ip_version" => "toUInt8(4)".to_owned(),
        "ip_proto" => "toUInt8(if(r % 4 = 0, 17, 6))".to_owned(),
        "src_addr" => "toFixedString(unhex(concat('00000000000000000000ffff0a', \
             substring(hex(toUInt32(0x1000000 + (r2 % 64) * 65536 + r % 4096)), 3))), 16)"
            .to_owned(),
        "dst_addr" => "toFixedString(unhex(concat('00000000000000000000ffffc0', \
             substring(hex(toUInt32(0x1000000 + r % 512)), 3))), 16)"
            .to_owned(),
        "src_port" => "toUInt16(32768 + r2 % 28000)".to_owned(),
        "dst_port" => "toUInt16(if(r % 4 = 0, 53, if(r % 3 = 0, 80, 443)))".to_owned(),
        "forward_packets" => "toUInt64(1 + r2 % 16)".to_owned(),
        "forward_bytes" => "toUInt64((1 + r2 % 16) * (60 + r % 512))".to_owned(),
        "reverse_packets" => "toUInt64(1 + r2 % 24)".to_owned(),
        "reverse_bytes" => "toUInt64((1 + r2 % 24) * (60 + r2 % 1400))".to_owned(),
        "last_ns" => "first + r % 1000000000".to_owned(),
        "forward_flags" | "reverse_flags" => "toUInt8(27)".to_owned(),
        "forward_direction" => "'egress'".to_owned(),
        "reverse_direction" => "'ingress'".to_owned(),
        "handshake_ns" => "if(r % 4 = 0, NULL, r2 % 4000000)".to_owned(),
        "response_ns" => "r2 % 20000000".to_owned(),
        "end_reason" => "if(r % 4 = 0, 'idle_timeout', 'end_of_flow')".to_owned(),
        "vlan" | "inner_vlan" | "forward_icmp" | "reverse_icmp" => "NULL".to_owned(),
        _ => "toUInt64(0)".to_owned(),
    };
    let values: Vec<_> = columns.iter().map(|name| value(name)).collect();
    format!(
        "INSERT INTO {DATABASE}.flows ({}) SELECT {} FROM (SELECT number + {from} AS i, \
         intHash64(number + {from}) AS r, intHash64(number + {from} + 1000000007) AS r2, \
         toUInt32({START} + intDiv((number + {from}) * {SECONDS}, {rows})) AS second, \
         toUInt64(second) * 1000000000 - 2000000000 + r2 % 1000000000 AS first \
         FROM numbers({}))",
        columns.join(", "),
        values.join(", "),
        to - from
    )
}

/// An hour of the timeline of every host, and with it the sums per minute and hour.
fn timeline() -> String {
    format!(
        "INSERT INTO {DATABASE}.timeline SELECT concat('host', toString(h)) AS host, \
         toUInt64(h) AS run, toDateTime({START} + second) AS time, \
         toUInt64({START} + second) * 1000000000 + r % 1000000 AS start_ns, \
         toUInt64({START} + second + 1) * 1000000000 + r % 1000000 AS end_ns, 'eth0' AS interface, \
         if(class % 2 = 0, 'ingress', 'egress') AS direction, \
         arrayElement(['tcp', 'udp', 'dns', 'icmp', 'arp', 'icmp6'], intDiv(class, 2) + 1) AS protocol, \
         if(class IN (4, 5), 'udp', '') AS transport, toUInt8(if(class < 10, 4, 6)) AS ip_version, \
         toUInt64(100 + r % 1000) AS packets, toUInt64((100 + r % 1000) * 600) AS bytes, \
         toUInt64(second * 600 + r % 100) AS packets_before, \
         toUInt64(second * 360000 + r % 60000) AS bytes_before \
         FROM (SELECT number % {HOSTS} AS h, intDiv(number, {HOSTS}) % {CLASSES} AS class, \
         intDiv(number, {HOSTS} * {CLASSES}) AS second, intHash64(number) AS r \
         FROM numbers({}))",
        HOSTS * CLASSES * TIMELINE_SECONDS
    )
}

/// Waits until the server merges nothing any more: that would be measured too.
fn settle(server: &Server) -> Result<()> {
    wait_until("the end of all merges", MERGE_DEADLINE, || {
        thread::sleep(Duration::from_millis(500));
        server
            .number("SELECT count() FROM system.merges")
            .unwrap_or(1)
            == 0
    })
}

fn sizes(server: &Server) -> Result<Vec<Size>> {
    let answer = server.query(&format!(
        "SELECT table, sum(rows), sum(bytes) FROM system.parts WHERE active AND \
         database = '{DATABASE}' AND rows > 1000 GROUP BY table ORDER BY table"
    ))?;
    answer
        .lines()
        .map(|line| {
            let mut words = line.split('\t');
            let mut next = || words.next().context("three columns");
            Ok(Size {
                table: next()?.to_owned(),
                rows: next()?.parse()?,
                bytes: next()?.parse()?,
            })
        })
        .collect()
}

fn options(
    server: &Server,
    (since, seconds): (u64, u64),
    filter: Option<&str>,
    more: &[&str],
) -> Vec<String> {
    let moment = |second: u64| {
        let day = (second - START) / 86_400;
        let rest = (second - START) % 86_400;
        format!("2027-01-{:02}T{:02}:00:00Z", 15 + day, rest / 3600)
    };
    let mut options = vec![
        "report".to_owned(),
        "--from".to_owned(),
        server.url(DATABASE),
        "--since".to_owned(),
        moment(since),
        "--until".to_owned(),
        moment(since + seconds),
        "-qq".to_owned(),
        "--json".to_owned(),
        "-".to_owned(),
    ];
    if let Some(filter) = filter {
        options.extend(["-f".to_owned(), filter.to_owned()]);
    }
    options.extend(more.iter().map(|&word| word.to_owned()));
    options
}

fn time(
    what: &str,
    filter: Option<&str>,
    options: &[String],
    repetitions: u16,
    traffic: &Path,
) -> Result<Timed> {
    let (mut seconds, mut flows) = (Vec::new(), 0);
    for _ in 0..repetitions {
        let begun = Instant::now();
        let output = Command::new(traffic)
            .args(options)
            .stdin(Stdio::null())
            .output()
            .context("run traffic report")?;
        seconds.push(begun.elapsed().as_secs_f64());
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "traffic report: {error}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let ended = report["flows"]["ended"].as_object().context("flows")?;
        flows = ended.values().filter_map(Value::as_u64).sum();
        ensure!(flows > 0, "no flows in the report");
    }
    Ok(Timed {
        what: what.to_owned(),
        filter: filter.map(str::to_owned),
        flows,
        seconds,
    })
}

impl Stored {
    pub(super) fn markdown(&self) -> String {
        let mut out = format!(
            "{} million stored flows of {HOSTS} hosts in 7 days",
            self.rows as f64 / 1e6
        );
        if let Some((rows, seconds)) = self.made {
            let _ = write!(
                out,
                " (the server made {:.1} million of them in {seconds:.0} s)",
                rows as f64 / 1e6
            );
        }
        out += ":\n\n| report on | `-f` | million flows in it | seconds |\n|---|---|---|---|\n";
        for report in &self.reports {
            let filter = report.filter.as_ref();
            let filter = filter.map_or(String::new(), |filter| format!("`{filter}`"));
            let seconds = median(&report.seconds).unwrap_or_default();
            let _ = writeln!(
                out,
                "| {} | {filter} | {:.2} | {seconds:.2} |",
                report.what,
                report.flows as f64 / 1e6
            );
        }
        out += "\n| table | rows | bytes on disk | bytes a row |\n|---|---|---|---|\n";
        for size in &self.sizes {
            let Size { table, rows, bytes } = size;
            let each = *bytes as f64 / *rows as f64;
            let _ = writeln!(out, "| `{table}` | {rows} | {bytes} | {each:.1} |");
        }
        out
    }
}
