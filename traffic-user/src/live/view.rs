//! The model that every live view shows.

use std::{
    collections::VecDeque,
    fs,
    io::Read as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::watch;
use traffic_ebpf::{
    protocol::Protocol,
    tally::{Counters, NumberedKey, Tally, version_index},
};

use crate::{report::Report, snapshot::Snapshot};

/// At least this long from one report to the next.
pub const PERIOD: Duration = Duration::from_millis(250);
/// Making a report may take one part in this many of the capture's time.
const SHARE_OF_TIME: u32 = 20;
/// Samples that are kept: ten minutes of them.
const SAMPLES: usize = 2400;
/// The block type that every pcapng file begins with.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// What rates are measured over.
const RATE_NS: u64 = 1_000_000_000;

/// A capture as it is at one moment.
#[derive(Clone, Debug)]
pub struct LiveReport {
    /// The report so far; the last one is the report itself.
    pub report: Report,
    /// How long the capture is meant to be; `None` = until stopped.
    pub planned: Option<Duration>,
    /// Rows that the user wants of each table; the report has more, to sort and to search.
    pub top: usize,
    /// Counters by interface number × 2 + direction, numbered classes as a whole.
    pub places: Vec<Counters>,
    /// Counters of the past, oldest first, the newest of now.
    pub samples: Vec<Sample>,
    /// What the capture costs.
    pub cost: Cost,
    /// The capture file, where it is one that can be read while it grows.
    pub file: Option<FileSoFar>,
}

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds since the gate opened.
    pub elapsed_ns: u64,
    /// Packets by [`Protocol`].
    pub packets: [u64; Protocol::COUNT],
    /// Bytes of all of them.
    pub bytes: u64,
    /// Summaries and frames that found the ring full.
    pub lost: u64,
}

/// What the capture costs the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Frames whose run through the kernel program was timed.
    pub timed_runs: u64,
    /// Nanoseconds that those took.
    pub timed_ns: u64,
    /// CPU time of this process since its start.
    pub cpu: Duration,
    /// CPU time per time since the report before, 1 for one CPU.
    pub cpu_share: f64,
    /// The most that was unread in the ring at once since the report before.
    pub ring_unread_bytes: u64,
    /// Size of the ring.
    pub ring_bytes: u64,
    /// How long the report before took to make, during which the ring was not read.
    pub snapshot: Duration,
}

/// A growing capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSoFar {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of whole blocks in it.
    pub bytes: u64,
}

impl FileSoFar {
    /// The file at `path`, if it is a pcapng file that others can read; what is written to it
    /// must have been flushed.
    #[must_use]
    pub fn of(path: PathBuf) -> Option<Self> {
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let mut begin = [0; 4];
        fs::File::open(&path)
            .and_then(|mut file| file.read_exact(&mut begin))
            .ok()?;
        let bytes = metadata.len();
        (begin == PCAPNG).then_some(Self { path, bytes })
    }
}

impl LiveReport {
    /// Whether the capture has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.report.ledger.in_flight.is_none()
    }

    /// The report with as many rows as the user wants.
    #[must_use]
    pub fn trimmed(&self) -> Report {
        let mut report = self.report.clone();
        for table in [
            &mut report.sources,
            &mut report.destinations,
            &mut report.conversations,
            &mut report.ports,
        ] {
            table.truncate(self.top);
        }
        report.dns_names.truncate(self.top);
        if let Some(flows) = &mut report.flows {
            flows.rows.truncate(self.top);
        }
        report
    }

    /// Packets and bits per second over the last second.
    #[must_use]
    pub fn rates(&self) -> (f64, f64) {
        let Some(last) = self.samples.last() else {
            return (0.0, 0.0);
        };
        let since = last.elapsed_ns.saturating_sub(RATE_NS);
        let zero = Sample::ZERO;
        let before = self.samples.iter().rev().find(|s| s.elapsed_ns <= since);
        let before = before.unwrap_or(&zero);
        let rate =
            |now: u64, then: u64| per_second(now - then, last.elapsed_ns - before.elapsed_ns);
        let packets = |sample: &Sample| sample.packets.iter().sum();
        (
            rate(packets(last), packets(before)),
            rate(last.bytes, before.bytes) * 8.0,
        )
    }
}

impl Cost {
    /// Mean nanoseconds that the kernel program takes for a frame.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean for the eye")]
    pub fn ns_per_packet(&self) -> Option<f64> {
        (self.timed_runs > 0).then(|| self.timed_ns as f64 / self.timed_runs as f64)
    }
}

impl Sample {
    /// Before anything was counted.
    pub const ZERO: Self = Self {
        elapsed_ns: 0,
        packets: [0; Protocol::COUNT],
        bytes: 0,
        lost: 0,
    };

    fn new(elapsed_ns: u64, places: &[Counters], summaries_lost: u64) -> Self {
        let mut sample = Self {
            elapsed_ns,
            lost: summaries_lost,
            ..Self::ZERO
        };
        for place in places {
            sample.lost += place.tally(Tally::FramesLost);
            for protocols in &place.protocols {
                for (packets, count) in sample.packets.iter_mut().zip(protocols) {
                    *packets += count.packets;
                    sample.bytes += count.bytes;
                }
            }
        }
        sample
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for the eye")]
fn per_second(amount: u64, ns: u64) -> f64 {
    amount as f64 * 1e9 / ns.max(1) as f64
}

/// What the capture knows when it makes a report.
#[derive(Debug)]
pub struct Moment {
    /// The report so far, or the last.
    pub report: Report,
    /// Nanoseconds since the gate opened.
    pub elapsed_ns: u64,
    /// The counters that the report was made of.
    pub snapshot: Snapshot,
    /// As [`Cost::ring_unread_bytes`].
    pub ring_unread_bytes: u64,
    /// As [`LiveReport::file`].
    pub file: Option<FileSoFar>,
}

/// The newest report, for whoever wants to see it; `None` before the first.
pub type Reports = watch::Receiver<Option<Arc<LiveReport>>>;
/// Where views get [`Reports`].
pub type Source = watch::Sender<Option<Arc<LiveReport>>>;

/// Gives reports to the views.
#[derive(Debug)]
pub struct Publisher {
    sender: Source,
    planned: Option<Duration>,
    top: usize,
    ring_bytes: u64,
    samples: VecDeque<Sample>,
    cpu: Duration,
    published: Instant,
    due: Instant,
    snapshot: Duration,
}

impl Publisher {
    /// A publisher without views. `planned` and `top` are shown as they are.
    #[must_use]
    pub fn new(planned: Option<Duration>, top: usize, ring_bytes: u64) -> Self {
        let now = Instant::now();
        Self {
            sender: watch::Sender::new(None),
            planned,
            top,
            ring_bytes,
            samples: VecDeque::from([Sample::ZERO]),
            cpu: cpu_time(),
            published: now,
            due: now,
            snapshot: Duration::ZERO,
        }
    }

    /// Where views get their reports.
    #[must_use]
    pub fn source(&self) -> Source {
        self.sender.clone()
    }

    /// Whether somebody looks.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Whether somebody waits for a report, and it is time for one.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.is_watched() && Instant::now() >= self.due
    }

    /// Gives the report of `moment`, whose making began at `begun`, to the views.
    pub fn publish(&mut self, moment: Moment, begun: Instant) {
        let mut places = moment.snapshot.places.clone();
        for (key, count) in &moment.snapshot.numbered {
            if let Some(total) = whole_class(&mut places, *key) {
                *total += *count;
            }
        }
        self.sample(Sample::new(
            moment.elapsed_ns,
            &places,
            moment.snapshot.summaries_lost(),
        ));
        let cost = self.cost(&moment, begun);
        let live = LiveReport {
            report: moment.report,
            planned: self.planned,
            top: self.top,
            places,
            samples: self.samples.iter().copied().collect(),
            cost,
            file: moment.file,
        };
        self.sender.send_replace(Some(Arc::new(live)));
        self.snapshot = begun.elapsed();
        self.due = begun + PERIOD.max(self.snapshot * SHARE_OF_TIME);
    }

    fn sample(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn cost(&mut self, moment: &Moment, now: Instant) -> Cost {
        let cpu = cpu_time();
        let used = cpu.saturating_sub(self.cpu).as_secs_f64();
        let passed = now.duration_since(self.published).as_secs_f64();
        (self.cpu, self.published) = (cpu, now);
        Cost {
            timed_runs: moment.snapshot.tally(Tally::TimedRuns),
            timed_ns: moment.snapshot.tally(Tally::TimedNs),
            cpu,
            cpu_share: if passed > 0.0 { used / passed } else { 0.0 },
            ring_unread_bytes: moment.ring_unread_bytes,
            ring_bytes: self.ring_bytes,
            snapshot: self.snapshot,
        }
    }
}

/// The counter of all numbers of a numbered class.
fn whole_class(
    places: &mut [Counters],
    key: NumberedKey,
) -> Option<&mut traffic_ebpf::tally::Count> {
    let place = places.get_mut(usize::try_from(key.place).ok()?)?;
    let protocol = Protocol::from_index(key.protocol);
    Some(&mut place.protocols[version_index(key.ip_version)][protocol as usize])
}

/// User and system time of this process, of all its threads.
fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let microseconds = |time: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000 + u64::try_from(time.tv_usec()).unwrap_or(0)
    };
    let user = microseconds(usage.user_time());
    Duration::from_micros(user + microseconds(usage.system_time()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::example;

    /// A capture of 30 s in its tenth second: 400 TCP, then also 100 DNS packets per second; some
    /// summaries are lost in the last one.
    pub(crate) fn example() -> LiveReport {
        let mut report = example::with_losses();
        report.duration_s = 10.0;
        report.ledger.in_flight = Some(12);
        let sample = |quarter: u64| {
            let mut sample = Sample {
                elapsed_ns: quarter * 250_000_000,
                bytes: quarter * 60_000,
                lost: if quarter > 36 { 424 } else { 0 },
                ..Sample::ZERO
            };
            sample.packets[Protocol::Tcp as usize] = quarter * 100;
            sample.packets[Protocol::DnsUdp as usize] = quarter.saturating_sub(20) * 25;
            sample
        };
        LiveReport {
            report,
            planned: Some(Duration::from_secs(30)),
            top: 10,
            places: vec![Counters::ZERO; 2],
            samples: (0..=40).map(sample).collect(),
            cost: Cost {
                timed_runs: 10,
                timed_ns: 2340,
                cpu: Duration::from_millis(1500),
                cpu_share: 0.07,
                ring_unread_bytes: 1 << 20,
                ring_bytes: 16 << 20,
                snapshot: Duration::from_micros(850),
            },
            file: None,
        }
    }

    #[test]
    fn rates_are_those_of_the_last_second() {
        let (pps, bps) = example().rates();
        assert!((pps - 500.0).abs() < 1e-9, "{pps}");
        assert!((bps - 1_920_000.0).abs() < 1e-9, "{bps}");
    }

    #[test]
    fn a_report_is_made_only_while_somebody_looks() {
        let mut publisher = Publisher::new(None, 10, 4096);
        assert!(!publisher.is_due());
        let mut reports = publisher.source().subscribe();
        assert!(publisher.is_due());
        publisher.publish(moment(), Instant::now());
        assert!(!publisher.is_due(), "the next one has time");
        assert!(reports.has_changed().unwrap());
        let live = reports.borrow_and_update().clone().unwrap();
        assert_eq!(live.samples.len(), 2);
        assert_eq!(
            live.places[0].protocols[1][Protocol::OtherIp as usize].packets,
            7
        );
        drop(reports);
        assert!(!publisher.is_watched());
    }

    #[test]
    fn what_takes_long_is_done_less_often() {
        let mut publisher = Publisher::new(None, 10, 4096);
        let _reports = publisher.source().subscribe();
        let begun = Instant::now().checked_sub(Duration::from_millis(100));
        publisher.publish(moment(), begun.unwrap());
        assert!(publisher.due > Instant::now() + Duration::from_secs(1));
    }

    #[test]
    fn samples_are_bounded() {
        let mut publisher = Publisher::new(None, 10, 4096);
        for _ in 0..SAMPLES + 10 {
            publisher.sample(Sample::ZERO);
        }
        assert_eq!(publisher.samples.len(), SAMPLES);
    }

    fn moment() -> Moment {
        let key = NumberedKey {
            place: 0,
            number: 89,
            protocol: Protocol::OtherIp as u8,
            ip_version: 4,
        };
        let count = traffic_ebpf::tally::Count {
            packets: 7,
            bytes: 700,
        };
        Moment {
            report: example::report(),
            elapsed_ns: 1_000_000_000,
            snapshot: Snapshot {
                places: vec![Counters::ZERO; 2],
                numbered: vec![(key, count)],
                shape: traffic_ebpf::timeline::Shape {
                    width_ns: 1,
                    half: 1,
                    levels: 1,
                },
                slots: Vec::new(),
                slot_numbered: Vec::new(),
            },
            ring_unread_bytes: 0,
            file: None,
        }
    }
}
