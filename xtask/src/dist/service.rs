//! The package's unit under a service manager that is alive: a machine made in software, whose first
//! process is systemd.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::files::write;
use crate::{
    process,
    vm::{Machines, Outcome},
};

/// What it runs, and the unit that runs it.
const SCRIPT: &str = include_str!("service.sh");
const SCRIPT_PATH: &str = "usr/local/sbin/check-service";
const UNIT: &str = "\
[Unit]
After=multi-user.target

[Service]
ExecStart=/usr/local/sbin/check-service

[Install]
WantedBy=multi-user.target
";
const UNITS: &str = "etc/systemd/system";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants";

/// Packages of the system beside those of every Debian: the service manager, and what loads modules.
pub(super) const PACKAGES: &str = "iputils-ping,kmod,systemd,systemd-sysv,udev";
/// Of the kernel that comes with the Debian release in which the package is tried.
const KERNEL: &str = "6.1";
/// For booting and everything that is checked.
const LIMIT: Duration = Duration::from_mins(10);

/// Boots a copy of `system`, where the package is installed, below `directory`, and has the service
/// manager start, restart, reload and stop the service.
pub(super) fn check(system: &Path, directory: &Path) -> Result<()> {
    let copy = directory.join("booted");
    let mut cp = process::command("cp");
    process::run(cp.args(["--archive"]).arg(system).arg(&copy))?;
    // The kernel starts what lies here.
    symlink("lib/systemd/systemd", copy.join("init")).context("name the first process")?;
    let script = copy.join(SCRIPT_PATH);
    write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    write(&copy.join(UNITS).join("check.service"), UNIT)?;
    fs::create_dir_all(copy.join(WANTED)).context("have the check started")?;
    symlink("../check.service", copy.join(WANTED).join("check.service"))?;
    let column = Machines::of_kernel(KERNEL)?.boot_system(&copy, LIMIT)?;
    fs::remove_dir_all(&copy).context("remove the system that was booted")?;
    let failed = column.count(|outcome| *outcome == Outcome::Failed);
    let passed = column.count(|outcome| *outcome == Outcome::Passed);
    ensure!(
        failed == 0 && passed > 0,
        "the service: {passed} passed, {failed} failed"
    );
    println!("the service: {passed} passed, on Linux {}", column.release);
    Ok(())
}
