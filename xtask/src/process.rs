//! Child processes: shown before they run, and free of what `cargo run` left in the environment.

use std::{
    env,
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail, ensure};

/// Variables that `cargo run` or rustup set for this process alone. Settings such as `CARGO_HOME`
/// and `CARGO_NET_OFFLINE` stay.
const OF_THIS_RUN: [&str; 9] = [
    "CARGO",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_CRATE_NAME",
    "LD_LIBRARY_PATH",
    "OUT_DIR",
    "RUST_RECURSION_COUNT",
];

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// The workspace's build directory.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// A command that runs in the workspace.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for variable in OF_THIS_RUN {
        command.env_remove(variable);
    }
    for (variable, _) in env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"CARGO_PKG_") {
            command.env_remove(variable);
        }
    }
    command
}

/// The cargo that runs this program, for everything but the eBPF object.
pub(crate) fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Shows `command` as one could type it.
pub(crate) fn show(command: &Command) {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
        .map(|(name, value)| format!("{name}={} ", quote(value)));
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quote(&word.to_string_lossy()));
    eprintln!(
        "$ {}{}",
        variables.collect::<String>(),
        words.collect::<Vec<_>>().join(" ")
    );
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Shows and runs `command`.
///
/// # Errors
/// When it cannot start or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| name(command))?;
    ensure!(status.success(), "{}: {status}", name(command));
    Ok(())
}

/// Runs `command` silently; `None` when there is no such program.
///
/// # Errors
/// When it cannot start for another reason.
pub(crate) fn output(command: &mut Command) -> Result<Option<Output>> {
    match command.output() {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("{}: {error}", name(command)),
    }
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args().take(2));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    format!("run {}", words.join(" "))
}

/// Where a program with this name lies: on `PATH`, or where administrators' programs are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("-Zbuild-std=core"), "-Zbuild-std=core");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn what_cargo_set_is_not_handed_on() {
        let command = command("true");
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name)
            .collect();
        // `cargo test` has set it for this very test.
        assert!(removed.contains(&OsStr::new("CARGO_PKG_NAME")));
        assert!(removed.contains(&OsStr::new("CARGO")));
    }
}
