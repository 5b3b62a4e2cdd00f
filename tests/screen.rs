//! A real terminal: tmux, whose screen can be read.

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::wait_until;

/// Terminals so far: a server that ends still has its socket for a moment.
static STARTED: AtomicUsize = AtomicUsize::new(0);
const DEADLINE: Duration = Duration::from_secs(20);

/// A terminal of 80×24 with one program in it; ended on drop.
#[derive(Debug)]
pub struct Screen {
    socket: String,
}

impl Screen {
    /// Runs `line` in a shell. When it has ended, the screen tells `ended with CODE`, then whether
    /// the terminal edits lines and shows what is typed.
    ///
    /// # Errors
    /// When tmux cannot start.
    pub fn start(line: &str) -> Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let screen = Self {
            socket: format!("traffic-test-{}-{number}", std::process::id()),
        };
        let shell = format!(
            "{line}; echo ended with $?; stty -a | grep -oE -e '-?(icanon|echo) '; exec cat"
        );
        screen.run(&["new-session", "-d", "-x", "80", "-y", "24", &shell])?;
        Ok(screen)
    }

    /// What tmux says to `args`.
    ///
    /// # Errors
    /// When it refuses.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(args)
            .output()?;
        ensure!(output.status.success(), "tmux {args:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What is shown.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn text(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// Types a key.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn press(&self, key: &str) -> Result<()> {
        self.run(&["send-keys", key]).map(drop)
    }

    /// Waits until `part` is shown.
    ///
    /// # Errors
    /// When it is not in time; the screen is in the message.
    pub fn wait_for(&self, part: &str) -> Result<()> {
        wait_until(part, DEADLINE, || {
            self.text().is_ok_and(|text| text.contains(part))
        })
        .with_context(|| self.text().unwrap_or_default())
    }

    /// Waits for the end of the program, and looks whether the terminal is what it was before.
    ///
    /// # Errors
    /// When it is not: another screen, no cursor, no echo, no lines.
    pub fn is_restored(&self, code: i32) -> Result<()> {
        self.wait_for(&format!("ended with {code}\nicanon\necho"))?;
        let modes = self.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        ensure!(modes.trim() == "0 1", "alternate screen, cursor: {modes}");
        Ok(())
    }

    /// The program: the child of the terminal's shell.
    ///
    /// # Errors
    /// When there is none.
    pub fn child(&self) -> Result<String> {
        let shell = self.run(&["display-message", "-p", "#{pane_pid}"])?;
        let output = Command::new("ps")
            .args(["-o", "pid=", "--ppid", shell.trim()])
            .output()?;
        let pid = String::from_utf8(output.stdout)?.trim().to_owned();
        ensure!(!pid.is_empty(), "no program below {shell}");
        Ok(pid)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It has ended when its last session has.
        let _ = self.run(&["kill-server"]);
    }
}
