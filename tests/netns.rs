//! Network namespaces joined by a pair of virtual Ethernet interfaces, gone when dropped.

use std::{
    fs::File,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::{
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    unistd::Pid,
};

use crate::wait_until;

/// The interface in both namespaces of a [`VethPair`].
pub const VETH: &str = "veth0";

/// A network namespace with loopback up; deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name begins with `traffic-` and is this process's own.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "traffic-{}-{}",
            process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `program` inside the namespace. The process is the program itself: `ip` replaces itself.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `line`, split at white space, inside the namespace and returns its stdout.
    ///
    /// # Errors
    /// When it cannot start or does not succeed; with its stderr.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("run an empty line")?;
        run(self.command(program).args(words))
    }

    /// Does `work` in a thread that lives inside the namespace and stays on one CPU. Packets it
    /// sends over a pair of virtual interfaces arrive on that CPU, in the order they were sent.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn spawn<T: Send + 'static>(
        &self,
        cpu: usize,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Work<T>> {
        let path = format!("/run/netns/{}", self.name);
        let namespace = File::open(&path).with_context(|| format!("open {path}"))?;
        Ok(Work(thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
            let mut cpus = CpuSet::new();
            cpus.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &cpus).context("stay on one CPU")?;
            work()
        })))
    }

    /// [`Namespace::spawn`], and waits for its end.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.spawn(0, work)?.join()
    }

    /// Does `work` inside the namespace in this thread, for what needs to be the only one.
    ///
    /// # Errors
    /// Those of `work`, or when the namespace is gone.
    pub fn within_this_thread<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let here = File::open("/proc/self/ns/net").context("open the namespace of this thread")?;
        let path = format!("/run/netns/{}", self.name);
        let there = File::open(&path).with_context(|| format!("open {path}"))?;
        setns(there, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
        let result = work();
        setns(here, CloneFlags::CLONE_NEWNET).context("leave the namespace")?;
        result
    }

    /// Waits until `interface` carries frames and says so (RFC 2863), which the kernel notes a
    /// while after its other end is up.
    ///
    /// # Errors
    /// When it does not within ten seconds.
    pub fn wait_for_carrier(&self, interface: &str) -> Result<()> {
        let line = format!("cat /sys/class/net/{interface}/operstate");
        wait_until("the link to be up", Duration::from_secs(10), || {
            self.run(&line).is_ok_and(|state| state.trim() == "up")
        })
    }

    /// Frames that `interface` has received and sent.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn packets(&self, interface: &str) -> Result<(u64, u64)> {
        let count = |name| -> Result<u64> {
            let path = format!("/sys/class/net/{interface}/statistics/{name}");
            Ok(self.run(&format!("cat {path}"))?.trim().parse()?)
        };
        Ok((count("rx_packets")?, count("tx_packets")?))
    }
}

/// What a thread inside a namespace is doing.
#[derive(Debug)]
pub struct Work<T>(JoinHandle<Result<T>>);

impl<T> Work<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// Those of the work.
    pub fn join(self) -> Result<T> {
        self.0
            .join()
            .map_err(|_| anyhow!("the work inside the namespace panicked"))?
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "delete", &self.name])) {
            eprintln!("{error:#}");
        }
    }
}

/// What a [`VethPair`] is like; the default has both address families and VLAN offload off, so
/// that XDP sees tags.
#[derive(Clone, Copy, Debug)]
pub struct VethOptions<'a> {
    /// MTU of both ends.
    pub mtu: u32,
    /// Arguments of `ethtool -K` for both ends, for example `tso off`.
    pub offloads: &'a str,
    /// Without IPv6 the link is silent: no router solicitations, no multicast reports.
    pub ipv6: bool,
}

impl Default for VethOptions<'_> {
    fn default() -> Self {
        Self {
            mtu: 1500,
            offloads: "rxvlan off txvlan off",
            ipv6: true,
        }
    }
}

/// Two namespaces joined by [`VETH`] in each: `left` has 10.77.0.1/24 and `fd77::1/64`, `right` has
/// 10.77.0.2/24 and `fd77::2/64`.
#[derive(Debug)]
pub struct VethPair {
    /// Host 1.
    pub left: Namespace,
    /// Host 2.
    pub right: Namespace,
}

impl VethPair {
    /// Makes the pair, with both ends up and their addresses usable.
    ///
    /// # Errors
    /// When `ip` or `ethtool` is missing or refuses.
    pub fn new(options: &VethOptions<'_>) -> Result<Self> {
        let pair = Self {
            left: Namespace::new()?,
            right: Namespace::new()?,
        };
        pair.left.run(&format!(
            "ip link add {VETH} type veth peer name {VETH} netns {}",
            pair.right.name
        ))?;
        configure(&pair.left, 1, options)?;
        configure(&pair.right, 2, options)?;
        Ok(pair)
    }
}

fn configure(namespace: &Namespace, host: u8, options: &VethOptions<'_>) -> Result<()> {
    if !options.ipv6 {
        namespace.run(&format!("sysctl -qw net.ipv6.conf.{VETH}.disable_ipv6=1"))?;
    }
    if !options.offloads.is_empty() {
        namespace.run(&format!("ethtool -K {VETH} {}", options.offloads))?;
    }
    namespace.run(&format!("ip link set {VETH} mtu {} up", options.mtu))?;
    namespace.run(&format!("ip address add 10.77.0.{host}/24 dev {VETH}"))?;
    if options.ipv6 {
        // Without duplicate address detection the address can be used at once.
        namespace.run(&format!("ip address add fd77::{host}/64 dev {VETH} nodad"))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "run {command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
