//! What the files of a capture are called.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Zoned, civil::DateTime, fmt::strtime};

use super::rotate::{Limits, Period, Rotation, nanoseconds};

/// How the files of a capture are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As tcpdump does: a number behind the name, except for the first.
    Numbered {
        /// The name is a format of `strftime(3)` for the beginning of the file.
        timed: bool,
        /// So many numbers, with leading zeros, and then from the first again.
        ring: Option<u32>,
    },
    /// As dumpcap does: `name_00001_20240131235959.pcapng`.
    Dated,
}

/// Why files cannot be called so.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The name is no format.
    #[error("{name}: {error}")]
    Format {
        /// The name.
        name: String,
        /// What is wrong with it.
        error: jiff::Error,
    },
    /// Two files after one another would have the same name.
    #[error(
        "the file of {second} would overwrite the one of {first}: both are {name} (put more of \
         the time into the name, for example %Y%m%d%H%M%S)"
    )]
    Same {
        /// Beginning of a file.
        first: String,
        /// Beginning of the next.
        second: String,
        /// The name of both.
        name: String,
    },
}

/// Gives files their names.
#[derive(Clone, Debug)]
pub struct Names {
    /// The name without `.zst`.
    base: String,
    compressed: bool,
    naming: Naming,
    /// Files so far.
    files: u32,
    /// The last name without its number, and how many had it.
    last: (String, u32),
    /// The local time of the last name.
    time: DateTime,
    /// The latest local time of any name, and that name without a mark.
    latest: (DateTime, String),
    /// How often the local time went back between two names.
    set_back: u32,
}

/// Ends of periods that are looked at for equal names. A minute's worth of seconds, an hour's
/// worth of minutes and a day's of any number of seconds meet their neighbours earlier.
const PERIODS_CHECKED: u32 = 4096;

impl Names {
    /// Names from `target`. A `.zst` that it ends with stays at the end.
    #[must_use]
    pub fn new(target: &Path, compressed: bool, naming: Naming) -> Self {
        let name = target.to_string_lossy();
        let plain = name.strip_suffix(".zst");
        Self {
            base: plain.unwrap_or(&name).to_owned(),
            compressed: compressed || plain.is_some(),
            naming,
            files: 0,
            last: (String::new(), 0),
            time: DateTime::MIN,
            latest: (DateTime::MIN, String::new()),
            set_back: 0,
        }
    }

    /// Refuses names of which two in a row would be the same, with `period` between them from
    /// `now` on.
    ///
    /// # Errors
    /// Names the first two; or says what is wrong with the format.
    pub fn check(&self, period: Period, now: &Zoned) -> Result<(), NameError> {
        if self.naming == Naming::Dated {
            return Ok(());
        }
        let limits = Limits {
            period: Some(period),
            ..Limits::default()
        };
        let mut rotation = Rotation::begin(limits, None, now);
        let (mut time, mut name) = (now.clone(), self.stem(now)?);
        for _ in 0..PERIODS_CHECKED {
            let left_ns = rotation.end_ns().saturating_sub(nanoseconds(&time));
            let left = SignedDuration::from_nanos(left_ns.cast_signed());
            let Ok(next) = time.checked_add(left) else {
                break;
            };
            rotation.switch(&next);
            let next_name = self.stem(&next)?;
            if next_name == name {
                return Err(NameError::Same {
                    first: time.strftime("%F %T").to_string(),
                    second: next.strftime("%F %T").to_string(),
                    name,
                });
            }
            (time, name) = (next, next_name);
        }
        Ok(())
    }

    /// The name of the next file, which begins at `now`.
    ///
    /// When the clock was set back, or summer time ended, names of times that were there before
    /// get a mark: no file is overwritten but where the format itself comes round, as `%H` does
    /// after a day.
    ///
    /// # Errors
    /// When the name is no format of `strftime(3)`.
    pub fn next(&mut self, now: &Zoned) -> Result<PathBuf, NameError> {
        let plain = self.stem(now)?;
        let mark = self.mark(&plain, now.datetime());
        let stem = mark.map_or(plain.clone(), |mark| format!("{plain}-{mark}"));
        let repeated = if stem == self.last.0 { self.last.1 } else { 0 };
        self.files += 1;
        let mut name = match self.naming {
            Naming::Numbered { ring: None, .. } if repeated == 0 => stem.clone(),
            Naming::Numbered { ring: None, .. } if mark.is_some() => format!("{stem}-{repeated}"),
            Naming::Numbered { ring: None, .. } => format!("{stem}{repeated}"),
            Naming::Numbered {
                ring: Some(count), ..
            } => {
                let digits = digits(count - 1);
                format!("{stem}{:0digits$}", repeated % count)
            }
            Naming::Dated => dated(&stem, self.files, now),
        };
        self.last = (stem, repeated + 1);
        if self.compressed {
            name.push_str(".zst");
        }
        Ok(name.into())
    }

    /// What tells a name of a time that comes again from that of the first time.
    fn mark(&mut self, stem: &str, now: DateTime) -> Option<u32> {
        let Naming::Numbered { timed: true, .. } = self.naming else {
            return None;
        };
        self.set_back += u32::from(now < self.time);
        self.time = now;
        let (latest, latest_stem) = &self.latest;
        let is_taken = now <= *latest || (stem == latest_stem && stem != self.last.0);
        if now > *latest {
            self.latest = (now, stem.to_owned());
        }
        (is_taken && self.set_back > 0).then_some(self.set_back)
    }

    /// The directory that all files lie in or below: what stands before the first part of the name
    /// that depends on the time.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        let timed = matches!(self.naming, Naming::Numbered { timed: true, .. });
        let is_fixed = |part: &Path| !(timed && part.to_string_lossy().contains('%'));
        let mut parents = Path::new(&self.base).ancestors().skip(1);
        match parents.find(|parent| is_fixed(parent)) {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => PathBuf::from("."),
        }
    }

    fn stem(&self, now: &Zoned) -> Result<String, NameError> {
        let Naming::Numbered { timed: true, .. } = self.naming else {
            return Ok(self.base.clone());
        };
        strtime::format(&self.base, now).map_err(|error| NameError::Format {
            name: self.base.clone(),
            error,
        })
    }
}

/// Digits of a number; none of 0.
fn digits(number: u32) -> usize {
    number.checked_ilog10().map_or(0, |log| log as usize + 1)
}

fn dated(base: &str, number: u32, now: &Zoned) -> String {
    let path = Path::new(base);
    let stem = path.with_extension("");
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy());
    let extension = extension.map_or(String::new(), |extension| format!(".{extension}"));
    let time = now.strftime("%Y%m%d%H%M%S");
    format!("{}_{number:05}_{time}{extension}", stem.display())
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Zoned {
        Timestamp::from_second(seconds)
            .unwrap()
            .to_zoned(TimeZone::UTC)
    }

    fn numbered(timed: bool, ring: Option<u32>) -> Naming {
        Naming::Numbered { timed, ring }
    }

    fn names(target: &str, naming: Naming, count: usize) -> Vec<String> {
        let mut names = Names::new(Path::new(target), false, naming);
        let next = |second| names.next(&at(second)).unwrap().display().to_string();
        (0..i64::try_from(count).unwrap()).map(next).collect()
    }

    #[test]
    fn numbers_follow_the_name_as_with_tcpdump() {
        assert_eq!(
            names("a.pcap", numbered(false, None), 3),
            ["a.pcap", "a.pcap1", "a.pcap2"]
        );
        assert_eq!(
            names("a", numbered(false, Some(11)), 12)[9..],
            ["a09", "a10", "a00"]
        );
        assert_eq!(names("a", numbered(false, Some(10)), 2), ["a0", "a1"]);
    }

    #[test]
    fn dates_stand_before_the_extension_as_with_dumpcap() {
        assert_eq!(
            names("d/a.pcapng", Naming::Dated, 2),
            [
                "d/a_00001_19700101000000.pcapng",
                "d/a_00002_19700101000001.pcapng"
            ]
        );
    }

    #[test]
    fn times_in_a_name_begin_the_numbers_anew() {
        let mut names = Names::new(Path::new("%M.pcap"), true, numbered(true, None));
        let mut next = |second| names.next(&at(second)).unwrap().display().to_string();
        let got = [next(0), next(59), next(60), next(61)];
        let expected = ["00.pcap.zst", "00.pcap1.zst", "01.pcap.zst", "01.pcap1.zst"];
        assert_eq!(got, expected);
    }

    #[test]
    fn names_that_overwrite_each_other_are_refused() {
        let check = |name: &str, seconds| {
            let period = Period {
                seconds,
                aligned: true,
            };
            Names::new(Path::new(name), false, numbered(true, None)).check(period, &at(1))
        };
        assert!(check("a-%H%M%S.pcap", 1).is_ok());
        assert!(check("a-%F-%H%M.pcap", 60).is_ok());
        assert!(check("a.pcap", 60).is_err());
        assert!(check("a-%H%M.pcap", 30).is_err());
        assert!(check("a-%H%M.pcap", 59).is_err());
        assert!(check("a-%Q%!.pcap", 60).is_err());
    }

    #[test]
    fn times_that_come_again_get_a_mark() {
        let summer = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let mut names = Names::new(Path::new("%H%M.pcap"), false, numbered(true, None));
        // The hour from one to two o'clock comes twice on the first Sunday of November.
        let begin: Timestamp = "2026-11-01T05:00:00Z".parse().unwrap();
        let given: Vec<_> = (0..6)
            .map(|half_hours| {
                let time = begin + SignedDuration::from_mins(30 * half_hours);
                let name = names.next(&time.to_zoned(summer.clone())).unwrap();
                name.display().to_string()
            })
            .collect();
        let expected = [
            "0100.pcap",
            "0130.pcap",
            "0100.pcap-1",
            "0130.pcap-1",
            "0200.pcap",
            "0230.pcap",
        ];
        assert_eq!(given, expected);
    }

    #[test]
    fn files_lie_below_a_directory() {
        let directory = |target, timed| {
            let names = Names::new(Path::new(target), false, numbered(timed, None));
            names.directory().display().to_string()
        };
        assert_eq!(directory("a.pcap", true), ".");
        assert_eq!(directory("/a.pcap", false), "/");
        assert_eq!(directory("d/%Y/e/%m.pcap", true), "d");
        assert_eq!(directory("%Y/a.pcap", true), ".");
        assert_eq!(directory("d/%Y/a.pcap", false), "d/%Y");
    }

    proptest! {
        /// Wherever the clock goes, no two files of a capture have the same name.
        #[test]
        fn names_do_not_come_again(
            steps in prop::collection::vec((-400_i64..400, any::<bool>()), 1..80),
        ) {
            let mut names = Names::new(Path::new("%Y%m%d-%H%M"), false, numbered(true, None));
            let mut given = Vec::new();
            let mut now = 1_000_000;
            for (step, is_small) in steps {
                now += if is_small { step.abs() / 100 } else { step };
                given.push(names.next(&at(now)).unwrap());
            }
            let count = given.len();
            given.sort();
            given.dedup();
            prop_assert_eq!(given.len(), count);
        }
    }
}
