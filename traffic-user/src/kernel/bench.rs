//! The programs on packets that no interface carried (`BPF_PROG_TEST_RUN`), for tests and
//! measurements.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::RingBuf,
    programs::{Program, ProgramError, TestRun, TestRunOptions},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use thiserror::Error;
use traffic_ebpf::{config::Interface, record::ExcerptHeader, tally::Tally, timeline::Shape};

use super::{
    clock::WallClock,
    gate::GateControl,
    gathered::Gathered,
    load::{self, Access, LoadError, Settings},
    ring::{RingReader, Sink},
    session::{share, take},
    snapshot,
};
use crate::{capture_file::Run, record::PacketRecord};

/// A program that looks at packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PacketProgram {
    /// XDP on frames in one buffer.
    Xdp,
    /// XDP on frames in any number of buffers (Linux 5.18).
    XdpFrags,
    /// TC on arriving frames.
    Ingress,
    /// TC on leaving frames.
    Egress,
}

impl PacketProgram {
    /// Every program.
    pub const ALL: [Self; 4] = [Self::Xdp, Self::XdpFrags, Self::Ingress, Self::Egress];

    /// Name in the object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "traffic_xdp",
            Self::XdpFrags => "traffic_xdp_frags",
            Self::Ingress => "traffic_ingress",
            Self::Egress => "traffic_egress",
        }
    }
}

/// Why a packet did not go through a program.
#[derive(Debug, Error)]
pub enum BenchError {
    /// Loading, or reading a map.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel makes no packet of this size: all programs need 14 bytes, XDP programs take what
    /// fits 18 pages, and TC programs what fits one.
    #[error("the kernel does not run {0} on {1} bytes")]
    Refused(&'static str, usize),
    /// The run failed.
    #[error("run {0}: {1}")]
    Run(&'static str, ProgramError),
    /// A thread cannot run on this CPU alone.
    #[error("stay on CPU {0}: {1}")]
    Cpu(usize, nix::Error),
}

/// The programs, loaded, their gate open, and attached to nothing.
pub struct Bench {
    ebpf: Ebpf,
    gate: GateControl,
    gathered: Gathered,
    ring: RingReader,
    clock: WallClock,
    shape: Shape,
    interfaces: usize,
}

/// Interface that the kernel says test packets arrived on: loopback.
const LOOPBACK_IFINDEX: u32 = 1;
/// Length of `struct xdp_md`, and where its `data_end` lies (`linux/bpf.h`).
const XDP_MD_BYTES: usize = 24;
const XDP_MD_DATA_END: usize = 4;

impl Bench {
    /// Loads the object with `settings` for packets of `links`, one number of `LINK_…` per
    /// interface. Packets come from the first.
    ///
    /// # Errors
    /// When the kernel refuses the object or a map.
    pub fn load(settings: &Settings, links: &[u32], access: Access) -> Result<Self, LoadError> {
        let mut loaded = load::load_for(settings, links, access)?;
        for (number, link) in (0..).zip(links) {
            let interface = Interface {
                number,
                link: *link,
            };
            load::register(&mut loaded.ebpf, LOOPBACK_IFINDEX + number, interface)?;
        }
        let mut ebpf = loaded.ebpf;
        let ring = take(&mut ebpf, "RING")?;
        let ring = RingBuf::try_from(ring).map_err(|source| LoadError::Map {
            name: "RING",
            source,
        })?;
        let gate = GateControl::new(share(&ebpf, "GATE", 1)?);
        let clock = WallClock::new();
        gate.set_wall_offset(clock.offset_ns());
        gate.open();
        Ok(Self {
            gate,
            gathered: Gathered::new(&ebpf, loaded.cpus, settings.snaplen > 0)?,
            ring: RingReader::new(ring),
            clock,
            shape: loaded.shape,
            interfaces: links.len(),
            ebpf,
        })
    }

    /// Number of instructions that the verifier went through to accept `program`; `None` before
    /// Linux 5.16, which does not say.
    ///
    /// # Errors
    /// When the kernel refuses the program.
    pub fn verified_instructions(
        &mut self,
        program: PacketProgram,
    ) -> Result<Option<u32>, BenchError> {
        let name = program.name();
        let info = load::program(&mut self.ebpf, name)?.info();
        let info = info.map_err(|error| BenchError::Run(name, error))?;
        Ok(info.verified_instruction_count())
    }

    /// Runs `program` on `frame` and gives everything that came up to `sink`.
    ///
    /// `linear` says after how many bytes the first buffer ends and the others begin
    /// ([`PacketProgram::XdpFrags`], Linux 6.18); `None` lets the kernel choose.
    ///
    /// # Errors
    /// When the kernel refuses the program or the frame.
    pub fn run(
        &mut self,
        program: PacketProgram,
        frame: &[u8],
        linear: Option<u32>,
        sink: &mut dyn Sink,
    ) -> Result<(), BenchError> {
        let name = program.name();
        let context = linear.map(|linear| {
            let mut context = [0; XDP_MD_BYTES];
            context[XDP_MD_DATA_END..][..4].copy_from_slice(&linear.to_ne_bytes());
            context
        });
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: context.as_ref().map(<[u8; XDP_MD_BYTES]>::as_slice),
            ..TestRunOptions::new()
        };
        load::program(&mut self.ebpf, name)?;
        test_run(&self.ebpf, name, options, frame.len())?;
        self.ring.drain(usize::MAX, &self.clock, sink);
        self.gathered.deliver(&mut self.ring, &self.clock, sink);
        Ok(())
    }

    /// Runs `program` on `frame` as often as `repeat` says, while another thread takes and forgets
    /// what comes up. Returns the time of one run as the kernel measured it, in whole nanoseconds.
    ///
    /// # Errors
    /// When the kernel refuses the program or the frame.
    pub fn time(
        &mut self,
        program: PacketProgram,
        frame: &[u8],
        repeat: u32,
    ) -> Result<Duration, BenchError> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::new()
        };
        self.gate.take_wake();
        load::program(&mut self.ebpf, program.name())?;
        let (ebpf, ring, clock) = (&self.ebpf, &mut self.ring, &self.clock);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    if ring.drain(usize::MAX, clock, &mut Forget) == 0 {
                        thread::sleep(PAUSE);
                    }
                }
                ring.drain(usize::MAX, clock, &mut Forget);
            });
            let result = test_run(ebpf, program.name(), options, frame.len());
            is_over.store(true, Ordering::Release);
            result
        })
    }

    /// As [`Bench::time`], on the first `cpus` CPUs at once, with nobody taking anything meanwhile.
    /// Returns the time of one run on each.
    ///
    /// # Errors
    /// As [`Bench::run`], or when a thread cannot stay on its CPU.
    ///
    /// # Panics
    /// When a thread that measures does.
    pub fn time_together(
        &mut self,
        program: PacketProgram,
        frame: &[u8],
        repeat: u32,
        cpus: usize,
    ) -> Result<Vec<Duration>, BenchError> {
        load::program(&mut self.ebpf, program.name())?;
        let ready = Barrier::new(cpus);
        let ebpf = &self.ebpf;
        let times = thread::scope(|scope| {
            let run = |cpu| {
                let stays = stay_on(cpu);
                let options = TestRunOptions {
                    data_in: Some(frame),
                    repeat,
                    ..TestRunOptions::new()
                };
                ready.wait();
                stays?;
                test_run(ebpf, program.name(), options, frame.len())
            };
            let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || run(cpu))).collect();
            let times = threads.into_iter().map(|thread| {
                let time = thread.join();
                time.expect("a thread that measures does not panic")
            });
            times.collect()
        });
        self.ring.drain(usize::MAX, &self.clock, &mut Forget);
        times
    }

    /// Summaries, frames and excerpts that found the ring full so far.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn lost(&self) -> Result<u64, LoadError> {
        let snapshot = snapshot::read(&self.ebpf, self.shape, self.interfaces)?;
        let items = [Tally::FramesLost, Tally::ExcerptsLost].map(|tally| snapshot.tally(tally));
        Ok(snapshot.summaries_lost() + items.iter().sum::<u64>())
    }
}

/// How long the thread that empties the ring waits when it is empty.
const PAUSE: Duration = Duration::from_micros(200);

/// Takes items and does nothing with them.
struct Forget;

impl Sink for Forget {
    fn packets(&mut self, _records: &[PacketRecord]) {}

    fn frames(&mut self, _run: Run<'_>) {}

    fn excerpt(&mut self, _header: &ExcerptHeader, _data: &[u8]) {}
}

/// Keeps the calling thread on a CPU.
fn stay_on(cpu: usize) -> Result<(), BenchError> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus))
        .map_err(|error| BenchError::Cpu(cpu, error))
}

/// Runs a loaded program on a frame of `len` bytes; returns the time of one run.
fn test_run(
    ebpf: &Ebpf,
    name: &'static str,
    options: TestRunOptions<'_>,
    len: usize,
) -> Result<Duration, BenchError> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the object has three kinds of program"
    )]
    let result = match ebpf.program(name).ok_or(LoadError::Missing(name))? {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        _ => return Err(LoadError::Missing(name).into()),
    };
    match result {
        Ok(result) => Ok(result.duration),
        Err(error) if is_refusal(&error) => Err(BenchError::Refused(name, len)),
        Err(error) => Err(BenchError::Run(name, error)),
    }
}

/// What `bpf_test_init` says to packets that are too short or too long.
fn is_refusal(error: &ProgramError) -> bool {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    })
    .filter_map(|error| error.downcast_ref::<std::io::Error>())
    .any(|error| matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOMEM)))
}
