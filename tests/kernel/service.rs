//! The systemd service: its files, and what the program tells the service manager.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    process::{Command, ExitCode, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use traffic_tests::{
    Need, Test,
    netns::{VethOptions, VethPair},
    program::{Capture, binary, traffic},
};

const ANALYZE: &[Need] = &[Need::Program, Need::Tool("systemd-analyze")];
const UNIT: &str = "etc/systemd/system/traffic.service";
const CONFIGURATION: &str = "etc/traffic/traffic.toml";
/// The watchdog's time in these tests.
const WATCHDOG: Duration = Duration::from_millis(1200);
/// For one message.
const DEADLINE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "the_service_manager_hears_of_start_life_and_end",
            &[Need::Capture],
            the_service_manager_hears_of_start_life_and_end,
        ),
        Test::new(
            "a_service_manager_that_is_gone_is_an_error_before_the_capture",
            &[Need::Program],
            a_service_manager_that_is_gone_is_an_error_before_the_capture,
        ),
        Test::new(
            "the_capabilities_of_the_unit_are_enough_and_reload_rotates",
            &[Need::Capture, Need::Tool("setpriv")],
            the_capabilities_of_the_unit_are_enough_and_reload_rotates,
        ),
        Test::new(
            "installing_and_removing_can_be_repeated",
            &[Need::Program],
            installing_and_removing_can_be_repeated,
        ),
        Test::new(
            "a_changed_unit_is_replaced_only_by_force",
            &[Need::Program],
            a_changed_unit_is_replaced_only_by_force,
        ),
        Test::new("systemd_takes_the_unit", ANALYZE, systemd_takes_the_unit),
        Test::new("the_unit_is_hardened", ANALYZE, the_unit_is_hardened),
        Test::new(
            "the_service_configuration_is_right",
            &[Need::Program],
            the_service_configuration_is_right,
        ),
    ])
}

fn the_service_manager_hears_of_start_life_and_end() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let manager = Manager::new()?;
    let capture = Capture::start_with(
        &pair.right,
        &["--duration", "0"],
        &[
            ("NOTIFY_SOCKET", &manager.path()),
            ("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string()),
        ],
    )?;
    let ready = manager.hear()?;
    ensure!(ready.starts_with("READY=1\n"), "{ready}");
    pair.left.run("ping -c 3 -i 0.05 -W 5 10.77.0.2")?;
    let mut last = Instant::now();
    let mut status = String::new();
    for _ in 0..4 {
        status = manager.hear()?;
        ensure!(status.starts_with("WATCHDOG=1\nSTATUS="), "{status}");
        ensure!(
            last.elapsed() <= WATCHDOG / 2,
            "silent for {:?}",
            last.elapsed()
        );
        last = Instant::now();
    }
    let captured: u64 = status
        .split("STATUS=")
        .nth(1)
        .and_then(|status| status.split(' ').next()?.parse().ok())
        .with_context(|| format!("no count in {status}"))?;
    ensure!(captured >= 6, "{status}");
    capture.signal(Signal::SIGTERM)?;
    let stopping = manager.hear_until("STOPPING=1")?;
    ensure!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    let captured = capture.finish()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    Ok(())
}

fn a_service_manager_that_is_gone_is_an_error_before_the_capture() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let output = Command::new(binary())
        .args(["capture", "-i", "lo", "-d", "1s"])
        .env("NOTIFY_SOCKET", directory.path().join("none"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(said.contains("connect to NOTIFY_SOCKET"), "{said}");
    Ok(())
}

/// As user `nobody`, with the unit's capabilities and its configuration, but for the directory.
fn the_capabilities_of_the_unit_are_enough_and_reload_rotates() -> Result<()> {
    let place = Place::installed()?;
    let unit = place.read(UNIT)?;
    let capabilities: Vec<_> = setting(&unit, "AmbientCapabilities=")?
        .split(' ')
        .map(|name| name.trim_start_matches("CAP_").to_lowercase())
        .collect();
    let only = format!("-all,+{}", capabilities.join(",+"));
    let files = tempfile::tempdir()?;
    fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777))?;
    let configuration = place.read(CONFIGURATION)?;
    let directory = files.path().to_str().context("a path")?;
    let configuration = configuration.replace("/var/lib/traffic", directory);
    let path = files.path().join("traffic.toml");
    fs::write(&path, configuration)?;
    // Where everybody can run it.
    let program = files.path().join("traffic");
    fs::copy(binary(), &program)?;

    let pair = VethPair::new(&VethOptions::default())?;
    let manager = Manager::new()?;
    let mut child = pair
        .right
        .command("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([
            format!("--inh-caps={only}"),
            format!("--ambient-caps={only}"),
            format!("--bounding-set={only}"),
        ])
        .arg("--no-new-privs")
        .arg(&program)
        .args(["capture", "-i", "veth0", "--config"])
        .arg(&path)
        .env("NOTIFY_SOCKET", manager.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = (|| {
        manager.hear_until("READY=1")?;
        pair.left.run("ping -c 3 -i 0.05 -W 5 10.77.0.2")?;
        let pid = nix::unistd::Pid::from_raw(child.id().try_into()?);
        nix::sys::signal::kill(pid, Signal::SIGHUP)?;
        let second = files.path().join("traffic.pcapng1");
        traffic_tests::wait_until("the second file", DEADLINE, || second.exists())?;
        nix::sys::signal::kill(pid, Signal::SIGTERM)?;
        manager.hear_until("STOPPING=1")
    })();
    if outcome.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    outcome?;
    ensure!(status.success(), "{status}");
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(files.path().join("report.json"))?)?;
    ensure!(report["ledger"]["balanced"] == true, "{}", report["ledger"]);
    Ok(())
}

fn installing_and_removing_can_be_repeated() -> Result<()> {
    let place = Place::new()?;
    for said in ["wrote", "is there"] {
        let output = place.run("install", &["--program", "/usr/bin/traffic"])?;
        ensure!(output.matches(said).count() == 2, "{output}");
    }
    ensure!(place.read(UNIT)?.contains("ExecStart=/usr/bin/traffic "));
    let output = place.run("remove", &[])?;
    ensure!(output.matches("removed").count() == 2, "{output}");
    ensure!(!place.0.path().join("etc/traffic").exists());
    let output = place.run("remove", &[])?;
    ensure!(output.contains("is not there"), "{output}");
    Ok(())
}

fn a_changed_unit_is_replaced_only_by_force() -> Result<()> {
    let place = Place::installed()?;
    for file in [UNIT, CONFIGURATION] {
        fs::write(place.0.path().join(file), "# mine\n")?;
    }
    let refused = place.output("install", &["--program", "/usr/bin/traffic"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains("--force"),
        "{said}"
    );
    ensure!(place.read(UNIT)? == "# mine\n");
    let output = place.run("install", &["--program", "/usr/bin/traffic", "--force"])?;
    ensure!(output.contains("kept"), "{output}");
    ensure!(place.read(UNIT)?.contains("ExecStart="));
    ensure!(place.read(CONFIGURATION)? == "# mine\n");
    let output = place.run("remove", &[])?;
    ensure!(output.contains("kept"), "{output}");
    ensure!(place.read(CONFIGURATION)? == "# mine\n");
    Ok(())
}

fn systemd_takes_the_unit() -> Result<()> {
    let place = Place::new()?;
    // A program that is there, because that is checked too.
    place.run("install", &["--program", "/bin/true"])?;
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=one"])
        .arg(place.0.path().join(UNIT))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{said}");
    Ok(())
}

fn the_unit_is_hardened() -> Result<()> {
    let place = Place::installed()?;
    // In tenths of a scale from 0 to 10, whose first half systemd calls OK.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=30"])
        .arg(place.0.path().join(UNIT))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

fn the_service_configuration_is_right() -> Result<()> {
    let place = Place::installed()?;
    let path = place.0.path().join(CONFIGURATION);
    let output = traffic(&["config".as_ref(), "check".as_ref(), path.as_os_str()])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{output:?}");
    // Together they bound the disk.
    ensure!(said.contains(" -C=100M -W=10 "), "{said}");
    Ok(())
}

/// A directory in place of `/`.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn installed() -> Result<Self> {
        let place = Self::new()?;
        place.run("install", &["--program", "/usr/bin/traffic"])?;
        Ok(place)
    }

    fn output(&self, action: &str, args: &[&str]) -> Result<Output> {
        let root = self.0.path().to_str().context("a path")?;
        let words = [&["service", action, "--root", root], args].concat();
        traffic(&words)
    }

    fn run(&self, action: &str, args: &[&str]) -> Result<String> {
        let output = self.output(action, args)?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.0.path().join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}

/// What stands behind `name` in a unit.
fn setting<'a>(unit: &'a str, name: &str) -> Result<&'a str> {
    unit.lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name} in the unit"))
}

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        Ok(Self { socket, directory })
    }

    fn path(&self) -> String {
        Path::join(self.directory.path(), "notify")
            .to_string_lossy()
            .into_owned()
    }

    fn hear(&self) -> Result<String> {
        let mut message = [0; 4096];
        let length = self
            .socket
            .recv(&mut message)
            .context("wait for a message")?;
        Ok(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    /// Hears messages until one begins with `begin`.
    fn hear_until(&self, begin: &str) -> Result<String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let message = self.hear()?;
            if message.starts_with(begin) {
                return Ok(message);
            }
            ensure!(Instant::now() < end, "wait for {begin}, last: {message}");
        }
    }
}
