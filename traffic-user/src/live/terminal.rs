//! The live view in a terminal.

mod draw;
mod findings;
mod histogram;
mod screen;
mod style;

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd as _,
    panic,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::{
    Terminal as Canvas,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use tokio::{sync::Notify, time::timeout};

use self::{
    screen::{Action, Screen},
    style::Style,
};
use super::view::{LiveReport, Reports};
use crate::diagnostics;

/// How long a key may wait for its effect, and a report for being shown.
const POLL: Duration = Duration::from_millis(50);
/// How often it is seen whether the terminal is still there.
const WATCH: Duration = Duration::from_millis(500);
/// How long the view may take to restore the terminal.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes a report to files; says which, or why not.
pub type Save = Box<dyn Fn(&LiveReport) -> String + Send>;

/// The view, on a thread of its own. The terminal is as it was once this is dropped.
pub struct Terminal {
    thread: Option<JoinHandle<()>>,
    done: Arc<AtomicBool>,
    stop: Arc<Notify>,
}

impl Terminal {
    /// Whether there is a terminal to show anything on.
    ///
    /// # Errors
    /// Says what there is not.
    pub fn check() -> io::Result<()> {
        output().map(drop)
    }

    /// Takes the terminal and shows `reports` on it. Lines that are said meanwhile are shown, and
    /// printed once the terminal is free again.
    ///
    /// # Errors
    /// When there is no terminal, or it refuses.
    pub fn start(reports: Reports, save: Save) -> io::Result<Self> {
        let out = output()?;
        let guard = Guard::new()?;
        let canvas = Canvas::new(CrosstermBackend::new(out))?;
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(Notify::new());
        let mut view = View {
            canvas,
            screen: Screen::new(Style::of_environment()),
            reports,
            save,
            done: Arc::clone(&done),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                let result = view.run();
                drop(guard);
                if let Err(error) = result {
                    diagnostics::say(&format!("error: show the live view: {error}"));
                    view.stop.notify_one();
                }
            })?;
        Ok(Self {
            thread: Some(thread),
            done,
            stop,
        })
    }

    /// Waits until the user wants the capture to end, or the terminal is taken away: there the
    /// library that reads keys never comes back.
    pub async fn stopped(&self) {
        while !is_gone() {
            if timeout(WATCH, self.stop.notified()).await.is_ok() {
                return;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(POLL / 4);
        }
        // Reading keys never ends on a terminal that was taken away; then the thread is left behind.
        if thread.is_finished() {
            // It has said why it panicked.
            let _ = thread.join();
        }
    }
}

struct View {
    canvas: Canvas<CrosstermBackend<Box<dyn Write + Send>>>,
    screen: Screen,
    reports: Reports,
    save: Save,
    done: Arc<AtomicBool>,
    stop: Arc<Notify>,
}

impl View {
    fn run(&mut self) -> io::Result<()> {
        self.draw()?;
        // A panic elsewhere has given the terminal back.
        while !self.done.load(Ordering::Relaxed) && IS_TAKEN.load(Ordering::Relaxed) {
            let has_event = event::poll(POLL)?;
            if has_event && self.take(&event::read()?) {
                self.stop.notify_one();
                return Ok(());
            }
            let has_report = self.reports.has_changed().unwrap_or(false);
            if has_report {
                let report = self.reports.borrow_and_update().clone();
                self.screen.show(report);
            }
            if has_event || has_report {
                self.draw()?;
            }
        }
        Ok(())
    }

    /// Follows an event; whether the user wants to quit.
    fn take(&mut self, event: &Event) -> bool {
        let Event::Key(key) = event else { return false };
        match self.screen.key(*key) {
            None => false,
            Some(Action::Quit) => true,
            Some(Action::Save(live)) => {
                self.screen.say((self.save)(&live));
                false
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        if let Some(line) = diagnostics::last_held() {
            self.screen.note(line);
        }
        let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        if !IS_TAKEN.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.canvas
            .draw(|frame| draw::draw(frame, &self.screen))
            .map(drop)
    }
}

/// Whether the terminal was taken away.
fn is_gone() -> bool {
    let stdin = io::stdin();
    // Nothing is asked for: hanging up is always told.
    let mut input = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut input, PollTimeout::ZERO).is_ok()
        && input[0]
            .revents()
            .is_some_and(|events| events.intersects(gone))
}

/// Where there is a terminal: stdout, or else stderr, so that a capture file can go to stdout.
fn output() -> io::Result<Box<dyn Write + Send>> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("stdin is no terminal"));
    }
    if io::stdout().is_terminal() {
        Ok(Box::new(io::stdout()))
    } else if io::stderr().is_terminal() {
        Ok(Box::new(io::stderr()))
    } else {
        Err(io::Error::other("neither stdout nor stderr is a terminal"))
    }
}

/// The terminal while it is ours.
struct Guard;

impl Guard {
    fn new() -> io::Result<Self> {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                hook(info);
            }));
        });
        enable_raw_mode()?;
        let guard = Self;
        IS_TAKEN.store(true, Ordering::Relaxed);
        execute!(output()?, EnterAlternateScreen)?;
        diagnostics::hold();
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

static IS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Held while the view is drawn, so that none is drawn over a terminal that was given back.
static DRAWING: Mutex<()> = Mutex::new(());
/// How long drawing takes at most; the thread that draws may be the one that panics.
const DRAWN: Duration = Duration::from_millis(200);

/// Waits until nothing is being drawn; not longer than [`DRAWN`].
fn after_drawing() -> Option<MutexGuard<'static, ()>> {
    let deadline = Instant::now() + DRAWN;
    loop {
        match DRAWING.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(DRAWN / 100),
        }
    }
}

/// Makes the terminal what it was, once.
fn restore() {
    let _drawing = after_drawing();
    if !IS_TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    // A terminal that went away needs nothing any more.
    let _ = output().and_then(|mut out| execute!(out, LeaveAlternateScreen, Show));
    let _ = disable_raw_mode();
    diagnostics::release();
}
