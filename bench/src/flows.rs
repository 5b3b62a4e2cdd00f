//! Summaries per second into flows, on one core.

use std::{
    fmt::Write as _,
    fs,
    hint::black_box,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use traffic_ebpf::{
    protocol::Protocol,
    record::{FLAG_IPV4, Headers, Summary},
};
use traffic_user::{
    flows::{FlowSettings, Flows},
    record::PacketRecord,
};

use crate::{environment::Environment, statistics::Estimate};

/// Arguments of `bench flows`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Flows that are live at once.
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    flows: u32,
    /// Summaries of a repetition, in millions.
    #[arg(long, value_name = "N", default_value_t = 8)]
    millions: u32,
    /// Repetitions.
    #[arg(long, value_name = "N", default_value_t = 7)]
    repetitions: u16,
    /// Directory for flows.md and flows.json.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

/// Packets that make the clock of the summaries go on by a second.
const PACKETS_PER_SECOND: u64 = 1_000_000;
const START_NS: u64 = 1_700_000_000_000_000_000;

/// Port of the responders.
const HTTPS: u32 = 443;

/// How packets spread over flows.
#[derive(Clone, Copy, Debug, Serialize)]
enum Spread {
    /// Every packet belongs to a flow drawn at random: nothing of it is in a cache.
    Random,
    /// Trains of eight packets of a flow drawn at random.
    Trains,
    /// Every packet begins a flow, and the table is full: another one is evicted.
    Flood,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Measured {
    environment: Environment,
    flows: u32,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    spread: Spread,
    /// Summaries per second of each repetition.
    rates: Vec<f64>,
    /// What the live flows take.
    bytes_per_flow: f64,
    live: u64,
}

/// Measures, prints, and writes both reports.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let spreads = [Spread::Random, Spread::Trains, Spread::Flood];
    let rows = spreads.map(|spread| measure(args, spread));
    let measured = Measured {
        environment: Environment::here(),
        flows: args.flows,
        rows: rows.into_iter().collect::<Result<_>>()?,
    };
    let markdown = measured.markdown();
    println!("{markdown}");
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    fs::write(args.out.join("flows.md"), markdown)?;
    let json = serde_json::to_vec_pretty(&measured)?;
    fs::write(args.out.join("flows.json"), json)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, spread: Spread) -> Result<Row> {
    let before = resident_bytes()?;
    let mut flows = Flows::new(FlowSettings {
        idle: Duration::from_secs(15),
        active: Duration::from_mins(30),
        max_flows: args.flows,
        top: 50,
    });
    let mut packets = Packets::new(args.flows);
    for flow in 0..args.flows {
        flows.add(&packets.of(flow));
    }
    ensure!(
        flows.counts().live == u64::from(args.flows),
        "not all flows are live"
    );
    let bytes_per_flow = (resident_bytes()? - before) / f64::from(args.flows);
    let batches = args.millions * 1_000_000 / 64;
    let mut batch = Vec::with_capacity(64);
    let mut rates = Vec::new();
    for _ in 0..args.repetitions {
        let mut spent = Duration::ZERO;
        for _ in 0..batches {
            // As the ring gives them.
            batch.clear();
            batch.extend((0..64).map(|_| packets.next(spread)));
            let begun = Instant::now();
            for record in &batch {
                flows.add(black_box(record));
            }
            spent += begun.elapsed();
        }
        rates.push(f64::from(batches * 64) / spent.as_secs_f64());
    }
    Ok(Row {
        spread,
        rates,
        bytes_per_flow,
        live: flows.counts().live,
    })
}

/// Makes summaries.
struct Packets {
    flows: u32,
    random: u64,
    count: u64,
    /// The next flow that was never there.
    unseen: u32,
}

impl Packets {
    fn new(flows: u32) -> Self {
        Self {
            flows,
            random: 0x9e37_79b9_7f4a_7c15,
            count: 0,
            unseen: flows,
        }
    }

    fn next(&mut self, spread: Spread) -> PacketRecord {
        let flow = match spread {
            Spread::Trains if !self.count.is_multiple_of(8) => self.drawn(),
            Spread::Random | Spread::Trains => {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.drawn()
            }
            Spread::Flood => {
                self.unseen += 1;
                self.unseen
            }
        };
        self.of(flow)
    }

    fn drawn(&self) -> u32 {
        u32::try_from(((self.random >> 32) * u64::from(self.flows)) >> 32).expect("below 2^32")
    }

    /// A packet of this flow, in the one direction or the other.
    fn of(&mut self, flow: u32) -> PacketRecord {
        self.count += 1;
        let mut headers = Headers {
            ip_proto: 6,
            tcp_flags: 0x10,
            flags: FLAG_IPV4,
            protocol: Protocol::Tcp as u8,
            ether_type: 0x0800,
            ..Headers::EMPTY
        };
        headers.src_addr[..4].copy_from_slice(&(0x0a00_0000 | flow >> 8).to_be_bytes());
        headers.dst_addr[..4].copy_from_slice(&[192, 0, 2, 1]);
        let ports = (1024 + (flow & 0xff)) << 16 | HTTPS;
        headers.transport = ports.to_be_bytes();
        if self.count.is_multiple_of(2) {
            std::mem::swap(&mut headers.src_addr, &mut headers.dst_addr);
            headers.transport = ports.rotate_left(16).to_be_bytes();
        }
        PacketRecord::new(Summary {
            timestamp_ns: START_NS + self.count * (1_000_000_000 / PACKETS_PER_SECOND),
            wire_len: 600,
            headers,
            ..Summary::EMPTY
        })
    }
}

/// Resident memory of this process.
fn resident_bytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/statm")?;
    let pages = status.split_whitespace().nth(1).context("read statm")?;
    Ok(pages.parse::<f64>()? * 4096.0)
}

impl Measured {
    fn markdown(&self) -> String {
        let mut out = format!(
            "{}\nSummaries into flows on one core, {} flows live; medians of {} repetitions with 95 % \
             intervals.\n\n| packets | million summaries/s | ns each | bytes per flow |\n|---|---|---|---|\n",
            self.environment.text(),
            self.flows,
            self.rows.first().map_or(0, |row| row.rates.len()),
        );
        for row in &self.rows {
            let millions: Vec<f64> = row.rates.iter().map(|rate| rate / 1e6).collect();
            let Some(estimate) = Estimate::of(&millions) else {
                continue;
            };
            let what = match row.spread {
                Spread::Random => "each of a flow drawn at random",
                Spread::Trains => "trains of eight",
                Spread::Flood => "each begins a flow and evicts one",
            };
            let _ = writeln!(
                out,
                "| {what} | {} | {:.0} | {:.0} |",
                estimate.text(2),
                1000.0 / estimate.median,
                row.bytes_per_flow
            );
        }
        out
    }
}
