//! The live view in browsers, and its data for programs, over HTTP.
//!
//! Everything can be read and nothing be changed. The server has a thread of its own, answers a
//! bounded number of clients, and leaves those that do not read.

mod connection;
mod guard;

use std::{
    fs::File,
    io::{self, Read as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    middleware,
    response::{
        Html, IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures_util::stream;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

pub use self::guard::Access;
use self::{connection::Connections, guard::guard};
use super::{
    metrics,
    view::{LiveReport, Reports, Source},
};
use crate::report::{
    chart::{self, ChartOptions},
    html, json,
};

/// Browsers get no more than one report in this time.
const EVENT_PERIOD: Duration = Duration::from_millis(500);
/// How long an answer waits for the capture to make a report.
const REPORT_DEADLINE: Duration = Duration::from_secs(10);
/// How long clients may take to receive the last report.
const FAREWELL: Duration = Duration::from_secs(1);
/// A sign of life for clients that see no reports.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes of the capture file in memory per client.
const CHUNK_BYTES: usize = 64 << 10;
/// Pictures that are drawn at once.
const PAINTERS: usize = 2;

/// The server.
pub struct Web {
    thread: Option<JoinHandle<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Web {
    /// Serves the reports of `source` to those whom `access` lets in.
    ///
    /// # Errors
    /// When the thread cannot start.
    pub fn start(listener: TcpListener, access: Access, source: Source) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(PAINTERS)
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("web".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, access, source, ended)) {
                    log::error!("answer browsers: {error}");
                }
                runtime.shutdown_background();
            })?;
        Ok(Self {
            thread: Some(thread),
            end: Some(end),
        })
    }
}

impl Drop for Web {
    /// Ends the server; clients have a second for the last report.
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has said why it panicked.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpListener,
    access: Access,
    source: Source,
    ended: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = Connections::new(tokio::net::TcpListener::from_std(listener)?);
    let server = axum::serve(listener, router(access, source));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = server.with_graceful_shutdown(async move {
        // The sender is dropped to say so.
        let _ = stopped.await;
    });
    let farewell = async move {
        let _ = ended.await;
        drop(stop);
        sleep(FAREWELL).await;
    };
    tokio::select! {
        result = server => result,
        () = farewell => Ok(()),
    }
}

fn router(access: Access, source: Source) -> Router {
    let site = Arc::new(Site {
        source,
        event: Mutex::new(None),
    });
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/report.json", get(report))
        .route("/histogram.png", get(histogram))
        .route("/capture.pcapng", get(capture_file))
        .route("/metrics", get(prometheus))
        .layer(middleware::from_fn_with_state(Arc::new(access), guard))
        .with_state(site)
}

/// What the answers are made of.
struct Site {
    source: Source,
    /// The newest event and its report: it is rendered once for all clients.
    event: Mutex<Option<(Arc<LiveReport>, Arc<str>)>>,
}

/// Why there is no answer.
enum Refusal {
    /// The capture made no report in time.
    Busy,
    /// The picture could not be drawn.
    Picture(String),
    /// There is no file that could be read.
    NoFile(&'static str),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no report in time".to_owned(),
            ),
            Self::Picture(why) => (StatusCode::INTERNAL_SERVER_ERROR, why),
            Self::NoFile(why) => (StatusCode::NOT_FOUND, why.to_owned()),
        };
        (status, why + "\n").into_response()
    }
}

impl Site {
    /// A report that is made after the question, or the last.
    async fn report(&self) -> Result<Arc<LiveReport>, Refusal> {
        let mut reports = self.source.subscribe();
        if let Some(last) = reports.borrow().as_ref().filter(|live| live.is_over()) {
            return Ok(Arc::clone(last));
        }
        let changed = timeout(REPORT_DEADLINE, reports.changed()).await;
        changed.ok().and_then(Result::ok).ok_or(Refusal::Busy)?;
        let live = reports.borrow().clone();
        live.ok_or(Refusal::Busy)
    }

    fn event(&self, live: &Arc<LiveReport>) -> Arc<str> {
        let mut event = self.event.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, event)) = &*event
            && Arc::ptr_eq(of, live)
        {
            return Arc::clone(event);
        }
        let rendered: Arc<str> = html::update(&live.trimmed()).into();
        *event = Some((Arc::clone(live), Arc::clone(&rendered)));
        rendered
    }
}

async fn page(State(site): State<Arc<Site>>) -> Result<Html<String>, Refusal> {
    let live = site.report().await?;
    Ok(Html(html::live(&live.trimmed(), live.file.is_some())))
}

/// A stream of reports that ends with the capture.
async fn events(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let reports = site.source.subscribe();
    let stream = stream::unfold(Some((site, reports)), |state| async {
        let (site, mut reports) = state?;
        let live = next_report(&mut reports).await?;
        let event = Event::default().data(site.event(&live));
        let next = (!live.is_over()).then_some((site, reports));
        Some((Ok::<_, io::Error>(event), next))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// The newest report, not earlier than browsers want one.
async fn next_report(reports: &mut Reports) -> Option<Arc<LiveReport>> {
    let is_over = |reports: &Reports| reports.borrow().as_ref().is_some_and(|live| live.is_over());
    if !is_over(reports) {
        sleep(EVENT_PERIOD).await;
    }
    if !is_over(reports) {
        reports.changed().await.ok()?;
    }
    reports.borrow_and_update().clone()
}

async fn report(State(site): State<Arc<Site>>) -> Result<Response, Refusal> {
    let live = site.report().await?;
    let json = json::to_string(&live.trimmed());
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

async fn histogram(State(site): State<Arc<Site>>) -> Result<Response, Refusal> {
    let live = site.report().await?;
    let draw = move || chart::png(&live.report, &ChartOptions::default());
    let drawn = tokio::task::spawn_blocking(draw).await;
    match drawn {
        Ok(Ok(png)) => Ok(([(CONTENT_TYPE, "image/png")], png).into_response()),
        Ok(Err(error)) => Err(Refusal::Picture(error.to_string())),
        Err(error) => Err(Refusal::Picture(error.to_string())),
    }
}

async fn prometheus(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let live = site.report().await?;
    let accepted = headers
        .get(ACCEPT)
        .and_then(|accepted| accepted.to_str().ok());
    let (kind, text) = if accepted.is_some_and(|kinds| kinds.contains("openmetrics")) {
        (metrics::OPEN_METRICS, metrics::open_metrics(live))
    } else {
        (metrics::TEXT_FORMAT, metrics::text_format(live))
    };
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// The whole blocks that are in the capture file.
async fn capture_file(State(site): State<Arc<Site>>) -> Result<Response, Refusal> {
    let live = site.report().await?;
    let file = live.file.as_ref();
    let file = file.ok_or(Refusal::NoFile("no pcapng file is being written (-w)"))?;
    let opened = File::open(&file.path).map_err(|_| Refusal::NoFile("the file is gone"))?;
    let rest = opened.take(file.bytes);
    let chunks = stream::try_unfold(rest, |mut rest| async {
        let mut chunk = vec![0; CHUNK_BYTES];
        // From the page cache, as the file has just been written.
        let length = rest.read(&mut chunk)?;
        chunk.truncate(length);
        let chunk = (length > 0).then(|| (Bytes::from(chunk), rest));
        Ok::<_, io::Error>(chunk)
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-pcapng"),
    );
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"capture.pcapng\""),
    );
    Ok(response)
}

/// Binds the address that browsers are to use.
///
/// # Errors
/// When it is in use, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}
