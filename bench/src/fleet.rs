//! What a fleet's database costs: rows that an agent sends, what its spool replays, and reports on
//! many stored flows. Agent and server share the machine.

mod agent;
mod stored;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use traffic_tests::clickhouse::Server;

use self::{agent::Sent, stored::Stored};
use crate::{Programs, environment::Environment};

/// Arguments of `bench fleet`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Flows that an agent sends; 0 measures no agent.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    flows: u64,
    /// Stored flows that reports are made on, some 50 bytes of disk each; 0 makes no reports.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    rows: u64,
    /// Repetitions of each report.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repetitions: u16,
    /// Keep the server's data in this directory, and use what is there; else it goes at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory for fleet.md and fleet.json.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Measured {
    environment: Environment,
    server: String,
    sent: Option<Sent>,
    stored: Option<Stored>,
}

/// Measures, prints, and writes both reports.
pub(crate) fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let environment = Environment::here();
    let mut server = match &args.data {
        Some(data) => Server::start_in(data)?,
        None => Server::start()?,
    };
    init(&server, &programs.traffic)?;
    let measured = Measured {
        environment,
        server: server.query("SELECT version()")?,
        stored: (args.rows > 0)
            .then(|| stored::measure(&server, args.rows, args.repetitions, &programs.traffic))
            .transpose()?,
        sent: (args.flows > 0)
            .then(|| agent::measure(&mut server, args.flows))
            .transpose()?,
    };
    let markdown = measured.markdown();
    println!("{markdown}");
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    fs::write(args.out.join("fleet.md"), markdown)?;
    let json = serde_json::to_vec_pretty(&measured)?;
    fs::write(args.out.join("fleet.json"), json)?;
    Ok(ExitCode::SUCCESS)
}

fn init(server: &Server, traffic: &Path) -> Result<()> {
    let output = Command::new(traffic)
        .args(["fleet", "init", "--to", &server.url(DATABASE)])
        .output()
        .context("run traffic fleet init")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "traffic fleet init: {error}");
    Ok(())
}

const DATABASE: &str = "bench";

impl Measured {
    fn markdown(&self) -> String {
        let mut out = format!(
            "{}\nClickHouse {} on the same machine.\n",
            self.environment.text(),
            self.server
        );
        if let Some(sent) = &self.sent {
            let _ = write!(out, "\n{}", sent.markdown());
        }
        if let Some(stored) = &self.stored {
            let _ = write!(out, "\n{}", stored.markdown());
        }
        out
    }
}
