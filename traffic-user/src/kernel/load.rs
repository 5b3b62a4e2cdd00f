//! Settings of a run, and the object they are loaded into.

use std::{io, time::Duration};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, MapError},
    programs::{Program, ProgramError},
    util::nr_cpus,
};
use thiserror::Error;
use traffic_ebpf::{
    config::{self, CONFIG, Config, LINK_ETHERNET, LINK_IP},
    protocol::Selection,
    record::Batch,
    tally::Counters,
    timeline::{Shape, SlotCounts},
};

use super::{interfaces::Interface, probe, refused, slot};
use crate::filter::Translated;

/// The object that the build embedded; empty in a build without eBPF tools.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/traffic-bpf.o"));

/// What a run asks of the kernel programs.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they do not depend on each other"
)]
pub struct Settings {
    /// `--protocol`.
    pub selection: Selection,
    /// Matched frames after which the gate closes by itself.
    pub count: Option<u64>,
    /// Bytes of a frame to copy up; 0 = frames are not asked for.
    pub snaplen: u32,
    /// One frame in this many is copied.
    pub sample: u32,
    /// Whether summaries travel up.
    pub summaries: bool,
    /// Ring size in bytes, a power of two.
    pub ring_bytes: u32,
    /// How long the run is meant to be; `None` = until stopped.
    pub planned: Option<Duration>,
    /// Bars that the histogram will have.
    pub bins: u32,
    /// Whether one frame in [`TIMED_RUNS`](traffic_ebpf::config::TIMED_RUNS) is timed.
    pub timing: bool,
    /// What frames must match, in the form of the filter slot; `None` = everything matches.
    pub filter: Option<Translated>,
    /// Whether programs say why packets could not be parsed.
    pub diagnostics: bool,
    /// Whether interfaces may join while it runs.
    pub joins: bool,
}

impl Default for Settings {
    /// Every packet counted and summarised, no frames, through a ring of 4 MiB.
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            count: None,
            snaplen: 0,
            sample: 1,
            summaries: true,
            ring_bytes: 4 << 20,
            planned: None,
            bins: 30,
            timing: false,
            filter: None,
            diagnostics: false,
            joins: false,
        }
    }
}

/// Why the programs could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The build had no eBPF object.
    #[error("this binary was built without its eBPF programs (build it with: cargo xtask build)")]
    NoObject,
    /// The kernel lacks something.
    #[error("this kernel ({found}) has no {missing}, which needs Linux {since}")]
    TooOld {
        /// What is missing.
        missing: &'static str,
        /// First release that has it.
        since: &'static str,
        /// Release of this kernel.
        found: String,
    },
    /// The process lacks a capability.
    #[error(
        "loading eBPF programs needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run as root, or once: \
         sudo setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep {program}"
    )]
    NotPermitted {
        /// Path of the running binary.
        program: String,
    },
    /// Maps count as locked memory, and the process may not have as much.
    #[error("maps are locked memory before Linux 5.11, limited to {0} KiB: ulimit -l unlimited")]
    LockedMemory(u64),
    /// The object or its maps.
    #[error("load the eBPF object: {0}")]
    Object(#[source] Box<EbpfError>),
    /// A map.
    #[error("map {name}: {source}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// What went wrong.
        source: MapError,
    },
    /// The map is not in the object.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// Memory could not be mapped.
    #[error("map memory of {name} into the process: {source}")]
    Mmap {
        /// Name of the map.
        name: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// A program.
    #[error("the kernel refuses the program {name}: {reason}")]
    Program {
        /// Name of the program.
        name: &'static str,
        /// The kernel's reason, without the verifier's log.
        reason: String,
    },
    /// CPUs could not be counted.
    #[error("count the CPUs: {0}")]
    Cpus(io::Error),
    /// What the process that holds the hooks says.
    #[error("{0}")]
    Refused(String),
    /// The process that holds the hooks ended.
    #[error("the process that holds the hooks ended, and with it the capture")]
    BrokerGone,
}

/// A loaded object, its maps still inside.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) shape: Shape,
    pub(super) cpus: usize,
    /// Interfaces that the maps have room for.
    pub(super) room: usize,
}

/// Bounds of the memory for time slots over all CPUs.
const SLOT_MEMORY_BYTES: u64 = 64 << 20;
/// Bound of the memory for counters of interfaces that join, over all CPUs.
const JOINING_MEMORY_BYTES: usize = 32 << 20;
/// Interfaces that may join, whatever memory they take; and at most.
const JOINING: (usize, usize) = (64, 4096);

/// Interfaces that may join a run.
fn joining_room(cpus: usize) -> usize {
    let each = 2 * size_of::<Counters>() * cpus;
    (JOINING_MEMORY_BYTES / each).clamp(JOINING.0, JOINING.1)
}

/// Width of the first slots of a run without a planned end.
const OPEN_END_WIDTH_NS: u64 = 8_000_000;
/// Levels of such a run: 8 ms × 1024 × 2^24 is four years.
const OPEN_END_LEVELS: u32 = 24;
/// Width that the first slots of a planned run stay below.
const PLANNED_WIDTH_NS: u64 = 1_000_000;

/// Chooses slots so that the edges of the planned run's bars are edges of slots.
fn shape(planned: Option<Duration>, bins: u32, cpus: usize) -> Shape {
    let most = SLOT_MEMORY_BYTES / size_of::<SlotCounts>() as u64 / cpus as u64;
    let mut half = (bins * 16).next_power_of_two();
    let Some(planned) = planned else {
        while half > 64 && u64::from(half) * u64::from(OPEN_END_LEVELS + 1) > most {
            half /= 2;
        }
        return Shape {
            width_ns: OPEN_END_WIDTH_NS,
            half,
            levels: OPEN_END_LEVELS,
        };
    };
    let planned_ns = nanoseconds(planned);
    let bar_ns = planned_ns.div_ceil(u64::from(bins)).max(1);
    // Every level's width divides a bar, so that bars end where slots end.
    let halvings = (bar_ns / PLANNED_WIDTH_NS).next_power_of_two().ilog2();
    let width_ns = bar_ns.div_ceil(1 << halvings);
    let levels = |half: u32| {
        let first_level = width_ns * 2 * u64::from(half);
        planned_ns.div_ceil(first_level).next_power_of_two().ilog2() + 1
    };
    while half > 64 && u64::from(half) * u64::from(levels(half) + 1) > most {
        half /= 2;
    }
    Shape {
        width_ns,
        half,
        levels: levels(half),
    }
}

/// Whole nanoseconds, up to 584 years.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Loads the object with the settings for interfaces with these `LINK_…`; programs are loaded into
/// the kernel one by one when they are attached.
pub(super) fn load(settings: &Settings, links: &[u32]) -> Result<Loaded, LoadError> {
    load_for(settings, links, Access::of_this_kernel())
}

/// How programs get at the bytes of packets, and at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// XDP programs use the helpers that [`probe::xdp_can_copy_frames`] asks for.
    pub xdp_load_bytes: bool,
    /// Headers are always read through a helper, as of packets in several buffers.
    pub always_copied: bool,
}

impl Access {
    /// What a capture uses.
    #[must_use]
    pub fn of_this_kernel() -> Self {
        Self {
            xdp_load_bytes: probe::xdp_can_copy_frames(),
            always_copied: false,
        }
    }
}

/// Whether nothing but the time slots asks when a packet came.
fn is_untimed(settings: &Settings) -> bool {
    !settings.summaries && settings.snaplen == 0 && settings.count.is_none()
}

/// As [`load`], for programs that get at packets in this way.
pub(super) fn load_for(
    settings: &Settings,
    links: &[u32],
    access: Access,
) -> Result<Loaded, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    if settings
        .filter
        .as_ref()
        .is_some_and(|filter| filter.has_loop)
    {
        check_loops()?;
    }
    let cpus = nr_cpus().map_err(|(_, error)| LoadError::Cpus(error))?;
    let shape = shape(settings.planned, settings.bins, cpus);
    let joining = if settings.joins {
        joining_room(cpus)
    } else {
        0
    };
    let room = links.len() + joining;
    let single = room == 1;
    let config = Pod(Config {
        count_limit: settings.count.unwrap_or(0),
        planned_ns: settings.planned.map_or(0, nanoseconds),
        wake_bytes: u64::from(settings.ring_bytes) / 8,
        shape,
        snaplen: settings.snaplen,
        sample: settings.sample,
        selection: settings.selection,
        summaries: u32::from(settings.summaries),
        xdp_load_bytes: u32::from(access.xdp_load_bytes),
        single_interface: u32::from(single),
        link: links.first().copied().unwrap_or(LINK_ETHERNET),
        filter_bytes: settings
            .filter
            .as_ref()
            .map_or(0, |filter| filter.frame_bytes),
        timing: u32::from(settings.timing),
        always_copied: u32::from(access.always_copied),
        shared_clock: u32::from(is_untimed(settings)),
        reserved: 0,
    });
    let log_level: u8 = if settings.diagnostics { 4 } else { 0 };
    let interface_room = u32::try_from(room).unwrap_or(u32::MAX);
    let cpu_room = u32::try_from(cpus).unwrap_or(u32::MAX);
    let filled = match &settings.filter {
        None => None,
        Some(filter) => Some(
            slot::Object::with_filter(OBJECT, &filter.instructions)
                .ok_or(LoadError::Missing("filter slot"))?,
        ),
    };
    let object = filled.as_ref().map_or(OBJECT, slot::Object::bytes);
    let filter_cpus = if settings.filter.is_some() {
        cpu_room
    } else {
        1
    };
    let ebpf = EbpfLoader::new()
        .verifier_log_level(if log::log_enabled!(log::Level::Debug) {
            VerifierLogLevel::DEBUG | VerifierLogLevel::STATS
        } else {
            // The library asks again with a place for the log when it was refused, and without a
            // level that place alone is refused (`bpf_verifier_log_attr_valid`).
            VerifierLogLevel::STATS
        })
        .override_global(CONFIG, &config, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("RING", settings.ring_bytes)
        .map_max_entries("FILTER_FRAMES", filter_cpus)
        .map_max_entries("BATCHES", cpu_room)
        .map_max_entries("RUNS", if settings.snaplen > 0 { cpu_room } else { 1 })
        .map_max_entries("COUNTERS", interface_room * 2)
        .map_max_entries("INTERFACES", interface_room)
        .map_max_entries("SLOTS", shape.slots())
        .load(object)
        .map_err(refused::object)?;
    Ok(Loaded {
        ebpf,
        shape,
        cpus,
        room,
    })
}

/// Gives the interface with this ifindex its number.
pub(super) fn register(
    ebpf: &mut Ebpf,
    ifindex: u32,
    interface: config::Interface,
) -> Result<(), LoadError> {
    let name = "INTERFACES";
    let map = ebpf.map_mut(name).ok_or(LoadError::Missing(name))?;
    let mut map: HashMap<_, u32, Pod<config::Interface>> = map
        .try_into()
        .map_err(|source| LoadError::Map { name, source })?;
    map.insert(ifindex, Pod(interface), 0)
        .map_err(|source| LoadError::Map { name, source })
}

/// `LINK_…` of an interface.
pub(super) fn link(interface: &Interface) -> u32 {
    if interface.has_ethernet_headers() {
        LINK_ETHERNET
    } else {
        LINK_IP
    }
}

/// Refuses filters with a loop where programs cannot have one that the verifier sees no end of.
fn check_loops() -> Result<(), LoadError> {
    // Who may not ask may not load either, and is told so then.
    if probe::has_may_goto().unwrap_or(true) {
        return Ok(());
    }
    Err(LoadError::TooOld {
        missing: "instruction for loops, which a filter with protochain has",
        since: "6.9",
        found: super::kernel_release(),
    })
}

/// Times that a program is loaded again after a signal came.
const ATTEMPTS: u32 = 20;

/// Loads one program; a second call does nothing.
pub(super) fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut Program, LoadError> {
    let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
    let mut loaded = load_once(program);
    for _ in 0..ATTEMPTS {
        if !was_interrupted(&loaded) {
            break;
        }
        loaded = load_once(program);
    }
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
        Err(error) => Err(refused::program(name, &error)),
    }
}

fn load_once(program: &mut Program) -> Result<(), ProgramError> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the object has three kinds of program"
    )]
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => Ok(()),
    }
}

/// Whether the verifier gave up because a signal waits (`do_check`), as of one who stops the
/// process for a while.
fn was_interrupted(loaded: &Result<(), ProgramError>) -> bool {
    matches!(loaded, Err(ProgramError::LoadError { io_error, .. })
        if io_error.raw_os_error() == Some(libc::EAGAIN))
}

/// A value of the contract as aya's plain old data.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Pod<T>(pub(super) T);

// SAFETY: `repr(C)`, integers only, no implicit padding (size asserts in the contract).
unsafe impl aya::Pod for Pod<Config> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<traffic_ebpf::config::Interface> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<Counters> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<traffic_ebpf::tally::Count> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<traffic_ebpf::tally::NumberedKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<SlotCounts> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<u32> {}

const _: () = assert!(size_of::<Batch>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_a_planned_run_end_where_bars_end() {
        for (seconds, bins) in [(60, 30), (10, 30), (1, 30), (3600, 7), (86_400, 1000)] {
            let planned = Duration::from_secs(seconds);
            let shape = shape(Some(planned), bins, 2);
            let bar_ns = seconds * 1_000_000_000 / u64::from(bins);
            let last = shape.slot(nanoseconds(planned) - 1);
            assert!(last.end_ns < u64::MAX, "{shape:?} reaches the end");
            if bar_ns * u64::from(bins) == seconds * 1_000_000_000 && bar_ns % 1_000_000 == 0 {
                let width = last.end_ns - last.start_ns;
                assert!(width * 8 <= bar_ns, "{shape:?}: {width} of {bar_ns}");
            }
        }
    }

    #[test]
    fn slot_memory_is_bounded_on_many_cpus() {
        for cpus in [1, 2, 64, 512] {
            for planned in [
                None,
                Some(Duration::from_mins(1)),
                Some(Duration::from_secs(1 << 20)),
            ] {
                let slots = u64::from(shape(planned, 1000, cpus).slots());
                let bytes = slots * cpus as u64 * size_of::<SlotCounts>() as u64;
                assert!(
                    bytes <= SLOT_MEMORY_BYTES.max(cpus as u64 * 64 * 25 * 256),
                    "{bytes}"
                );
            }
        }
    }
}
