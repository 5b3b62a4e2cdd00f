//! From arguments to files: when to begin another, what they are called, when to stop.

use std::path::Path;

use anyhow::Result;
use jiff::Zoned;

use crate::{
    capture_file::{Limits, Names, Naming, Period},
    cli::{Condition, FileArgs},
    command::{UsageError, output::is_stdout},
};

/// What is to become of the frames.
pub(super) struct Plan {
    pub(super) names: Names,
    pub(super) limits: Limits,
    /// The capture ends with so many files.
    pub(super) files: Option<u32>,
    /// Only so many files are kept.
    pub(super) kept: Option<u32>,
}

impl Plan {
    /// What `args` ask for, where they name `target`.
    ///
    /// # Errors
    /// When they contradict one another.
    pub(super) fn new(args: &FileArgs, target: &Path, now: &Zoned) -> Result<Self> {
        let tcpdump = args.file_size.is_some() || args.rotate_seconds.is_some();
        let plan = match (tcpdump, args.ring_buffer.is_empty()) {
            (true, false) => return Err(usage("-b takes the place of -C and -G")),
            (_, true) => Self::numbered(args, target)?,
            (false, false) => Self::dated(args, target)?,
        };
        if plan.rotates() && is_stdout(target) {
            return Err(usage("-C, -G and -b need a file, not stdout"));
        }
        if let Some(period) = plan.limits.period {
            let checked = plan.names.check(period, now);
            checked.map_err(|error| usage(&format!("-w {error}")))?;
        }
        Ok(plan)
    }

    /// Whether more than one file can come of it.
    pub(super) fn rotates(&self) -> bool {
        self.limits != Limits::default() && self.files != Some(1)
    }

    /// As tcpdump has it: -C, -G, -W. Without them one file.
    fn numbered(args: &FileArgs, target: &Path) -> Result<Self> {
        let timed = args.rotate_seconds.is_some();
        let sized = args.file_size.is_some();
        if args.file_count.is_some() && timed == sized {
            return Err(usage("-W goes with one of -C and -G"));
        }
        let stop = Stop::new(&args.autostop);
        if !timed && !sized && stop.files.is_some() {
            return Err(usage("-a files:N needs -C, -G or -b"));
        }
        let ring = args.file_count.filter(|_| sized);
        let naming = Naming::Numbered { timed, ring };
        let single = !timed && !sized;
        Ok(Self {
            names: Names::new(target, args.compress.is_some(), naming),
            limits: Limits {
                bytes: args.file_size.or(stop.bytes),
                frames: None,
                period: args.rotate_seconds.map(|seconds| Period {
                    seconds,
                    aligned: true,
                }),
            },
            files: (single && stop.bytes.is_some())
                .then_some(1)
                .or(stop.files)
                .or(args.file_count.filter(|_| timed)),
            // Equal names overwrite each other.
            kept: None,
        })
    }

    /// As dumpcap has it: -b.
    fn dated(args: &FileArgs, target: &Path) -> Result<Self> {
        if args.file_count.is_some() {
            return Err(usage("-W goes with -C or -G; -b has files:N"));
        }
        let stop = Stop::new(&args.autostop);
        let mut limits = Limits {
            bytes: stop.bytes,
            ..Limits::default()
        };
        let mut kept = None;
        for condition in &args.ring_buffer {
            match *condition {
                Condition::FileSize(bytes) => limits.bytes = Some(bytes),
                Condition::Packets(frames) => limits.frames = Some(frames),
                Condition::Files(files) => kept = Some(files),
                Condition::Duration(seconds) => {
                    let aligned = false;
                    limits.period = Some(Period { seconds, aligned });
                }
                Condition::Interval(seconds) => {
                    let aligned = true;
                    limits.period = Some(Period { seconds, aligned });
                }
            }
        }
        if limits == Limits::default() {
            return Err(usage(
                "-b files:N needs another -b that says when a file is full",
            ));
        }
        Ok(Self {
            names: Names::new(target, args.compress.is_some(), Naming::Dated),
            limits,
            files: stop.files,
            kept,
        })
    }
}

/// The conditions of -a that concern files.
struct Stop {
    bytes: Option<u64>,
    files: Option<u32>,
}

impl Stop {
    fn new(conditions: &[Condition]) -> Self {
        Self {
            bytes: conditions.iter().find_map(|condition| {
                if let Condition::FileSize(bytes) = condition {
                    Some(*bytes)
                } else {
                    None
                }
            }),
            files: conditions.iter().find_map(|condition| {
                if let Condition::Files(files) = condition {
                    Some(*files)
                } else {
                    None
                }
            }),
        }
    }
}

fn usage(message: &str) -> anyhow::Error {
    UsageError(message.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn rotation_of_tcpdump() {
        let plan = plan(&["-w", "a", "-C", "1", "-W", "3"]).unwrap();
        assert_eq!(plan.limits.bytes, Some(1_000_000));
        assert_eq!((plan.files, plan.rotates()), (None, true));
        let plan = self::plan(&["-w", "%s", "-G", "5", "-W", "3"]).unwrap();
        assert_eq!((plan.files, plan.rotates()), (Some(3), true));
    }

    #[test]
    fn rotation_of_dumpcap() {
        let args = ["-w", "a.pcapng", "-b", "interval:60", "-b", "files:5"];
        let plan = plan(&args).unwrap();
        assert_eq!((plan.files, plan.kept), (None, Some(5)));
        assert!(plan.limits.period.unwrap().aligned);
        let plan = self::plan(&["-w", "a", "-a", "filesize:1"]).unwrap();
        assert_eq!((plan.files, plan.rotates()), (Some(1), false));
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong: [&[&str]; 7] = [
            &["-w", "a", "-W", "3"],
            &["-w", "a", "-G", "3"],
            &["-w", "%s", "-C", "1", "-G", "3", "-W", "2"],
            &["-w", "a", "-C", "1", "-b", "filesize:3"],
            &["-w", "a", "-b", "files:3"],
            &["-w", "a", "-a", "files:3"],
            &["-w", "-", "-C", "3"],
        ];
        for args in wrong {
            assert!(plan(args).is_err(), "{args:?}");
        }
    }

    fn plan(args: &[&str]) -> Result<Plan> {
        let args = ["traffic", "capture"].iter().chain(args);
        let Some(Command::Capture(args)) = Cli::try_parse_from(args).unwrap().command else {
            panic!("not capture");
        };
        let target = args.files.write.as_deref().unwrap();
        Plan::new(&args.files, target, &Zoned::now())
    }
}
