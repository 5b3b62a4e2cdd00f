//! Boots other kernels and runs the program and its tests there.

mod kernel;
mod machine;
mod outcome;
mod packages;
mod root;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::{
    build::{self, Built, Profile},
    process,
    processor::Processor,
};
use kernel::{Kernel, NEWEST};
use machine::Machine;
pub(crate) use outcome::{Column, Outcome};
use outcome::{Reader, table};
pub(crate) use packages::Archive;
use root::Payload;
use tools::Tools;

/// Kernels of a full run.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", NEWEST];
/// Test binaries that run on every kernel.
const TESTS: [&str; 7] = [
    "namespaces",
    "object",
    "doctor",
    "capture",
    "filter",
    "sandbox",
    "faults",
];
/// What runs of them: loading, the diagnosis, attaching, capturing, the ledger, filters, privileges,
/// SIGKILL, and what needs a clock and a disk of its own.
const PLAN: [&str; 9] = [
    "namespaces",
    "object",
    "doctor",
    "capture",
    "filter",
    "sandbox",
    "faults killed",
    "faults clock",
    "faults slow_disk",
];
/// What every test run boots: the oldest kernel, and there these.
const SHORT_KERNEL: &str = "5.10";
const SHORT_PLAN: [&str; 5] = [
    "doctor the_diagnosis_follows_the_host",
    "capture count_stops_at_exactly_so_many_frames",
    "capture only_filters_of_killed_captures_are_removed",
    "faults clock",
    "faults slow_disk",
];
/// Time for those: many times what they take.
const SHORT_LIMIT_MINUTES: u64 = 4;
/// Time that one kernel may take, unless `--limit` says otherwise.
const LIMIT_MINUTES: u64 = 20;

/// Boots kernels of Debian in software and runs the tests of the kernel programs there
#[derive(Args, Debug)]
pub(crate) struct Vm {
    /// Kernel to boot, as its release begins, or `newest`; repeat for several [default: 5.10, 6.1,
    /// 6.12, newest].
    #[arg(long = "kernel", value_name = "V")]
    kernels: Vec<String>,
    /// Minutes that one kernel may take.
    #[arg(long, value_name = "MINUTES", default_value_t = LIMIT_MINUTES)]
    limit: u64,
    /// Take builds that are neither optimized nor static, which are made faster.
    #[arg(long)]
    debug: bool,
    /// Look for newer kernels than those that were fetched before.
    #[arg(long)]
    update: bool,
    /// Part of the names of the tests to run.
    filter: Option<String>,
}

impl Vm {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let names = if self.kernels.is_empty() {
            KERNELS.map(str::to_owned).to_vec()
        } else {
            self.kernels
        };
        let machines = Machines::fetch(&names, self.update)?;
        for (name, error) in &machines.missing {
            eprintln!("error: {name}: {error:#}");
        }
        ensure!(machines.missing.is_empty(), "some kernels are missing");
        let mut payload = if self.debug {
            built_for_debugging()?
        } else {
            built_static()?
        };
        payload.plan = match &self.filter {
            Some(filter) => TESTS.map(|test| format!("{test} {filter}")).to_vec(),
            None => PLAN.map(str::to_owned).to_vec(),
        };
        let columns = machines.boot(&payload, Duration::from_mins(self.limit))?;
        print!("{}", table(&columns));
        let failed: u64 = columns
            .iter()
            .map(|column| column.count(|outcome| *outcome == Outcome::Failed))
            .sum();
        Ok(ExitCode::from(u8::from(failed > 0)))
    }
}

/// Kernels, and what boots them.
#[derive(Debug)]
pub(crate) struct Machines {
    tools: Tools,
    kernels: Vec<Kernel>,
    /// Kernels that could not be fetched, and why.
    pub(crate) missing: Vec<(String, anyhow::Error)>,
}

impl Machines {
    /// Those of a run of all tests: one, or in a long run every kernel.
    pub(crate) fn of_test_run(long: bool) -> Result<Self> {
        let names = if long { &KERNELS[..] } else { &[SHORT_KERNEL] };
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        Self::fetch(&names, false)
    }

    /// One, or why it cannot be had.
    pub(crate) fn of_kernel(name: &str) -> Result<Self> {
        let mut machines = Self::fetch(&[name.to_owned()], false)?;
        machines
            .missing
            .pop()
            .map_or(Ok(machines), |(_, error)| Err(error))
    }

    /// Finds tools and kernels below `target/`, else fetches them.
    fn fetch(names: &[String], update: bool) -> Result<Self> {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "run on x86-64, the processor that is made in software"
        );
        let tools = Tools::find_or_fetch()?;
        let (mut kernels, mut missing) = (Vec::new(), Vec::new());
        let mut archive = None;
        for name in names {
            if let Some(kernel) = Kernel::cached(name).filter(|_| !update) {
                kernels.push(kernel);
                continue;
            }
            let archive = match &archive {
                Some(archive) => archive,
                None => archive.insert(Archive::of_kernels()?),
            };
            match Kernel::fetch(name, archive, &tools) {
                Ok(kernel) => kernels.push(kernel),
                Err(error) => missing.push((name.clone(), error)),
            }
        }
        Ok(Self {
            tools,
            kernels,
            missing,
        })
    }

    /// Runs the tests of a run of all tests, as that has built them.
    pub(crate) fn test(&self, built: Built, long: bool) -> Result<Vec<Column>> {
        if self.kernels.is_empty() {
            return Ok(Vec::new());
        }
        let mut cargo = build::cargo(&built.object);
        cargo.arg("test");
        let mut payload = payload(built, cargo)?;
        let plan = if long { &PLAN[..] } else { &SHORT_PLAN };
        payload.plan = plan.iter().copied().map(str::to_owned).collect();
        let minutes = if long {
            LIMIT_MINUTES
        } else {
            SHORT_LIMIT_MINUTES
        };
        let columns = self.boot(&payload, Duration::from_mins(minutes))?;
        print!("{}", table(&columns));
        Ok(columns)
    }

    /// Boots `system`, a root directory with a first process of its own that speaks of tests as
    /// ours does. It gets the kernel's modules.
    pub(crate) fn boot_system(&self, system: &Path, limit: Duration) -> Result<Column> {
        let kernel = self.kernels.first().context("it has one kernel")?;
        let directory = tempfile::tempdir_in(process::target().join("vm"))
            .context("make room for a root directory")?;
        let archive = directory.path().join("root");
        root::of_system(system, kernel, &self.tools, &archive)?;
        let console = directory.path().join("console");
        Ok(run_in(kernel, &archive, &console, &self.tools, limit))
    }

    /// Boots the kernels one after the other.
    fn boot(&self, payload: &Payload, limit: Duration) -> Result<Vec<Column>> {
        let directory = tempfile::tempdir_in(process::target().join("vm"))
            .context("make room for root directories")?;
        let shared = directory.path().join("shared");
        root::pack(payload, &self.tools, &shared)?;
        let archive = directory.path().join("root");
        let console = directory.path().join("console");
        let run = |kernel| {
            root::with_modules(&shared, kernel, &self.tools, &archive)?;
            Ok(run_in(kernel, &archive, &console, &self.tools, limit))
        };
        self.kernels.iter().map(run).collect()
    }
}

/// Boots one kernel and passes on what its tests say. What hinders it is a failed test.
fn run_in(
    kernel: &Kernel,
    archive: &Path,
    console: &Path,
    tools: &Tools,
    limit: Duration,
) -> Column {
    let start = Instant::now();
    let mut column = Column::new(&kernel.name);
    let mut reader = Reader::default();
    let result = Machine::boot(kernel, archive, console, tools, limit)
        .and_then(|mut machine| follow(&mut machine, &mut column, &mut reader));
    let stuck = reader.take_running();
    if let Err(error) = result {
        println!("{}: {error:#}", kernel.name);
        let test = stuck.unwrap_or_else(|| "comes to the end".to_owned());
        column.tests.insert(test, Outcome::Failed);
    }
    println!("{}: {:.0?}", kernel.name, start.elapsed());
    column
}

/// Reads what the first process says until it is done.
fn follow(machine: &mut Machine<'_>, column: &mut Column, reader: &mut Reader) -> Result<()> {
    let mut binary = String::new();
    loop {
        let line = machine.line()?;
        println!("{}: {line}", column.kernel);
        if let Some((test, outcome)) = reader.read(&line) {
            column.tests.insert(test, outcome);
        } else if let Some(release) = line.strip_prefix("kernel ") {
            release.clone_into(&mut column.release);
        } else if let Some(line) = line.strip_prefix("run ") {
            line.clone_into(&mut binary);
        } else if let Some(code) = line.strip_prefix("exit ") {
            let known = column.count(|outcome| *outcome == Outcome::Failed) > 0;
            ensure!(code == "0" || known, "{binary} ended with code {code}");
        } else if line == "done" {
            return Ok(());
        }
    }
}

/// The program and the tests with every library linked in.
fn built_static() -> Result<Payload> {
    let processor = Processor::of_this_machine()?;
    let built = build::all(Profile::Static(processor))?;
    let mut cargo = build::static_cargo(&built.object, processor)?;
    cargo.args(["test", "--release"]);
    payload(built, cargo)
}

/// The program and the tests as development builds them.
fn built_for_debugging() -> Result<Payload> {
    let built = build::all(Profile::Debug)?;
    let mut cargo = build::cargo(&built.object);
    cargo.arg("test");
    payload(built, cargo)
}

fn payload(built: Built, mut cargo: Command) -> Result<Payload> {
    cargo.args(["--package", "traffic-tests", "--no-run"]);
    for test in TESTS {
        cargo.args(["--test", test]);
    }
    cargo.arg("--target-dir").arg(process::target());
    Ok(Payload {
        program: built.program,
        object: built.object,
        tests: executables(&mut cargo)?,
        plan: Vec::new(),
    })
}

/// A line of `cargo --message-format=json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Names and files of what `cargo` builds.
fn executables(cargo: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    process::show(cargo);
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(
        output.status.success(),
        "build the tests: {}",
        output.status
    );
    let mut executables = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Message = serde_json::from_str(line).context("read what cargo built")?;
        if let (Some(target), Some(file)) = (message.target, message.executable) {
            executables.push((target.name, file));
        }
    }
    Ok(executables)
}
