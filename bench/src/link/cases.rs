//! Which tools, doing what.

use std::{env, path::PathBuf};

use serde::Serialize;

use super::Paths;

/// A tool with its arguments.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Program and arguments, split at white space; `EMPTY` for this program, which attaches one
    /// that does nothing. `TRAFFIC`, `CAPTURE` and `REPORT` stand for
    /// paths. Empty for no tool.
    pub(super) line: &'static str,
    /// What it prints when it listens.
    #[serde(skip)]
    pub(super) ready: &'static str,
    #[serde(skip)]
    pub(super) kept: Kept,
}

/// Who says how many frames a tool has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    /// Nobody.
    Nothing,
    /// The tool, on its output.
    Printed,
    /// This entry of the ledger in the JSON report.
    Ledger(&'static str),
}

pub(super) const NONE: Case = Case {
    name: "none",
    line: "",
    ready: "",
    kept: Kept::Nothing,
};
/// What any program at XDP costs.
pub(super) const EMPTY: Case = Case {
    name: "an XDP program that does nothing",
    line: "EMPTY",
    ready: "listening on",
    kept: Kept::Nothing,
};
pub(super) const COUNTERS: Case = ours(
    "traffic, counters only",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT --counters-only",
    "matched",
);
pub(super) const SUMMARIES: Case = ours(
    "traffic, summaries and analysis",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT",
    "summaries_delivered",
);
pub(super) const SUMMARIES_TC: Case = ours(
    "traffic, summaries and analysis, TC",
    "TRAFFIC capture -i veth0 --hook tc -Q in -d 0 --json REPORT",
    "summaries_delivered",
);
pub(super) const SAMPLED: Case = ours(
    "traffic, + 128 B of 1/64 frames to a file",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE -s 128 --sample 64",
    "summaries_delivered",
);
pub(super) const SNAPPED: Case = ours(
    "traffic, + 128 B of every frame to a file",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE -s 128",
    "frames_written",
);
pub(super) const WHOLE: Case = ours(
    "traffic, + whole frames to a file",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE",
    "frames_written",
);
pub(super) const WHOLE_LARGE_RING: Case = ours(
    "traffic, + whole frames to a file, 64 MiB ring",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE -B 64M",
    "frames_written",
);
pub(super) const TCPDUMP_96: Case = peer(
    "tcpdump -s 96",
    "tcpdump -i veth0 -n -Z root -s 96 -w CAPTURE",
);
pub(super) const TCPDUMP_128: Case = peer(
    "tcpdump -s 128",
    "tcpdump -i veth0 -n -Z root -s 128 -w CAPTURE",
);
pub(super) const TCPDUMP: Case = peer(
    "tcpdump, whole frames",
    "tcpdump -i veth0 -n -Z root -w CAPTURE",
);
pub(super) const TCPDUMP_LARGE: Case = peer(
    "tcpdump, whole frames, 64 MiB buffer",
    "tcpdump -i veth0 -n -Z root -B 65536 -w CAPTURE",
);
pub(super) const DUMPCAP: Case = Case {
    ready: "File: ",
    ..peer("dumpcap", "dumpcap -i veth0 -w CAPTURE")
};
pub(super) const XDPDUMP_96: Case = peer(
    "xdpdump -s 96",
    "xdpdump -i veth0 --load-xdp-program -s 96 --perf-wakeup 64 -w CAPTURE",
);
pub(super) const XDPDUMP: Case = peer(
    "xdpdump, whole frames",
    "xdpdump -i veth0 --load-xdp-program --perf-wakeup 64 -w CAPTURE",
);
/// Its own interpreter: others may not have the package.
pub(super) const SCAPY: Case = peer("scapy", "/usr/bin/python3 -c SCAPY");

/// Captures until it is interrupted.
const SCAPY_SCRIPT: &str = "\
from scapy.all import sniff
kept = sniff(iface='veth0', store=True,
             started_callback=lambda: print('listening on veth0', flush=True))
print(len(kept), 'packets captured', flush=True)
";

const fn ours(name: &'static str, line: &'static str, entry: &'static str) -> Case {
    Case {
        name,
        line,
        ready: "listening on",
        kept: Kept::Ledger(entry),
    }
}

const fn peer(name: &'static str, line: &'static str) -> Case {
    Case {
        name,
        line,
        ready: "listening on",
        kept: Kept::Printed,
    }
}

impl Case {
    /// Whether its name has one of `words` in it; every case has none of no words, and no tool is
    /// always wanted, because it is what others are compared with.
    pub(super) fn is_wanted(&self, words: &[String]) -> bool {
        let named = words.iter().any(|word| self.name.contains(word.as_str()));
        words.is_empty() || self.line.is_empty() || named
    }

    /// What is missing to run it.
    pub(super) fn missing(&self) -> Option<String> {
        let tool = self.line.split_whitespace().next()?;
        let (tool, is_there) = match tool {
            "TRAFFIC" | "EMPTY" => return None,
            "/usr/bin/python3" => ("scapy", is_installed("scapy")),
            tool => (tool, is_installed(tool)),
        };
        (!is_there).then(|| format!("{tool} is not installed"))
    }

    /// Program and arguments.
    pub(super) fn words(&self, paths: &Paths) -> Vec<String> {
        if self.line == EMPTY.line {
            return paths.empty.clone();
        }
        let word = |word: &str| match word {
            "TRAFFIC" => paths.traffic.display().to_string(),
            "CAPTURE" => paths.capture.display().to_string(),
            "REPORT" => paths.report.display().to_string(),
            "SCAPY" => SCAPY_SCRIPT.to_owned(),
            word => word.to_owned(),
        };
        self.line.split_whitespace().map(word).collect()
    }

    /// The command as one reads it.
    pub(super) fn command(&self) -> String {
        self.line
            .replace("TRAFFIC", "traffic")
            .replace("SCAPY", &format!("'{SCAPY_SCRIPT}'"))
    }
}

/// Whether there is a program with this name.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|directory| directory.join(name).is_file())
}
