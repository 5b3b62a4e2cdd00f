//! Capture files on a file system that runs full.

use std::{
    ops::ControlFlow,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use traffic_tests::{Need, Test};
use traffic_user::{
    capture_file::{self, CaptureWriter, Frame, InterfaceDescription, LinkType},
    record::Direction,
};

fn main() -> ExitCode {
    traffic_tests::main(&[Test::new(
        "a_full_disk_leaves_whole_records",
        &[Need::Root, Need::Tool("mount")],
        a_full_disk_leaves_whole_records,
    )])
}

fn a_full_disk_leaves_whole_records() -> Result<()> {
    for name in ["full.pcap", "full.pcapng"] {
        let disk = SmallDisk::new()?;
        let path = disk.0.path().join(name);
        let mut writer = CaptureWriter::create(&path, &[interface()])?;
        let mut refused = 0;
        for index in 0..5_000_u64 {
            let written = writer.write_frame(&Frame {
                interface: 0,
                timestamp_ns: index,
                wire_len: 1_001,
                direction: Direction::Ingress,
                dropped: 0,
                data: &[7; 1_001],
            });
            refused += u32::from(written.is_err());
        }
        refused += u32::from(writer.finish(&[]).is_err());
        ensure!(refused > 0, "{name}: the disk did not run full");

        let kept = writer.frames_written();
        ensure!(kept > 200, "{name}: {kept} frames on 256 KiB");
        let summary = capture_file::read(&path, |_, _| ControlFlow::Continue(()))?;
        ensure!(summary.fault.is_none(), "{name}: {:?}", summary.fault);
        ensure!(
            summary.packets == kept,
            "{name}: {} of {kept}",
            summary.packets
        );
    }
    Ok(())
}

fn interface() -> InterfaceDescription {
    InterfaceDescription::new("eth0", LinkType::ETHERNET)
}

/// A file system of 256 KiB.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=256k", "none"],
            directory.path(),
        )?;
        Ok(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &["-l"], self.0.path()) {
            eprintln!("{error}");
        }
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<()> {
    let status = Command::new(program).args(arguments).arg(path).status()?;
    ensure!(status.success(), "{program} {}: {status}", path.display());
    Ok(())
}
