//! The numbers of a running capture for Prometheus.
//!
//! Names and units follow <https://prometheus.io/docs/practices/naming/>. Every label has few
//! values: interfaces of the run, two directions, protocol classes, reasons. Counters are the
//! kernel's own and never go back while the capture runs.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use traffic_ebpf::{
    protocol::Protocol,
    tally::{Count, Counters, Tally},
};

use super::view::LiveReport;

/// `Content-Type` of [`open_metrics`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// `Content-Type` of [`text_format`].
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics in `OpenMetrics` 1.0.
///
/// # Panics
/// Never: writing to a string does not fail.
#[must_use]
pub fn open_metrics(live: Arc<LiveReport>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(live)));
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("writing to a string does not fail");
    page
}

/// The metrics in Prometheus' own text format: there a counter is called as its samples are.
#[must_use]
pub fn text_format(live: Arc<LiveReport>) -> String {
    let page = open_metrics(live);
    let counters: HashSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(page.len());
    for line in page.lines().filter(|line| *line != "# EOF") {
        let about = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|what| Some((what, line.strip_prefix(what)?.split_once(' ')?)));
        match about {
            Some((what, (name, rest))) if counters.contains(name) => {
                let _ = writeln!(out, "{what}{name}_total {rest}");
            }
            _ => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}

#[derive(Debug)]
struct Metrics(Arc<LiveReport>);

/// Label and value of a sample.
type Labels = Vec<(&'static str, String)>;

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.about(&self.0)?;
        page.frames(&self.0)?;
        page.losses(&self.0)?;
        page.cost(&self.0)
    }
}

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn about(&mut self, live: &LiveReport) -> fmt::Result {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.gauges(
            "traffic_build_info",
            "Version of traffic.",
            [(version, 1.0)],
        )?;
        self.gauge(
            "traffic_capture_elapsed_seconds",
            "Time since the capture began.",
            live.report.duration_s,
        )?;
        self.gauge(
            "traffic_sources",
            "Different source addresses, an estimate beyond 57344 of them.",
            number(live.report.unique_sources),
        )
    }

    fn frames(&mut self, live: &LiveReport) -> fmt::Result {
        let classes = || classes(live);
        self.counters(
            "traffic_frames",
            "Counted frames.",
            classes().map(|(labels, count)| (labels, count.packets)),
        )?;
        self.counters(
            "traffic_bytes",
            "Bytes of counted frames, from the link header, without FCS.",
            classes().map(|(labels, count)| (labels, count.bytes)),
        )?;
        for (name, help, tally) in [
            ("traffic_seen_frames", "Frames at the hooks.", Tally::Seen),
            (
                "traffic_filtered_out_frames",
                "Frames that the filter left out.",
                Tally::FilteredOut,
            ),
        ] {
            let rows = places(live).map(|(labels, place)| (labels, place.tally(tally)));
            self.counters(name, help, rows)?;
        }
        let malformed = live.report.malformed.iter();
        self.counters(
            "traffic_malformed_frames",
            "Frames whose headers ended or contradicted themselves, by reason.",
            malformed.map(|(reason, frames)| (vec![("reason", reason.clone())], *frames)),
        )
    }

    fn losses(&mut self, live: &LiveReport) -> fmt::Result {
        let ledger = &live.report.ledger;
        let frames = &ledger.frames_lost;
        let losses = [
            ("summaries", "ring_full", ledger.summaries_lost.unwrap_or(0)),
            ("frames", "ring_full", frames.ring_full),
            ("frames", "write_failed", frames.write_failed),
            ("excerpts", "ring_full", ledger.excerpts_lost),
        ];
        let rows = losses.map(|(what, cause, lost)| {
            let labels = vec![("what", what.to_owned()), ("cause", cause.to_owned())];
            (labels, lost)
        });
        self.counters("traffic_lost", "What is missing, and why.", rows)?;
        for (name, help, value) in [
            (
                "traffic_written_frames",
                "Frames in the capture file.",
                ledger.frames_written,
            ),
            (
                "traffic_sampled_out_frames",
                "Frames between the sampled ones.",
                ledger.frames_sampled_out,
            ),
            (
                "traffic_history_evicted_packets",
                "Packets that the bounded history let go.",
                ledger.history_evicted,
            ),
        ] {
            self.counters(name, help, [(Labels::new(), value)])?;
        }
        Ok(())
    }

    fn cost(&mut self, live: &LiveReport) -> fmt::Result {
        let cost = &live.cost;
        self.counters(
            "traffic_program_timed_runs",
            "Runs of the kernel programs that were timed, one in 1024.",
            [(Labels::new(), cost.timed_runs)],
        )?;
        self.counters_of_seconds(
            "traffic_program_timed_seconds",
            "Time that the timed runs took.",
            number(cost.timed_ns) / 1e9,
        )?;
        self.counters_of_seconds(
            "process_cpu_seconds",
            "User and system time of this process.",
            cost.cpu.as_secs_f64(),
        )?;
        self.gauge(
            "traffic_ring_unread_bytes",
            "The most that was unread in the ring at once since the scrape before.",
            number(cost.ring_unread_bytes),
        )?;
        self.gauge(
            "traffic_ring_size_bytes",
            "Size of the ring.",
            number(cost.ring_bytes),
        )
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
            } else {
                let mut sample = metric.encode_family(&labels)?;
                sample.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn counters_of_seconds(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, f64, f64>(&seconds, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, [(Labels::new(), value)])
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: [(Labels, f64); N],
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                metric.encode_gauge(&value)?;
            } else {
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn number(value: u64) -> f64 {
    value as f64
}

/// Counters by interface and direction; directions that are not captured left out.
fn places(live: &LiveReport) -> impl Iterator<Item = (Labels, &Counters)> {
    let interfaces = live.report.interfaces.iter();
    let places = interfaces.flat_map(|row| {
        [
            (&row.name, "ingress", row.ingress_hook.is_some()),
            (&row.name, "egress", row.egress_hook.is_some()),
        ]
    });
    places
        .zip(&live.places)
        .filter(|((_, _, is_captured), _)| *is_captured)
        .map(|((name, direction, _), counters)| {
            let labels = vec![
                ("interface", name.clone()),
                ("direction", direction.to_owned()),
            ];
            (labels, counters)
        })
}

/// Counts by interface, direction and protocol class, each label once.
fn classes(live: &LiveReport) -> impl Iterator<Item = (Labels, Count)> {
    places(live).flat_map(|(labels, place)| {
        let mut classes: Vec<(&str, Count)> = Vec::new();
        for protocol in Protocol::all() {
            let mut sum = Count::default();
            for protocols in &place.protocols {
                sum += protocols[protocol as usize];
            }
            match classes
                .iter_mut()
                .find(|(label, _)| *label == protocol.label())
            {
                Some((_, count)) => *count += sum,
                None => classes.push((protocol.label(), sum)),
            }
        }
        classes.into_iter().map(move |(protocol, count)| {
            let mut labels = labels.clone();
            labels.push(("protocol", protocol.to_owned()));
            (labels, count)
        })
    })
}
