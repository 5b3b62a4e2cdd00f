//! Collectors as processes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::UdpSocket,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use traffic_tests::{netns::Namespace, peer, wait_until};

const DEADLINE: Duration = Duration::from_secs(10);

/// What a collector counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) flows: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// nfdump's collector; killed on drop.
pub(crate) struct Nfcapd {
    child: Child,
    directory: TempDir,
    pub(crate) address: String,
}

impl Nfcapd {
    pub(crate) fn start(namespace: Option<&Namespace>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let mut child = peer::command(namespace.map(Namespace::name), "nfcapd")
            .args([
                "-b",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-t",
                "3600",
                "-w",
            ])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start nfcapd")?;
        wait_for_line(&mut child, "Startup")?;
        Ok(Self {
            child,
            directory,
            address: format!("127.0.0.1:{port}"),
        })
    }

    /// Ends it and asks nfdump, both directions of its flows together.
    pub(crate) fn totals(mut self, expected: u64) -> Result<Totals> {
        // The last datagrams are in its socket; it takes them before the signal.
        std::thread::sleep(Duration::from_millis(300));
        signal(&self.child, Signal::SIGTERM)?;
        self.child.wait()?;
        let output = Command::new("nfdump")
            .arg("-R")
            .arg(self.directory.path())
            .args(["-q", "-o", "fmt:%ipkt %opkt %ibyt %obyt", "-N"])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut totals = Totals::default();
        for line in text.lines() {
            let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
            let [in_packets, out_packets, in_bytes, out_bytes] = numbers[..] else {
                continue;
            };
            totals.flows += 1;
            totals.packets += in_packets + out_packets;
            totals.bytes += in_bytes + out_bytes;
        }
        if totals.flows != expected {
            bail!("nfdump has {totals:?}, not {expected} flows:\n{text}");
        }
        Ok(totals)
    }
}

impl Drop for Nfcapd {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// pmacct's collector, which prints; killed on drop.
pub(crate) struct Nfacctd {
    child: Child,
    directory: TempDir,
    pub(crate) address: String,
}

impl Nfacctd {
    pub(crate) fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let configuration = format!(
            "daemonize: false\nnfacctd_ip: 127.0.0.1\nnfacctd_port: {port}\nplugins: print\n\
             aggregate: src_host, dst_host, src_port, dst_port, proto\nprint_output: csv\n\
             print_output_file: {}\nprint_output_file_append: true\nprint_refresh_time: 1\n\
             nfacctd_time_new: true\nlogfile: {}\n",
            path("flows.csv"),
            path("log"),
        );
        fs::write(path("configuration"), configuration)?;
        let child = peer::command(None, "nfacctd")
            .args(["-f", &path("configuration")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start nfacctd")?;
        let collector = Self {
            child,
            directory,
            address: format!("127.0.0.1:{port}"),
        };
        // Before its plugin runs, it loses what it gets.
        wait_until("nfacctd's plugin", DEADLINE, || {
            collector.log().contains("Purging cache")
        })?;
        Ok(collector)
    }

    /// Waits until it has counted exactly this, without a complaint.
    pub(crate) fn expect(self, packets: u64, bytes: u64) -> Result<()> {
        wait_until("pmacct's totals", DEADLINE, || {
            let totals = self.totals();
            totals.packets == packets && totals.bytes == bytes
        })
        .with_context(|| format!("{:?}, not {packets} packets, {bytes} bytes", self.totals()))?;
        let log = self.log();
        let complaint = log.lines().find(|line| {
            line.starts_with("WARN") || line.starts_with("ERROR") || line.contains("malformed")
        });
        match complaint {
            Some(complaint) => bail!("{complaint}"),
            None => Ok(()),
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn totals(&self) -> Totals {
        let csv = fs::read_to_string(self.directory.path().join("flows.csv")).unwrap_or_default();
        let mut totals = Totals::default();
        for line in csv.lines() {
            let mut fields = line.rsplit(',').map(str::parse::<u64>);
            if let (Some(Ok(bytes)), Some(Ok(packets))) = (fields.next(), fields.next()) {
                totals.flows += 1;
                totals.packets += packets;
                totals.bytes += bytes;
            }
        }
        totals
    }
}

impl Drop for Nfacctd {
    fn drop(&mut self) {
        // It ends its own children at SIGINT.
        let ended = signal(&self.child, Signal::SIGINT).and_then(|()| {
            let child = &mut self.child;
            wait_until("the end of nfacctd", DEADLINE, || {
                !matches!(child.try_wait(), Ok(None))
            })
        });
        if ended.is_err() {
            end(&mut self.child);
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    Ok(kill(pid, signal)?)
}

fn end(child: &mut Child) {
    // Both fail when it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads stderr up to a line with `part`, and goes on reading it in the background.
fn wait_for_line(child: &mut Child, part: &str) -> Result<()> {
    let stderr = child.stderr.take().context("stderr is piped")?;
    let mut lines = BufReader::new(stderr).lines();
    for line in lines.by_ref() {
        if line?.contains(part) {
            std::thread::spawn(move || lines.count());
            return Ok(());
        }
    }
    bail!("nfcapd ended before it said '{part}'")
}
