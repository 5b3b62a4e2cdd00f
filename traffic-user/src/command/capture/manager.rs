//! What the service manager is told (`sd_notify(3)`).

use std::{
    env,
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// How often the manager is told the counts, where no watchdog wants to hear of us more often.
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// Signs of life within the time after which the watchdog ends the service. The manual page of
/// `sd_watchdog_enabled(3)` asks for two.
const SIGNS_PER_TIMEOUT: u32 = 4;

/// A connection to the service manager; without one, nothing is said.
pub(super) struct Manager {
    socket: Option<UnixDatagram>,
    period: Duration,
    told: Instant,
}

impl Manager {
    /// Connects where `NOTIFY_SOCKET` says. Later the process may not be allowed to.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn connect() -> Result<Self> {
        let socket = env::var_os("NOTIFY_SOCKET").map(|name| connect(&name));
        let timeout = watchdog();
        Ok(Self {
            socket: socket.transpose().context("connect to NOTIFY_SOCKET")?,
            period: timeout.map_or(STATUS_PERIOD, |timeout| {
                STATUS_PERIOD.min(timeout / SIGNS_PER_TIMEOUT)
            }),
            told: Instant::now(),
        })
    }

    /// The programs are attached.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=capturing");
    }

    /// Whether it is time for a sign of life.
    pub(super) fn is_due(&self) -> bool {
        self.socket.is_some() && self.told.elapsed() >= self.period
    }

    /// The capture goes on; `counts` is what there is so far.
    pub(super) fn alive(&mut self, counts: &str) {
        self.told = Instant::now();
        self.tell(&format!("WATCHDOG=1\nSTATUS={counts}"));
    }

    /// The capture is over; its outputs are being written.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=writing the outputs");
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            log::warn!("tell the service manager: {error}");
        }
    }
}

/// A name that begins with `@` is one of Linux's abstract names (unix(7)).
fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The time after which the watchdog ends this process when it hears nothing.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
    number("WATCHDOG_USEC")
        .filter(|_| is_ours)
        .map(Duration::from_micros)
}
