//! What each CPU has gathered and not sent up yet, in memory that programs and user space share.

use aya::Ebpf;
use traffic_ebpf::record::{BATCH_HEADER_BYTES, Batch, Run, RunHeader, Summary};

use super::{
    clock::WallClock,
    load::LoadError,
    ring::{self, RingReader, Sink},
    session::share,
    shared::SharedArray,
};

/// Where a block has its time stamp: the high and the low word.
const TIME_AT: usize = 12;

/// Batches of summaries and runs of frames, by CPU.
pub(super) struct Gathered {
    batches: SharedArray<Batch>,
    /// Only where frames are asked for.
    runs: Option<SharedArray<Run>>,
}

impl Gathered {
    /// Maps what `cpus` CPUs gather; runs only with `frames`.
    pub(super) fn new(ebpf: &Ebpf, cpus: usize, frames: bool) -> Result<Self, LoadError> {
        let runs = frames.then(|| share(ebpf, "RUNS", cpus)).transpose()?;
        Ok(Self {
            batches: share(ebpf, "BATCHES", cpus)?,
            runs,
        })
    }

    /// CPUs that have had something in hand since before `before_ns` on the kernel's clock, by the
    /// time stamps. One that fills its batch and begins another meanwhile may be among them.
    pub(super) fn waiting(&self, before_ns: u64, clock: &WallClock) -> impl Iterator<Item = u32> {
        let wall_ns = clock.wall_ns(before_ns);
        let cpus = (0..self.batches.len()).filter(move |&cpu| {
            self.oldest_record_ns(cpu).is_some_and(|at| at < before_ns)
                || self.oldest_frame_of(cpu).is_some_and(|at| at < wall_ns)
        });
        cpus.filter_map(|cpu| u32::try_from(cpu).ok())
    }

    /// Gives what every CPU has in hand to `sink`, and empties it.
    ///
    /// No program may be running, nor begin to.
    pub(super) fn deliver(&self, ring: &mut RingReader, clock: &WallClock, sink: &mut dyn Sink) {
        for cpu in 0..self.batches.len() {
            let bytes = BATCH_HEADER_BYTES + self.records(cpu) * size_of::<Summary>();
            if bytes > BATCH_HEADER_BYTES {
                let batch = self.batches.at(cpu);
                // SAFETY: the mapping holds the whole batch, and as the caller says nothing writes
                // it.
                let items = unsafe { std::slice::from_raw_parts(batch.cast::<u8>(), bytes) };
                ring.deliver_batch(items, clock, sink);
                // SAFETY: as above.
                unsafe { (*batch).count = 0 };
            }
            self.deliver_run(cpu, sink);
        }
    }

    fn deliver_run(&self, cpu: usize, sink: &mut dyn Sink) {
        let bytes = self.run_bytes(cpu);
        let Some(run) = self.runs.as_ref().filter(|_| bytes > 0) else {
            return;
        };
        let run = run.at(cpu);
        let bytes = size_of::<RunHeader>() + bytes;
        // SAFETY: the mapping holds the whole run, and as the caller of `deliver` says nothing
        // writes it.
        let item = unsafe { std::slice::from_raw_parts(run.cast::<u8>(), bytes) };
        ring::deliver_run(item, sink);
        // SAFETY: as above.
        unsafe { (*run).header = RunHeader::default() };
    }

    fn records(&self, cpu: usize) -> usize {
        // SAFETY: an aligned word of the mapping; the kernel stores it whole.
        unsafe { (&raw const (*self.batches.at(cpu)).count).read_volatile() as usize }
    }

    /// Time stamp of the oldest record that waits on a CPU; `None` where none waits.
    fn oldest_record_ns(&self, cpu: usize) -> Option<u64> {
        let batch = self.batches.at(cpu);
        // SAFETY: an aligned word of the mapping; the kernel stores it whole.
        (self.records(cpu) != 0)
            .then(|| unsafe { (&raw const (*batch).records[0].timestamp_ns).read_volatile() })
    }

    /// Time stamp of the oldest record or frame that waits on any CPU, in wall-clock nanoseconds;
    /// `None` where none waits.
    pub(super) fn oldest_ns(&self, clock: &WallClock) -> Option<u64> {
        (0..self.batches.len())
            .flat_map(|cpu| {
                let record = self.oldest_record_ns(cpu).map(|at| clock.wall_ns(at));
                [record, self.oldest_frame_of(cpu)]
            })
            .flatten()
            .min()
    }

    /// Time stamp of the oldest frame that waits on a CPU, in wall-clock nanoseconds; `None` where
    /// none waits.
    ///
    /// The CPU may send its run up, or begin another one, while it is looked at: then the answer is a
    /// time of either, or zero.
    fn oldest_frame_of(&self, cpu: usize) -> Option<u64> {
        let runs = self.runs.as_ref().filter(|_| self.run_bytes(cpu) > 0)?;
        // SAFETY: within the mapping, and any bytes are a time.
        let time: [u8; 8] = unsafe {
            let blocks = (&raw const (*runs.at(cpu)).blocks).cast::<u8>();
            blocks.add(TIME_AT).cast::<[u8; 8]>().read_volatile()
        };
        // The high word comes first.
        let time_ns = u64::from_le_bytes(time).rotate_left(32);
        Some(if self.run_bytes(cpu) > 0 { time_ns } else { 0 })
    }

    fn run_bytes(&self, cpu: usize) -> usize {
        let runs = self.runs.as_ref();
        // SAFETY: as in `records`.
        runs.map_or(0, |runs| unsafe {
            (&raw const (*runs.at(cpu)).header.bytes).read_volatile() as usize
        })
    }
}
