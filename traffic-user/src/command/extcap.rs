//! Interfaces for Wireshark: its questions answered (extcap(4)), and the link that makes it ask.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Parser as _;

use super::{UsageError, capture};
use crate::{
    cli::{Cli, Command, ExtcapArgs, ExtcapCli},
    kernel::{Interface, Interfaces},
};

/// In front of an interface's name, so that Wireshark's own interface keeps its name.
const PREFIX: &str = "traffic-";

/// What can be set in Wireshark's dialog, as extcap(4) describes it.
const SETTINGS: &str = "\
arg {number=0}{call=--hook}{display=Hook}{tooltip=Where the eBPF programs attach}{type=selector}
value {arg=0}{value=auto}{display=TC in both directions}{default=true}
value {arg=0}{value=xdp}{display=XDP on ingress, TC on egress}{default=false}
arg {number=1}{call=--snapshot-length}{display=Snapshot length}{tooltip=Bytes kept of a frame; 0 = all}{type=unsigned}{default=0}
arg {number=2}{call=--sample}{display=Sampling}{tooltip=One frame in so many}{type=unsigned}{range=1,1000000}{default=1}";

/// Answers Wireshark.
///
/// # Errors
/// When it asks about an interface that is not there, or a capture fails.
pub(super) async fn answer(args: ExtcapCli) -> Result<ExitCode> {
    if args.extcap_interfaces {
        return list().await;
    }
    let asked = args.extcap_interface.as_deref().unwrap_or_default();
    let Some(name) = asked.strip_prefix(PREFIX) else {
        let message = format!("unknown extcap interface '{asked}'");
        return Err(UsageError(message).into());
    };
    if args.capture {
        return Box::pin(capture::run(capture_args(&args, name)?)).await;
    }
    if args.extcap_config {
        println!("{SETTINGS}");
    } else if args.extcap_dlts {
        let selected = Interfaces::list().await?.select(&[name.to_owned()])?;
        selected.iter().for_each(print_link_type);
    }
    Ok(ExitCode::SUCCESS)
}

async fn list() -> Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    println!("extcap {{version={version}}}{{display=traffic, by eBPF in the kernel}}");
    let interfaces = Interfaces::list().await?;
    for interface in interfaces.iter().filter(|one| one.up && one.is_supported()) {
        let name = &interface.name;
        println!("interface {{value={PREFIX}{name}}}{{display=traffic: {name}}}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `DLT_…` numbers, which for raw IP differ from the numbers in files.
fn print_link_type(interface: &Interface) {
    if interface.has_ethernet_headers() {
        println!("dlt {{number=1}}{{name=EN10MB}}{{display=Ethernet}}");
    } else {
        println!("dlt {{number=12}}{{name=RAW}}{{display=Raw IP}}");
    }
}

/// The capture that Wireshark asks for: into its pipe, until it ends it.
fn capture_args(args: &ExtcapCli, interface: &str) -> Result<crate::cli::CaptureArgs> {
    let fifo = args.fifo.clone().unwrap_or_default();
    let line = ["traffic", "capture", "-qq", "--duration", "0"];
    let mut line: Vec<_> = line.map(std::ffi::OsString::from).into();
    line.extend(["--interface".into(), interface.into()]);
    line.extend(["--write".into(), fifo.into()]);
    if let Some(filter) = args
        .extcap_capture_filter
        .as_ref()
        .filter(|filter| !filter.is_empty())
    {
        line.extend(["--filter".into(), filter.into()]);
    }
    let parsed = Cli::try_parse_from(line).map_err(|error| UsageError(error.to_string()))?;
    let Some(Command::Capture(mut capture)) = parsed.command else {
        return Err(UsageError("no capture".to_owned()).into());
    };
    capture.hook = args.hook;
    capture.snapshot_length = args.snapshot_length;
    capture.sample = args.sample.max(1);
    Ok(*capture)
}

/// Links this program into Wireshark's folder.
///
/// # Errors
/// When the folder cannot be made, or holds another file of that name.
pub(super) fn install(args: &ExtcapArgs) -> Result<ExitCode> {
    let folder = args.folder.clone().or_else(folder);
    let folder = folder.context("find the folder of Wireshark's extcap programs")?;
    let program = env::current_exe().context("find this program")?;
    let link = folder.join("traffic");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    replace_link(&program, &link).with_context(|| format!("link {}", link.display()))?;
    println!("{} -> {}", link.display(), program.display());
    println!("Wireshark lists it after a restart; capturing needs the program's capabilities.");
    Ok(ExitCode::SUCCESS)
}

/// Makes `link`, in place of a link that may be there but not of a file.
fn replace_link(program: &Path, link: &Path) -> io::Result<()> {
    if link.is_symlink() {
        fs::remove_file(link)?;
    }
    symlink(program, link)
}

/// The user's folder, where Wireshark looks from version 4.2 on.
fn folder() -> Option<PathBuf> {
    folder_of_tshark().or_else(|| Some(env::home_dir()?.join(".local/lib/wireshark/extcap")))
}

/// The folder that tshark names for the user.
fn folder_of_tshark() -> Option<PathBuf> {
    let output = Process::new("tshark")
        .args(["-G", "folders"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Personal Extcap path:"))?;
    Some(PathBuf::from(line.trim())).filter(|path| path.is_absolute())
}
