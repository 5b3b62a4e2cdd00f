//! The capture file, and the files after it.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{
    file_statistics::{Fate, FileStatistics, LeftOut},
    plan::Plan,
    postrotate::Postrotate,
    settings::{filter_text, snaplen},
};
use crate::{
    capture_file::{
        CaptureWriter, Format, InterfaceDescription, InterfaceStatistics, LinkType, Names,
        Rotation, Run, Verdict, WriteError,
    },
    cli::{CaptureArgs, Hook},
    command::UsageError,
    diagnostics,
    kernel::{self, Interface},
    report::assemble::Written,
    sandbox::{self, Policy},
};

/// How long after the end of a file's time another is begun where no frame says so: frames of
/// that time are still on their way.
const GRACE_NS: u64 = 100_000_000;

/// Frames are to be written, and it is known how. No file has been touched.
pub(super) struct Prepared {
    format: Format,
    plan: Plan,
    postrotate: Option<Postrotate>,
    interfaces: Vec<InterfaceDescription>,
    unbuffered: bool,
}

/// Where frames are written. The first failure ends writing; counting goes on.
pub(super) struct CaptureFile {
    /// Of all files, whatever is put behind the name.
    format: Format,
    writer: CaptureWriter,
    path: PathBuf,
    place: Place,
    names: Names,
    rotation: Rotation,
    rotates: bool,
    zone: TimeZone,
    interfaces: Vec<InterfaceDescription>,
    statistics: FileStatistics,
    /// Files that are complete and still there, oldest first, where only some are kept.
    complete: VecDeque<PathBuf>,
    kept: Option<u32>,
    postrotate: Option<Postrotate>,
    unbuffered: bool,
    /// The last file is full.
    ended: bool,
    /// Frames that came up the ring.
    offered: u64,
    /// Frames of `offered` that came while this file was open.
    offered_here: u64,
    /// Frames in the files before this one.
    written_before: u64,
    failure: Option<WriteError>,
}

impl Prepared {
    /// What `args` ask for, if they ask for a file.
    ///
    /// # Errors
    /// When they contradict one another, or the interfaces.
    pub(super) fn new(args: &CaptureArgs, selected: &[Interface]) -> Result<Option<Self>> {
        let Some(target) = &args.files.write else {
            return Ok(None);
        };
        if args.hook == Hook::Xdp && !kernel::xdp_can_copy_frames() {
            bail!("copying frames at XDP needs Linux 5.18 (write with --hook tc)");
        }
        let first = selected.first().map(Interface::link_type);
        let mixed = selected
            .iter()
            .any(|interface| Some(interface.link_type()) != first);
        if mixed && Format::of(target) == Format::Pcap {
            let message = "a .pcap file holds one link type, and the interfaces have several \
                           (name the file .pcapng)";
            return Err(UsageError(message.to_owned()).into());
        }
        let plan = Plan::new(&args.files, target, &Zoned::now())?;
        let keeps_privileges =
            args.sandbox.no_sandbox || args.files.relinquish_privileges.is_some();
        if plan.rotates() && !keeps_privileges {
            sandbox::check_without_privileges(&plan.names.directory())?;
        }
        Ok(Some(Self {
            format: Format::of(target),
            // Split off before there are programs and maps: it has no part in them.
            postrotate: Postrotate::new(&args.files, plan.names.directory())?,
            plan,
            interfaces: selected
                .iter()
                .map(|interface| description(args, interface))
                .collect(),
            unbuffered: args.files.packet_buffered,
        }))
    }

    /// Begins the first file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn begin(self) -> Result<CaptureFile> {
        let Self {
            format,
            mut plan,
            interfaces,
            ..
        } = self;
        let now = Zoned::now();
        let path = plan.names.next(&now)?;
        let writer = CaptureWriter::create_as(format, &path, &interfaces)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(CaptureFile {
            format,
            writer,
            place: Place::of(&path),
            path,
            rotation: Rotation::begin(plan.limits, plan.files, &now),
            rotates: plan.rotates(),
            names: plan.names,
            zone: now.time_zone().clone(),
            statistics: FileStatistics::begin(interfaces.len(), nanoseconds(now.timestamp())),
            interfaces,
            complete: VecDeque::new(),
            kept: plan.kept,
            postrotate: self.postrotate,
            unbuffered: self.unbuffered,
            ended: false,
            offered: 0,
            offered_here: 0,
            written_before: 0,
            failure: None,
        })
    }
}

impl CaptureFile {
    /// Describes one more interface, here and in every file that follows.
    pub(super) fn add_interface(&mut self, args: &CaptureArgs, interface: &Interface) {
        let description = description(args, interface);
        if self.failure.is_none() {
            let result = self.writer.add_interface(&description);
            self.note(result.map(drop));
        }
        self.interfaces.push(description);
        self.statistics.add_interface(now_ns());
    }

    /// Takes in what is left out by now, for the statistics of the file at hand.
    pub(super) fn learn(&mut self, left_out: &[LeftOut]) {
        self.statistics.learn(left_out);
    }

    /// Whether there is a next file to go on to.
    pub(super) fn rotates(&self) -> bool {
        self.rotates
    }

    /// What later files need.
    pub(super) fn needs(&self, policy: &mut Policy) {
        if self.rotates {
            policy.make_files_in(&self.names.directory());
        }
    }

    /// Whether the last file is full, or the reader of a pipe went away.
    pub(super) fn has_ended(&self) -> bool {
        let gone = self
            .failure
            .as_ref()
            .is_some_and(WriteError::is_broken_pipe);
        self.ended || gone || self.writer.reader_is_gone()
    }

    /// Writes frames, and goes on to the next file among them where one is full.
    pub(super) fn write(&mut self, run: Run<'_>) {
        self.offered += run.frames();
        let mut rest = run;
        while self.failure.is_none() && rest.frames() > 0 {
            let (here, after) = self.split(rest);
            if here.frames() > 0 {
                let result = self.writer.write_run(&here);
                self.note(result);
                self.offered_here += here.frames();
            }
            rest = after;
        }
        if self.unbuffered {
            self.flush();
        }
    }

    /// The first frames, which the file at hand has room for, and the rest, for which the next
    /// one is begun.
    fn split<'a>(&mut self, run: Run<'a>) -> (Run<'a>, Run<'a>) {
        if !self.rotation.is_limited() && !self.rotates {
            return run.split(run.bytes().len(), run.frames());
        }
        let (mut bytes, mut frames) = (0, 0);
        let mut file_bytes = self.writer.bytes();
        for block in run.blocks() {
            let time_ns = block.frame.timestamp_ns;
            let offered = self.offered_here + frames;
            let verdict = self.rotation.before_frame(time_ns, file_bytes, offered);
            if verdict == Verdict::Switch && frames > 0 {
                return run.split(bytes, frames);
            }
            self.follow(verdict, time_ns);
            if verdict == Verdict::Switch {
                file_bytes = self.writer.bytes();
            }
            self.statistics.count(&block.frame);
            file_bytes += self.writer.bytes_of(&block);
            bytes += block.bytes;
            frames += 1;
        }
        run.split(bytes, frames)
    }

    /// Whether someone reads along, who is not to wait.
    pub(super) fn is_stream(&self) -> bool {
        self.writer.is_stream()
    }

    /// What is done regularly, when everything that came up the ring was written.
    pub(super) fn tick(&mut self) {
        let now_ns = now_ns();
        let bytes = self.writer.bytes();
        let time_ns = now_ns.saturating_sub(GRACE_NS);
        let verdict = self
            .rotation
            .without_frame(time_ns, bytes, self.offered_here);
        self.follow(verdict, now_ns);
    }

    /// Writes what is gathered.
    pub(super) fn flush(&mut self) {
        if self.failure.is_none() {
            let result = self.writer.flush();
            self.note(result);
        }
    }

    /// What was written so far; flushes.
    pub(super) fn so_far(&mut self) -> Written {
        self.flush();
        self.written()
    }

    /// The file at hand.
    pub(super) fn target(&self) -> PathBuf {
        self.path.clone()
    }

    /// Ends writing when the file is no longer where it was.
    pub(super) fn look_after(&mut self) {
        // Without privileges not every directory can be looked into.
        let is_hidden = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        if self.failure.is_some()
            || self.place == Place::Elsewhere
            || self.path.metadata().is_err_and(is_hidden)
        {
            return;
        }
        if Place::of(&self.path) != self.place {
            self.place = Place::Lost;
            let reason = "the file was deleted or replaced while it was written";
            self.note(Err(io::Error::new(io::ErrorKind::NotFound, reason).into()));
        }
    }

    fn written(&self) -> Written {
        let here = if self.place == Place::Lost {
            0
        } else {
            self.writer.frames_written()
        };
        let frames = self.written_before + here;
        Written {
            frames,
            failed: self.offered - frames,
        }
    }

    /// Keeps files as long as they were to be when the clock was set by `step_ns`.
    pub(super) fn clock_was_set(&mut self, step_ns: i64) {
        self.rotation.clock_was_set(step_ns, &Zoned::now());
    }

    /// Goes on to the next file.
    pub(super) fn rotate(&mut self) {
        let now_ns = now_ns();
        self.follow(Verdict::Switch, now_ns);
    }

    fn follow(&mut self, verdict: Verdict, time_ns: u64) {
        match verdict {
            // What still comes until the capture has ended goes to the last file.
            Verdict::Stop => self.ended = true,
            Verdict::Switch if self.failure.is_none() => self.switch(time_ns),
            Verdict::Switch | Verdict::Stay => {}
        }
    }

    fn switch(&mut self, time_ns: u64) {
        let statistics = self.statistics.end_file(time_ns);
        self.complete_file(&statistics);
        if self.failure.is_some() {
            return;
        }
        let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default();
        let now = time.to_zoned(self.zone.clone());
        self.rotation.switch(&now);
        // The format was tried at the beginning.
        let Ok(path) = self.names.next(&now) else {
            return;
        };
        let before = std::mem::replace(&mut self.path, path);
        self.complete.push_back(before);
        match CaptureWriter::create_as(self.format, &self.path, &self.interfaces) {
            Ok(writer) => {
                self.written_before += self.writer.frames_written();
                self.writer = writer;
                self.place = Place::of(&self.path);
                self.offered_here = 0;
                self.forget_oldest();
            }
            Err(error) => self.note(Err(error)),
        }
    }

    /// Ends the file at hand.
    fn complete_file(&mut self, statistics: &[InterfaceStatistics]) {
        let result = self.writer.finish(statistics);
        self.note(result);
        self.look_after();
        if let Some(postrotate) = &self.postrotate {
            postrotate.start(&self.path);
        }
    }

    /// Removes the oldest files beyond the number that is kept, the one at hand counted.
    fn forget_oldest(&mut self) {
        let kept = self.kept.map_or(usize::MAX, |kept| kept as usize);
        while self.complete.len() + 1 > kept {
            let Some(oldest) = self.complete.pop_front() else {
                return;
            };
            if let Err(error) = fs::remove_file(&oldest) {
                log::warn!("remove {}: {error}", oldest.display());
            }
        }
        if self.kept.is_none() {
            self.complete.clear();
        }
    }

    fn note(&mut self, result: Result<(), WriteError>) {
        let Err(error) = result else { return };
        if !error.is_broken_pipe() {
            diagnostics::say(&format!(
                "error: write {}: {error} (counting goes on, no more frames are written)",
                self.path.display()
            ));
        }
        self.failure = Some(error);
    }

    /// Ends the last file at `now_ns`, when this is what became of the frames of every interface.
    pub(super) fn finish(
        mut self,
        capture: &[Fate],
        now_ns: u64,
    ) -> (Written, Option<anyhow::Error>) {
        if self.failure.is_none() {
            let statistics = self.statistics.end_capture(capture, now_ns);
            self.complete_file(&statistics);
        }
        if let Some(postrotate) = self.postrotate.take() {
            postrotate.wait();
        }
        let written = self.written();
        let frames = written.frames;
        let failure = self.failure.filter(|error| !error.is_broken_pipe());
        let failure = failure.map(|error| {
            anyhow::Error::new(error).context(format!(
                "write {}: {frames} of {} frames are written",
                self.path.display(),
                self.offered
            ))
        });
        (written, failure)
    }
}

/// Where what is written can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a regular file: device and inode.
    File(u64, u64),
    /// Behind a pipe or a device.
    Elsewhere,
    /// Nowhere any more.
    Lost,
}

impl Place {
    /// What the path names now.
    fn of(path: &Path) -> Self {
        match path.metadata() {
            Ok(file) if file.is_file() => Self::File(file.dev(), file.ino()),
            _ => Self::Elsewhere,
        }
    }
}

/// Nanoseconds since the Unix epoch.
fn now_ns() -> u64 {
    nanoseconds(Timestamp::now())
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn description(args: &CaptureArgs, interface: &Interface) -> InterfaceDescription {
    let known = interface.alias.as_ref().or(interface.kind.as_ref());
    InterfaceDescription {
        name: interface.name.clone(),
        description: known.cloned().unwrap_or_default(),
        mac: interface.mac.filter(|_| interface.has_ethernet_headers()),
        speed_bps: kernel::speed_bps(interface),
        link_type: link_type(interface),
        snaplen: snaplen(args),
        filter: filter_text(args),
        sample: args.sample,
    }
}

/// Link type of an interface's frames in files.
pub(super) fn link_type(interface: &Interface) -> LinkType {
    if interface.has_ethernet_headers() {
        LinkType::ETHERNET
    } else {
        LinkType::RAW
    }
}
