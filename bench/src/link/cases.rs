//! Which tools, doing what, under which load.

use std::{env, path::PathBuf};

use serde::Serialize;

use super::{
    Paths,
    goals::{
        Bound::{self, AtLeast, AtMost},
        Goal, Measure,
    },
};
use crate::generator;

/// Tools under one load.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) load: Load,
    pub(super) cases: Vec<Case>,
    pub(super) goals: &'static [Goal],
}

/// What happens on the link.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Load {
    /// `None` for an idle link.
    pub(super) traffic: Option<generator::Args>,
    pub(super) seconds: f64,
}

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

const NONE: Case = Case {
    name: "none",
    line: "",
    ready: "",
    kept: Kept::Nothing,
};
/// What any program at XDP costs.
const EMPTY: Case = Case {
    name: "an XDP program that does nothing",
    line: "EMPTY",
    ready: "listening on",
    kept: Kept::Nothing,
};
const COUNTERS: Case = ours(
    "traffic, counters only",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT --counters-only",
    "matched",
);
const SUMMARIES: Case = ours(
    "traffic, summaries and analysis",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT",
    "summaries_delivered",
);
const SUMMARIES_TC: Case = ours(
    "traffic, summaries and analysis, TC",
    "TRAFFIC capture -i veth0 --hook tc -Q in -d 0 --json REPORT",
    "summaries_delivered",
);
const SAMPLED: Case = ours(
    "traffic, + 128 B of 1/64 frames to a file",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE -s 128 --sample 64",
    "summaries_delivered",
);
const SNAPPED: Case = ours(
    "traffic, + 128 B of every frame to a file",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE -s 128",
    "frames_written",
);
const WHOLE: Case = ours(
    "traffic, + whole frames to a file",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE",
    "frames_written",
);
const WHOLE_SMALL_RING: Case = ours(
    "traffic, + whole frames to a file, 4 MiB ring",
    "TRAFFIC capture -i veth0 --hook xdp -Q in -d 0 --json REPORT -w CAPTURE -B 4M",
    "frames_written",
);
const TCPDUMP_96: Case = peer(
    "tcpdump -s 96",
    "tcpdump -i veth0 -n -Z root -s 96 -w CAPTURE",
);
const TCPDUMP_128: Case = peer(
    "tcpdump -s 128",
    "tcpdump -i veth0 -n -Z root -s 128 -w CAPTURE",
);
const TCPDUMP: Case = peer(
    "tcpdump, whole frames",
    "tcpdump -i veth0 -n -Z root -w CAPTURE",
);
const TCPDUMP_LARGE: Case = peer(
    "tcpdump, whole frames, 64 MiB buffer",
    "tcpdump -i veth0 -n -Z root -B 65536 -w CAPTURE",
);
const DUMPCAP: Case = Case {
    ready: "File: ",
    ..peer("dumpcap", "dumpcap -i veth0 -w CAPTURE")
};
const XDPDUMP_96: Case = peer(
    "xdpdump -s 96",
    "xdpdump -i veth0 --load-xdp-program -s 96 --perf-wakeup 64 -w CAPTURE",
);
const XDPDUMP: Case = peer(
    "xdpdump, whole frames",
    "xdpdump -i veth0 --load-xdp-program --perf-wakeup 64 -w CAPTURE",
);
/// Its own interpreter: others may not have the package.
const SCAPY: Case = peer("scapy", "/usr/bin/python3 -c SCAPY");

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

/// All sections; each run sends for `seconds`.
pub(super) fn sections(seconds: f64) -> Vec<Section> {
    let load = |mix, sources, pps| Load {
        traffic: Some(generator::Args {
            mix,
            sources,
            pps,
            to_host: false,
            seconds,
        }),
        seconds,
    };
    let mut to_host = load(false, 1, 0);
    if let Some(traffic) = &mut to_host.traffic {
        traffic.to_host = true;
    }
    let section = |title, load, cases: &[Case], goals| Section {
        title,
        load,
        cases: cases.to_vec(),
        goals,
    };
    // What happens seldom needs longer.
    let slow = |pps| {
        let mut load = load(false, 1, pps);
        load.seconds = 2.0 * seconds;
        if let Some(traffic) = &mut load.traffic {
            traffic.seconds = load.seconds;
        }
        load
    };
    vec![
        section(
            ONE_SOURCE,
            load(false, 1, 0),
            &[
                NONE,
                EMPTY,
                COUNTERS,
                SUMMARIES,
                SUMMARIES_TC,
                SAMPLED,
                TCPDUMP_96,
                TCPDUMP,
                DUMPCAP,
                XDPDUMP_96,
            ],
            GOALS_60,
        ),
        section(
            "60 B to a socket of the host, as many as go",
            to_host,
            &[NONE, EMPTY, COUNTERS, SUMMARIES, SAMPLED, TCPDUMP_96],
            GOALS_60,
        ),
        section(
            "60 B from 1,000,000 sources, as many as go",
            load(false, 1_000_000, 0),
            &[NONE, SUMMARIES],
            GOALS_SOURCES,
        ),
        section(
            "mix of 60, 594 and 1514 B (7:4:1), as many as go",
            load(true, 1, 0),
            &[
                NONE,
                SUMMARIES,
                SAMPLED,
                SNAPPED,
                WHOLE,
                WHOLE_SMALL_RING,
                TCPDUMP_128,
                TCPDUMP,
                TCPDUMP_LARGE,
                DUMPCAP,
                XDPDUMP,
            ],
            GOALS_MIX,
        ),
        section(
            "mix at 500,000 a second",
            load(true, 1, 500_000),
            &[WHOLE, TCPDUMP],
            &[],
        ),
        section(
            "60 B at 100,000 a second",
            slow(100_000),
            &[SUMMARIES, TCPDUMP_96],
            GOALS_PACED,
        ),
        section(
            "60 B at 400 a second",
            slow(400),
            &[SUMMARIES, SCAPY],
            GOALS_IDLE,
        ),
        section(
            "idle link",
            Load {
                traffic: None,
                seconds: 2.0 * seconds,
            },
            &[SUMMARIES],
            GOALS_IDLE,
        ),
    ]
}

/// What the rate with many sources is compared with.
const ONE_SOURCE: &str = "60 B, as many as go";

const fn goal(tool: Case, measure: Measure, bound: Bound) -> Goal {
    Goal {
        tool: tool.name,
        measure,
        bound,
    }
}

const GOALS_60: &[Goal] = &[
    goal(COUNTERS, Measure::Delivered(NONE.name), AtLeast(0.98)),
    goal(SUMMARIES, Measure::Delivered(NONE.name), AtLeast(0.95)),
    goal(SUMMARIES, Measure::Loss, AtMost(0.0)),
    goal(SUMMARIES, Measure::Cpu, AtMost(0.05)),
    goal(SUMMARIES, Measure::Start, AtMost(150.0)),
    // 24 MiB, and twice the ring of 16 MiB.
    goal(SUMMARIES, Measure::Peak, AtMost(56.0)),
    goal(SAMPLED, Measure::Delivered(SUMMARIES.name), AtLeast(0.98)),
];
const GOALS_SOURCES: &[Goal] = &[
    goal(
        SUMMARIES,
        Measure::DeliveredUnder(ONE_SOURCE),
        AtLeast(0.95),
    ),
    goal(SUMMARIES, Measure::Loss, AtMost(0.0)),
];
const GOALS_MIX: &[Goal] = &[
    goal(SUMMARIES, Measure::Delivered(NONE.name), AtLeast(0.90)),
    goal(SUMMARIES, Measure::Loss, AtMost(0.0)),
    goal(SUMMARIES, Measure::Cpu, AtMost(0.05)),
    goal(SAMPLED, Measure::Delivered(SUMMARIES.name), AtLeast(0.98)),
    goal(SNAPPED, Measure::Delivered(NONE.name), AtLeast(0.85)),
    goal(SNAPPED, Measure::Loss, AtMost(0.0)),
    goal(SNAPPED, Measure::Cpu, AtMost(0.11)),
    goal(WHOLE, Measure::Captured(TCPDUMP.name), AtLeast(1.25)),
    goal(WHOLE, Measure::Loss, AtMost(0.0)),
    goal(WHOLE, Measure::CpuOf(TCPDUMP.name), AtMost(0.75)),
];
const GOALS_PACED: &[Goal] = &[goal(
    SUMMARIES,
    Measure::CpuOf(TCPDUMP_96.name),
    AtMost(0.5),
)];
const GOALS_IDLE: &[Goal] = &[goal(SUMMARIES, Measure::Core, AtMost(0.2))];

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
