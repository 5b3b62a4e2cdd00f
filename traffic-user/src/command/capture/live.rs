//! The live views of a capture.

use std::{fs, future::pending, net::TcpListener, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::settings::planned;
use crate::{
    cli::CaptureArgs,
    command::UsageError,
    kernel,
    live::{
        terminal::Terminal,
        view::{LiveReport, Moment, Publisher},
        web::{self, Access, Web},
    },
    report::{html, json},
    sandbox::Policy,
};

/// What could not be done where `--live` finds no terminal.
const NO_TERMINAL: &str = "show the capture live (--live)";

/// What shows the capture while it runs.
pub(super) struct Views {
    publisher: Publisher,
    door: Option<(TcpListener, Access)>,
    terminal: Option<Terminal>,
    web: Option<Web>,
}

impl Views {
    /// Nothing is shown yet; the address for browsers is taken.
    ///
    /// # Errors
    /// When the address cannot be had, or needs a token ([`UsageError`]), or `--live` has no
    /// terminal.
    pub(super) fn new(args: &CaptureArgs) -> Result<Self> {
        if args.live {
            Terminal::check().context(NO_TERMINAL)?;
        }
        let ring_bytes = u64::from(args.buffer_size);
        Ok(Self {
            publisher: Publisher::new(planned(args), args.output.top, ring_bytes),
            door: door(args)?,
            terminal: None,
            web: None,
        })
    }

    /// Shows what was asked for.
    ///
    /// # Errors
    /// When the terminal refuses, or a thread cannot start.
    pub(super) fn show(&mut self, args: &CaptureArgs) -> Result<()> {
        if let Some((listener, access)) = self.door.take() {
            if args.output.quiet == 0 {
                eprintln!("live at http://{}/", listener.local_addr()?);
            }
            let web = Web::start(listener, access, self.publisher.source());
            self.web = Some(web.context("start the live page")?);
        }
        if args.live {
            let reports = self.publisher.source().subscribe();
            let terminal = Terminal::start(reports, Box::new(save));
            self.terminal = Some(terminal.context(NO_TERMINAL)?);
        }
        Ok(())
    }

    /// Waits until a user wants the capture to end.
    pub(super) async fn stopped(&self) {
        match &self.terminal {
            Some(terminal) => terminal.stopped().await,
            None => pending().await,
        }
    }

    /// Gives the terminal back.
    pub(super) fn leave_terminal(&mut self) {
        self.terminal = None;
    }

    /// Whether somebody looks.
    pub(super) fn is_watched(&self) -> bool {
        self.publisher.is_watched()
    }

    /// Whether somebody waits for a report.
    pub(super) fn is_due(&self) -> bool {
        self.publisher.is_due()
    }

    /// Gives a report, whose making began at `begun`, to whoever looks.
    pub(super) fn publish(&mut self, moment: Moment, begun: Instant) {
        self.publisher.publish(moment, begun);
    }
}

/// What the views need while the capture runs.
pub(super) fn needs(args: &CaptureArgs, policy: &mut Policy) {
    if args.listen.is_some() {
        policy.accept_clients();
    }
    if args.live {
        policy.use_terminal();
        // Where `save` writes.
        policy.make_files_in(Path::new("."));
    }
    if (args.listen.is_some() || args.live)
        && let Some(file) = &args.files.write
    {
        // The part that is written can be downloaded.
        policy.read(file);
    }
}

/// Takes the address of `--listen`.
fn door(args: &CaptureArgs) -> Result<Option<(TcpListener, Access)>> {
    let Some(address) = args.listen else {
        return Ok(None);
    };
    let token = args.token.as_deref().map(token).transpose()?;
    if token.is_none() && !address.ip().is_loopback() {
        let message = format!("--listen {address} can be reached from elsewhere: it needs --token");
        return Err(UsageError(message).into());
    }
    let listener = web::bind(address).with_context(|| format!("listen on {address}"))?;
    let access = Access {
        token,
        host: kernel::hostname(),
    };
    Ok(Some((listener, access)))
}

/// The token that `--token` names.
fn token(text: &str) -> Result<String> {
    let token = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(path) => {
            let read = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
            read.trim_end().to_owned()
        }
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if token.is_empty() || !token.chars().all(is_plain) {
        let message = "a token is made of letters, digits and -._~ alone";
        return Err(UsageError(message.to_owned()).into());
    }
    Ok(token)
}

/// Writes the report as it is, as a page and as JSON; says where, or why not.
fn save(live: &LiveReport) -> String {
    let report = live.trimmed();
    let name = format!("traffic-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let page = format!("{name}.html");
    let data = format!("{name}.json");
    let written = fs::write(&page, html::render(&report))
        .and_then(|()| fs::write(&data, json::to_string(&report)));
    match written {
        Ok(()) => format!("saved {page} and {data}"),
        Err(error) => format!("save {page}: {error}"),
    }
}
