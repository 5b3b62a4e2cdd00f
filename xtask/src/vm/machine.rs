//! One boot: a machine in software, its output, and its end.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{kernel::Kernel, tools::Tools};

/// Memory in MiB: the root directory, and rings and histories of the tests.
const MEMORY: &str = "2048";
/// CPUs: the tests send from one to another.
const CPUS: &str = "2";
/// A disk that tests write on.
const DISK_BYTES: u64 = 32 << 20;
/// It takes a megabyte a second, and losing it at the end costs nothing.
const SLOW: &str = "cache=unsafe,throttling.bps-write=1000000";
/// Lines of the kernel's console that are shown when it did not come to the end.
const LAST_WORDS: usize = 30;

/// A running machine; killed on drop.
pub(crate) struct Machine<'a> {
    child: Child,
    lines: Receiver<String>,
    console: &'a Path,
    end: Instant,
}

impl<'a> Machine<'a> {
    /// Boots `kernel` with the root directory in `archive`. Its kernel's messages go to `console`.
    pub(crate) fn boot(
        kernel: &Kernel,
        archive: &Path,
        console: &'a Path,
        tools: &Tools,
        limit: Duration,
    ) -> Result<Self> {
        let mut command = tools.command("qemu-system-x86_64");
        for directory in tools.firmware() {
            command.arg("-L").arg(directory);
        }
        let disk = console.with_file_name("disk");
        File::create(&disk)
            .and_then(|file| file.set_len(DISK_BYTES))
            .context("make a disk")?;
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-no-reboot", "-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", CPUS, "-m", MEMORY])
            .arg("-kernel")
            .arg(kernel.image())
            .arg("-initrd")
            .arg(archive)
            // What protects from other tenants costs time, and there are none.
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-serial", "stdio", "-device", "virtio-blk-pci,drive=disk"])
            .arg("-drive")
            .arg(format!(
                "if=none,id=disk,format=raw,{SLOW},file={}",
                disk.display()
            ));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("run qemu-system-x86_64")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            console,
            end: Instant::now() + limit,
        })
    }

    /// The next line that the first process wrote.
    ///
    /// # Errors
    /// When the machine ended or its time is over; with the kernel's last words.
    pub(crate) fn line(&mut self) -> Result<String> {
        let left = self.end.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("the time is over (--limit gives more){}", self.last_words())
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!("the machine ended early{}", self.last_words())
            }
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read(self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
        format!(", its console:\n{}", last.join("\n"))
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
