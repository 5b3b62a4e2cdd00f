//! What a test cannot run without.

use std::{env, fs, io, path::PathBuf};

use crate::program;

/// Capabilities of [`Need::Root`] with their numbers in `linux/capability.h`.
const CAPABILITIES: [(&str, u32); 5] = [
    ("CAP_BPF", 39),
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_PERFMON", 38),
    // `ip netns` mounts.
    ("CAP_SYS_ADMIN", 21),
];

/// Administrators' programs lie here, outside the `PATH` of others.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Something that a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The capabilities to load programs, attach them, and make network namespaces.
    Root,
    /// The program `traffic`, as `TRAFFIC_BIN` names it.
    Program,
    /// The eBPF object, as `TRAFFIC_EBPF_OBJ` names it.
    Object,
    /// What [`VethPair`](crate::netns::VethPair) takes: two namespaces with a link between them.
    VethPair,
    /// The program, its object, and a pair of namespaces to run it in.
    Capture,
    /// Debian's ClickHouse server, as `cargo xtask setup` unpacks it.
    ClickHouse,
    /// Debian's ZooKeeper, likewise, and what runs it.
    ZooKeeper,
    /// A current ClickHouse engine as a module of Python, likewise.
    Chdb,
    /// XDP programs that copy frames: what `-w` and filters at XDP take.
    XdpFrames,
    /// A machine whose clock and disk are the tests' own, as `cargo xtask vm` boots.
    Machine,
    /// A program with this name.
    Tool(&'static str),
    /// Captures from elsewhere, as `TRAFFIC_CORPUS` names their directory.
    Corpus,
    /// Minutes of time: `cargo xtask test --long`.
    Long,
}

impl Need {
    /// Whether it is there.
    #[must_use]
    pub fn is_there(self) -> bool {
        self.missing().is_none()
    }

    /// Whether what is missing is to be asked for, by an option or another command.
    pub(crate) fn is_choice(self) -> bool {
        matches!(self, Self::Long | Self::Machine)
    }

    /// The name of what is missing; `None` when it is there.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Root => missing_capability(),
            Self::Program => unset(program::BINARY),
            Self::Object => unset(program::OBJECT),
            Self::VethPair => first_missing(&[
                Self::Root,
                Self::Tool("ip"),
                Self::Tool("ethtool"),
                Self::Tool("ping"),
            ]),
            Self::Capture => first_missing(&[Self::Program, Self::Object, Self::VethPair]),
            Self::ClickHouse => unpacked("clickhouse").or_else(|| Self::Tool("setpriv").missing()),
            Self::ZooKeeper => unpacked("zookeeper").or_else(|| Self::Tool("java").missing()),
            Self::Chdb => unpacked("chdb"),
            Self::XdpFrames => {
                (!xdp_copies_frames()).then(|| "XDP that copies frames: Linux 5.18".to_owned())
            }
            Self::Machine => env::var_os("TRAFFIC_MACHINE")
                .is_none()
                .then(|| "a machine of its own: cargo xtask vm".to_owned()),
            Self::Tool(name) => (!is_installed(name)).then(|| name.to_owned()),
            Self::Corpus => unset(CORPUS),
            Self::Long => env::var_os("TRAFFIC_LONG")
                .is_none()
                .then(|| "--long".to_owned()),
        }
    }
}

/// Where `cargo xtask setup` unpacks what it does not install: `TRAFFIC_TOOLS`, else in the usual
/// target directory.
pub(crate) fn tools() -> PathBuf {
    let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools").into();
    env::var_os("TRAFFIC_TOOLS").map_or_else(usual, PathBuf::from)
}

fn unpacked(name: &str) -> Option<String> {
    let missing = !tools().join(name).exists();
    missing.then(|| format!("{name} (cargo xtask setup)"))
}

const CORPUS: &str = "TRAFFIC_CORPUS";

/// The directory of captures from elsewhere, for tests with [`Need::Corpus`].
///
/// # Panics
/// Without that need.
#[must_use]
pub fn corpus() -> PathBuf {
    env::var_os(CORPUS)
        .expect("the test declares Need::Corpus")
        .into()
}

/// All files of [`corpus`], in order.
///
/// # Errors
/// When a directory cannot be listed.
///
/// # Panics
/// As [`corpus`].
pub fn corpus_files() -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![corpus()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn unset(variable: &str) -> Option<String> {
    env::var_os(variable).is_none().then(|| variable.to_owned())
}

fn first_missing(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| need.missing())
}

fn missing_capability() -> Option<String> {
    let effective = effective_capabilities();
    CAPABILITIES
        .iter()
        .find(|(_, bit)| effective >> bit & 1 == 0)
        .map(|(name, _)| (*name).to_owned())
}

/// `CapEff` of this process: proc(5).
fn effective_capabilities() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// Whether the kernel has the helper that XDP programs copy frames with; taken to be there where
/// the kernel does not name its functions.
fn xdp_copies_frames() -> bool {
    let helper = |names: String| names.contains(" bpf_xdp_load_bytes\n");
    fs::read_to_string("/proc/kallsyms").map_or(true, helper)
}

fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .any(|directory| directory.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named() {
        assert_eq!(Need::Tool("sh").missing(), None);
        assert_eq!(
            Need::Tool("no-such-tool").missing().as_deref(),
            Some("no-such-tool")
        );
    }
}
