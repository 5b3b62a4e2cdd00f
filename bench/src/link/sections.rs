//! Which tools under which load, and what they are to reach.

use serde::Serialize;

use super::{
    cases::{
        COUNTERS, Case, DUMPCAP, EMPTY, NONE, SAMPLED, SCAPY, SNAPPED, SUMMARIES, SUMMARIES_TC,
        TCPDUMP, TCPDUMP_96, TCPDUMP_128, TCPDUMP_LARGE, WHOLE, WHOLE_LARGE_RING, XDPDUMP,
        XDPDUMP_96,
    },
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

impl Load {
    /// Frames of 60 bytes, as many as go.
    fn new(seconds: f64) -> Self {
        Self::of(generator::Args {
            mix: false,
            sources: 1,
            pps: 0,
            to_host: false,
            seconds,
        })
    }

    fn of(traffic: generator::Args) -> Self {
        Self {
            traffic: Some(traffic),
            seconds: traffic.seconds,
        }
    }

    fn with(self, change: impl FnOnce(&mut generator::Args)) -> Self {
        let mut changed = self;
        if let Some(traffic) = &mut changed.traffic {
            change(traffic);
        }
        changed
    }
}

/// All sections; each run sends for `seconds`, and for twice as long where little is sent.
pub(super) fn sections(seconds: f64) -> Vec<Section> {
    let mut sections = flat_out(Load::new(seconds));
    sections.extend(mixed(Load::new(seconds).with(|traffic| traffic.mix = true)));
    sections.extend(paced(Load::new(2.0 * seconds)));
    sections
}

fn section(title: &'static str, load: Load, cases: &[Case], goals: &'static [Goal]) -> Section {
    Section {
        title,
        load,
        cases: cases.to_vec(),
        goals,
    }
}

/// What the rate with many sources is compared with.
const ONE_SOURCE: &str = "60 B, as many as go";

fn flat_out(load: Load) -> Vec<Section> {
    vec![
        section(
            ONE_SOURCE,
            load,
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
            load.with(|traffic| traffic.to_host = true),
            &[NONE, EMPTY, COUNTERS, SUMMARIES, SAMPLED, TCPDUMP_96],
            GOALS_60,
        ),
        section(
            "60 B from 1,000,000 sources, as many as go",
            load.with(|traffic| traffic.sources = 1_000_000),
            &[NONE, SUMMARIES],
            GOALS_SOURCES,
        ),
    ]
}

fn mixed(load: Load) -> Vec<Section> {
    vec![
        section(
            "mix of 60, 594 and 1514 B (7:4:1), as many as go",
            load,
            &[
                NONE,
                SUMMARIES,
                SAMPLED,
                SNAPPED,
                WHOLE,
                WHOLE_LARGE_RING,
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
            load.with(|traffic| traffic.pps = 500_000),
            &[WHOLE, TCPDUMP],
            &[],
        ),
    ]
}

fn paced(load: Load) -> Vec<Section> {
    vec![
        section(
            "60 B at 100,000 a second",
            load.with(|traffic| traffic.pps = 100_000),
            &[SUMMARIES, TCPDUMP_96],
            GOALS_PACED,
        ),
        section(
            "60 B at 400 a second",
            load.with(|traffic| traffic.pps = 400),
            &[SUMMARIES, SCAPY],
            GOALS_IDLE,
        ),
        section(
            "idle link",
            Load {
                traffic: None,
                ..load
            },
            &[SUMMARIES],
            GOALS_IDLE,
        ),
    ]
}

const fn goal(tool: &Case, measure: Measure, bound: Bound) -> Goal {
    Goal {
        tool: tool.name,
        measure,
        bound,
    }
}

const GOALS_60: &[Goal] = &[
    goal(&COUNTERS, Measure::Delivered(NONE.name), AtLeast(0.98)),
    goal(&SUMMARIES, Measure::Delivered(NONE.name), AtLeast(0.95)),
    goal(&SUMMARIES, Measure::Loss, AtMost(0.0)),
    goal(&SUMMARIES, Measure::Cpu, AtMost(0.05)),
    goal(&SUMMARIES, Measure::Start, AtMost(150.0)),
    // 24 MiB, and twice the ring of 16 MiB.
    goal(&SUMMARIES, Measure::Peak, AtMost(56.0)),
    goal(&SAMPLED, Measure::Delivered(SUMMARIES.name), AtLeast(0.98)),
];
const GOALS_SOURCES: &[Goal] = &[
    goal(
        &SUMMARIES,
        Measure::DeliveredUnder(ONE_SOURCE),
        AtLeast(0.95),
    ),
    goal(&SUMMARIES, Measure::Loss, AtMost(0.0)),
];
const GOALS_MIX: &[Goal] = &[
    goal(&SUMMARIES, Measure::Delivered(NONE.name), AtLeast(0.90)),
    goal(&SUMMARIES, Measure::Loss, AtMost(0.0)),
    goal(&SUMMARIES, Measure::Cpu, AtMost(0.05)),
    goal(&SAMPLED, Measure::Delivered(SUMMARIES.name), AtLeast(0.98)),
    goal(&SNAPPED, Measure::Delivered(NONE.name), AtLeast(0.85)),
    goal(&SNAPPED, Measure::Loss, AtMost(0.0)),
    goal(&SNAPPED, Measure::Cpu, AtMost(0.11)),
    goal(&WHOLE, Measure::Captured(TCPDUMP.name), AtLeast(1.25)),
    goal(&WHOLE, Measure::Loss, AtMost(0.0)),
    goal(&WHOLE, Measure::CpuOf(TCPDUMP.name), AtMost(0.75)),
];
const GOALS_PACED: &[Goal] = &[goal(
    &SUMMARIES,
    Measure::CpuOf(TCPDUMP_96.name),
    AtMost(0.5),
)];
const GOALS_IDLE: &[Goal] = &[goal(&SUMMARIES, Measure::Core, AtMost(0.2))];
