//! Traffic: an XDP program that sends live frames from `BPF_PROG_TEST_RUN`, in a process of its
//! own on CPU 0.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use traffic_tests::netns::{Namespace, VETH};

use crate::{Programs, frames::ipv4};

/// The CPU that makes traffic, and that receives it.
const CPU: usize = 0;
/// Frames that the kernel hands on in one go.
const BATCH: u32 = 64;
/// Frames of one call at the highest rate.
const CALL: u32 = 16_384;
/// How often a paced sender sends.
const BURST: Duration = Duration::from_micros(100);
/// Where frames go.
pub(crate) const PORT: u16 = 5000;
/// MAC address of the interface that receives.
pub(crate) const RECEIVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x88];
/// Length of `struct xdp_md`, where `data_end` lies in it, and where the interface
/// (`linux/bpf.h`).
const XDP_MD_BYTES: usize = 24;
const DATA_END: usize = 4;
const INGRESS_IFINDEX: usize = 12;

/// What is sent.
#[derive(clap::Args, Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Args {
    /// Frames of 60, 594 and 1514 bytes at 7:4:1, instead of 60.
    #[arg(long)]
    pub(crate) mix: bool,
    /// Different source addresses.
    #[arg(long, default_value_t = 1)]
    pub(crate) sources: u32,
    /// Frames per second; 0 = as many as go.
    #[arg(long, default_value_t = 0)]
    pub(crate) pps: u32,
    /// To the host that receives them, instead of to a MAC that nobody has.
    #[arg(long)]
    pub(crate) to_host: bool,
    /// Seconds to send.
    #[arg(long)]
    pub(crate) seconds: f64,
}

/// What a sender says at the end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) seconds: f64,
}

/// A sender that waits for its start; killed on drop.
pub(crate) struct Generator {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Generator {
    /// Loads the sender in `namespace`.
    pub(crate) fn load(namespace: &Namespace, args: &Args, programs: &Programs) -> Result<Self> {
        let mut command = namespace.command(env::current_exe().context("find this program")?);
        command
            .arg("--traffic")
            .arg(&programs.traffic)
            .arg("--object")
            .arg(&programs.object)
            .arg("generate")
            .args(["--sources", &args.sources.to_string()])
            .args(["--pps", &args.pps.to_string()])
            .args(["--seconds", &args.seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if args.mix {
            command.arg("--mix");
        }
        if args.to_host {
            command.arg("--to-host");
        }
        let mut child = command.spawn().context("start the sender")?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut generator = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        };
        generator.line().context("load the sender")?;
        Ok(generator)
    }

    /// Sends, and returns when all is sent.
    pub(crate) fn send(mut self) -> Result<Sent> {
        self.stdin
            .write_all(b"\n")
            .context("tell the sender to start")?;
        let line = self.line().context("wait for the sender")?;
        serde_json::from_str(&line).context("read what was sent")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the sender ended");
        Ok(line)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sender's process.
pub(crate) fn run(args: &Args, object: &Path) -> Result<ExitCode> {
    let mut cpus = CpuSet::new();
    cpus.set(CPU)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("stay on one CPU")?;
    let mut sender = Sender::load(args, object)?;
    println!("ready");
    let mut start = String::new();
    io::stdin().read_line(&mut start)?;
    if start.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let sent = sender.send(args)?;
    println!("{}", serde_json::to_string(&sent)?);
    Ok(ExitCode::SUCCESS)
}

struct Sender {
    ebpf: Ebpf,
    frame: Vec<u8>,
    context: [u8; XDP_MD_BYTES],
}

impl Sender {
    fn load(args: &Args, object: &Path) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .override_global("SOURCES", &args.sources, true)
            .override_global("MIX", &u32::from(args.mix), true)
            .load_file(object)
            .with_context(|| format!("load {}", object.display()))?;
        let program = generate(&mut ebpf)?;
        program.load()?;
        // While it is attached somewhere, a call does not have to patch the kernel's dispatcher.
        program.attach("lo", XdpMode::Skb).context("attach to lo")?;
        let len: u16 = if args.mix { 1514 } else { 60 };
        let index = fs::read_to_string(format!("/sys/class/net/{VETH}/ifindex"))?;
        let index: u32 = index.trim().parse()?;
        let mut context = [0; XDP_MD_BYTES];
        context[DATA_END..][..4].copy_from_slice(&u32::from(len).to_ne_bytes());
        context[INGRESS_IFINDEX..][..4].copy_from_slice(&index.to_ne_bytes());
        let mut frame = ipv4(len, 17, PORT);
        if args.to_host {
            frame[..6].copy_from_slice(&RECEIVER_MAC);
        }
        Ok(Self {
            ebpf,
            frame,
            context,
        })
    }

    fn send(&mut self, args: &Args) -> Result<Sent> {
        let length = Duration::from_secs_f64(args.seconds);
        let start = Instant::now();
        let mut frames: u64 = 0;
        while start.elapsed() < length {
            let due = if args.pps == 0 {
                CALL
            } else {
                due(start.elapsed(), args.pps, frames)
            };
            if due > 0 {
                self.call(due)?;
                frames += u64::from(due);
            }
            if args.pps != 0 {
                pause(BURST);
            }
        }
        Ok(Sent {
            frames,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    fn call(&mut self, frames: u32) -> Result<()> {
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&self.context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        generate(&mut self.ebpf)?
            .test_run(options)
            .context("send")?;
        Ok(())
    }
}

fn generate(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf.program_mut("generate").context("find generate")?;
    Ok(program.try_into()?)
}

/// Frames to send now to keep the rate.
fn due(elapsed: Duration, pps: u32, sent: u64) -> u32 {
    let target = elapsed.as_nanos() * u128::from(pps) / 1_000_000_000;
    let due = target.saturating_sub(u128::from(sent));
    u32::try_from(due).unwrap_or(u32::MAX).min(CALL)
}

/// Waits without giving up the CPU: a sleep is longer than a burst.
fn pause(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_sender_catches_up() {
        assert_eq!(due(Duration::from_millis(1), 100_000, 0), 100);
        assert_eq!(due(Duration::from_millis(1), 100_000, 100), 0);
        assert_eq!(due(Duration::from_millis(1), 100_000, 200), 0);
    }
}
