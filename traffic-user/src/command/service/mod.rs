//! `traffic service`: the files of a systemd service, put in place and taken away.

use std::{
    env, fs,
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::UsageError;
use crate::cli::{InstallArgs, RemoveArgs, ServiceAction, ServiceArgs, ServicePlace};

const UNIT: &str = include_str!("traffic.service");
const CONFIGURATION: &str = include_str!("traffic.toml");
/// What stands for the program in [`UNIT`].
const PROGRAM: &str = "@PROGRAM@";
const UNIT_NAME: &str = "traffic.service";
const CONFIGURATION_PATH: &str = "etc/traffic/traffic.toml";
/// Where the unit lets nobody see a program: `ProtectHome=`, `PrivateTmp=`.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Installs or removes the service.
pub(super) fn run(args: &ServiceArgs) -> Result<ExitCode> {
    match &args.action {
        ServiceAction::Install(args) => install(args),
        ServiceAction::Remove(args) => remove(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn install(args: &InstallArgs) -> Result<()> {
    let unit = unit(&program(args.program.as_deref())?)?;
    let unit_path = args.place.unit_path();
    match state(&unit_path, &unit)? {
        State::Missing => write(&unit_path, &unit)?,
        State::Same => say(&format!("{} is there", unit_path.display()))?,
        State::Changed if args.force => write(&unit_path, &unit)?,
        State::Changed => bail!(
            "{} differs from what would be installed (--force replaces it)",
            unit_path.display()
        ),
    }
    let path = args.place.root.join(CONFIGURATION_PATH);
    match state(&path, CONFIGURATION)? {
        State::Missing => write(&path, CONFIGURATION)?,
        State::Same => say(&format!("{} is there", path.display()))?,
        State::Changed => say(&format!("kept {}, which was changed", path.display()))?,
    }
    if args.place.is_this_system() {
        systemctl(&["daemon-reload"])?;
        say("start it with: systemctl enable --now traffic")?;
    }
    Ok(())
}

fn remove(args: &RemoveArgs) -> Result<()> {
    let unit_path = args.place.unit_path();
    let path = args.place.root.join(CONFIGURATION_PATH);
    if args.place.is_this_system() && unit_path.exists() {
        systemctl(&["disable", "--now", "traffic"])?;
    }
    delete(&unit_path)?;
    match state(&path, CONFIGURATION)? {
        State::Missing => {}
        State::Same => {
            delete(&path)?;
            // Other files may lie there.
            let _ = path.parent().map(fs::remove_dir);
        }
        State::Changed => say(&format!("kept {}, which was changed", path.display()))?,
    }
    if args.place.is_this_system() {
        systemctl(&["daemon-reload"])?;
        say("kept /var/lib/traffic, where captures are")?;
    }
    Ok(())
}

/// The unit for the program at `path`.
fn unit(path: &Path) -> Result<String> {
    let path = path.to_str().context("the program's path is not UTF-8")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    // systemd would split it, or put something else in its place.
    ensure!(
        path.starts_with('/') && path.chars().all(is_plain),
        "{path} cannot stand in a unit: copy the program to /usr/local/bin"
    );
    Ok(UNIT.replace(PROGRAM, path))
}

/// The program that was named, or this one.
fn program(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let this = env::current_exe().context("find this program")?;
    if HIDDEN.iter().any(|hidden| this.starts_with(hidden)) {
        let message = format!(
            "a service cannot run {}: copy it to /usr/local/bin, and install from there",
            this.display()
        );
        return Err(UsageError(message).into());
    }
    Ok(this)
}

/// How a file compares with what it is to hold.
enum State {
    Missing,
    Same,
    Changed,
}

fn state(path: &Path, content: &str) -> Result<State> {
    match fs::read(path) {
        Ok(bytes) if bytes == content.as_bytes() => Ok(State::Same),
        Ok(_) => Ok(State::Changed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(State::Missing),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    fs::write(path, content).with_context(|| format!("write {}", path.display()))?;
    say(&format!("wrote {}", path.display()))
}

fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => say(&format!("removed {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            say(&format!("{} is not there", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("remove {}", path.display())),
    }
}

/// Tells systemd, where it runs (`sd_booted(3)`).
fn systemctl(words: &[&str]) -> Result<()> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    say(&format!("systemctl {}", words.join(" ")))?;
    let status = Command::new("systemctl").args(words).status();
    let status = status.context("run systemctl")?;
    ensure!(status.success(), "run systemctl: {status}");
    Ok(())
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("write to stdout")
}

impl ServicePlace {
    fn unit_path(&self) -> PathBuf {
        // `Path::join` would leave the root for an absolute path.
        let directory = self.unit_directory.strip_prefix("/");
        let directory = directory.unwrap_or(&self.unit_directory);
        self.root.join(directory).join(UNIT_NAME)
    }

    fn is_this_system(&self) -> bool {
        self.root == Path::new("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_program() {
        let text = unit(Path::new("/usr/bin/traffic")).unwrap();
        let start = "\nExecStart=/usr/bin/traffic capture --config /etc/traffic/traffic.toml\n";
        assert!(text.contains(start) && !text.contains(PROGRAM));
        for wrong in ["traffic", "/a b/traffic", "/a/%h/traffic", "/$HOME/traffic"] {
            assert!(unit(Path::new(wrong)).is_err(), "{wrong}");
        }
    }
}
