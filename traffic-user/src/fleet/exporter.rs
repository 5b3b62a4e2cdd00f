//! The thread that brings parcels to the server, or to disk while that is away.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::Builder,
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, sleep_until},
};

use super::{
    backlog::{Backlog, Next},
    features::Features,
    parcel::Parcel,
    spool::Spool,
    store::{Store, StoreError},
};

/// Parcels that the capture may be ahead of the thread, which takes them at once unless the disk
/// is stuck.
const QUEUE: usize = 64;
/// First wait after a failure; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_secs(15);
/// Failures after which the end of a capture leaves the rest to the next.
const LAST_TRIES: u32 = 3;
/// How long the end of a capture may wait for a server that answers.
const LINGER: Duration = Duration::from_secs(10);

/// What became of the rows of a run: `rows = stored + waiting + lost`, unless parcels of earlier
/// runs were lost as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows that were made.
    pub rows: u64,
    /// Rows that the server has.
    pub stored: u64,
    /// Rows on disk, for the next run to send.
    pub waiting: u64,
    /// Rows that were given up: the spool was full, or could not be written.
    pub lost: u64,
}

/// Why nothing can be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The spool.
    #[error("open the spool: {0}")]
    Spool(io::Error),
    /// The thread.
    #[error("start the thread that exports: {0}")]
    Thread(io::Error),
}

/// The capture's end of the thread. Nothing here waits, but for [`Exporter::finish`].
pub struct Exporter {
    queue: Sender<Parcel>,
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
    rows: u64,
    queue_lost: u64,
}

#[derive(Default)]
struct Shared {
    stored: AtomicU64,
    waiting: AtomicU64,
    lost: AtomicU64,
    news: Mutex<Vec<String>>,
}

/// A spool that is open, and no thread yet.
pub struct Outbox {
    spool: Spool,
    run: u64,
}

impl Outbox {
    /// Opens the spool in `directory`, of at most `limit` bytes, for a run that begins at `now_ns`
    /// and has the number `run`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(
        directory: &Path,
        limit: u64,
        (now_ns, run): (u64, u64),
    ) -> Result<Self, ExportError> {
        let spool = Spool::open(directory, now_ns, run, limit).map_err(ExportError::Spool)?;
        Ok(Self { spool, run })
    }

    /// Starts the thread that sends to `store`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(self, store: Store) -> Result<Exporter, ExportError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ExportError::Thread)?;
        let (queue, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let carrier = Carrier {
            store,
            run: self.run,
            receiver,
            backlog: Backlog::new(self.spool),
            features: None,
            shared: Arc::clone(&shared),
            retry: FIRST_RETRY,
            is_away: false,
            tries: 0,
            retry_at: None,
        };
        let thread = thread::Builder::new()
            .name("export".to_owned())
            .spawn(move || runtime.block_on(carrier.carry()))
            .map_err(ExportError::Thread)?;
        Ok(Exporter {
            queue,
            thread,
            shared,
            rows: 0,
            queue_lost: 0,
        })
    }
}

impl Exporter {
    /// Hands a parcel over. It is lost, and counted, where the thread is so far behind that its
    /// queue is full.
    pub fn push(&mut self, parcel: Parcel) {
        let rows = parcel.rows();
        self.rows += rows;
        if rows > 0 && self.queue.try_send(parcel).is_err() {
            self.queue_lost += rows;
        }
    }

    /// What there is so far.
    #[must_use]
    pub fn exported(&self) -> Exported {
        Exported {
            rows: self.rows,
            stored: self.shared.stored.load(Relaxed),
            waiting: self.shared.waiting.load(Relaxed),
            lost: self.shared.lost.load(Relaxed) + self.queue_lost,
        }
    }

    /// What the user should know, each once.
    #[must_use]
    pub fn news(&self) -> Vec<String> {
        let news = self.shared.news.lock();
        news.map_or_else(|_| Vec::new(), |mut news| std::mem::take(&mut *news))
    }

    /// Waits until everything is stored; at most some seconds, and not at all for a server that is
    /// away. What is left then stays in the spool. Returns what became of the rows, and the last
    /// news.
    #[must_use]
    pub fn finish(self) -> (Exported, Vec<String>) {
        let Self {
            queue,
            thread,
            shared,
            rows,
            queue_lost,
        } = self;
        drop(queue);
        if thread.join().is_err() {
            log::error!("the thread that exports has panicked");
        }
        let exported = Exported {
            rows,
            stored: shared.stored.load(Relaxed),
            waiting: shared.waiting.load(Relaxed),
            lost: shared.lost.load(Relaxed) + queue_lost,
        };
        let news = shared
            .news
            .lock()
            .map(|mut news| std::mem::take(&mut *news));
        (exported, news.unwrap_or_default())
    }
}

/// The thread's end.
struct Carrier {
    store: Store,
    run: u64,
    receiver: Receiver<Parcel>,
    backlog: Backlog,
    /// Known from the first answer on.
    features: Option<Features>,
    shared: Arc<Shared>,
    retry: Duration,
    /// Whether the last try failed.
    is_away: bool,
    /// Failures that are left until the end, once the capture has ended.
    tries: u32,
    /// When to try again; `None` while the server answers.
    retry_at: Option<Instant>,
}

type Sending = Pin<Box<dyn Future<Output = Result<Features, StoreError>>>>;

impl Carrier {
    async fn carry(mut self) {
        let mut sending: Option<(Next, Sending)> = None;
        let mut deadline = None;
        loop {
            if sending.is_none() && self.retry_at.is_none_or(|at| at <= Instant::now()) {
                sending = self.backlog.next().map(|next| {
                    let sending = self.send(&next);
                    (next, sending)
                });
            }
            let is_over = deadline.is_some();
            if is_over && sending.is_none() && (self.backlog.is_empty() || self.tries == 0) {
                break;
            }
            let next_try = self.retry_at.filter(|_| sending.is_none());
            tokio::select! {
                parcel = self.receiver.recv(), if !is_over => {
                    if let Some(parcel) = parcel {
                        self.take(parcel);
                    } else {
                        deadline = Some(Instant::now() + LINGER);
                        // A server that is away has a last chance.
                        self.tries = LAST_TRIES;
                        self.retry_at = None;
                    }
                }
                result = sent(&mut sending) => {
                    if let Some((next, _)) = sending.take() {
                        self.answer(&next, result);
                    }
                }
                () = at(next_try) => {}
                () = at(deadline) => break,
            }
            self.publish();
        }
        if let Some((next, _)) = sending {
            self.backlog.failed(&next);
        }
        self.backlog.spill();
        self.publish();
    }

    fn take(&mut self, parcel: Parcel) {
        self.backlog.push(parcel);
        if self.is_away {
            self.backlog.spill();
        }
    }

    /// Sends a parcel. Batches that the server has already change nothing there.
    fn send(&self, next: &Next) -> Sending {
        let store = self.store.clone();
        let parcel = Arc::clone(&next.parcel);
        let features = self.features.clone();
        Box::pin(async move {
            let features = match features {
                Some(features) => features,
                None => Features::probe(&store).await?,
            };
            for batch in &parcel.batches {
                let token = parcel.token(batch.table);
                store.insert(batch, &token, &features).await?;
            }
            Ok(features)
        })
    }

    fn answer(&mut self, next: &Next, result: Result<Features, StoreError>) {
        match result {
            Ok(features) => {
                self.retry_at = None;
                if std::mem::take(&mut self.is_away) {
                    self.tell(format!("{} answers again", self.store.target()));
                }
                self.retry = FIRST_RETRY;
                self.features = Some(features);
                self.backlog.stored(next);
                if next.parcel.run == self.run {
                    self.shared.stored.fetch_add(next.parcel.rows(), Relaxed);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    let target = self.store.target();
                    self.tell(format!("{target}: {error}; rows wait in the spool"));
                }
                self.backlog.failed(next);
                self.tries = self.tries.saturating_sub(1);
                if self.tries > 0 {
                    self.retry = FIRST_RETRY;
                }
                // The server that comes back may be another.
                self.features = None;
                self.retry_at = Some(Instant::now() + self.retry);
                self.retry = (self.retry * 2).min(LAST_RETRY);
            }
        }
    }

    fn tell(&self, news: String) {
        if let Ok(mut all) = self.shared.news.lock() {
            all.push(news);
        }
    }

    fn publish(&self) {
        let shared = &self.shared;
        shared.waiting.store(self.backlog.own_rows(), Relaxed);
        shared.lost.store(self.backlog.lost, Relaxed);
    }
}

async fn sent(sending: &mut Option<(Next, Sending)>) -> Result<Features, StoreError> {
    match sending {
        Some((_, sending)) => sending.await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
