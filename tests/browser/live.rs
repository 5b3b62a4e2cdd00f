//! The page of a running capture.

use std::{fs, net::UdpSocket, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use traffic_tests::{
    netns::{VETH, VethOptions, VethPair},
    program::{Capture, traffic},
    wait_until,
};

use crate::{
    devtools::Browser,
    frames::dns,
    report::{HOSTILE, nothing_was_injected},
};

const DEADLINE: Duration = Duration::from_secs(20);
const URL: &str = "http://127.0.0.1:8080/";

pub(crate) fn follows_the_capture_and_keeps_what_was_chosen() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.pcapng");
    let file = file.to_str().context("a path")?;
    let args = [
        "-i",
        VETH,
        "-d",
        "60s",
        "--listen",
        "127.0.0.1:8080",
        "-w",
        file,
    ];
    let mut capture = Capture::start(&pair.right, &args)?;
    capture.wait_for_note("live at", DEADLINE)?;
    let mut browser = Browser::start(|program| pair.right.command(program))?;
    browser.open(URL)?;
    send(&pair, 20)?;
    browser.wait_for("document.querySelector('table.sortable tbody tr') !== null")?;
    choose(&mut browser)?;
    let before = queries(&mut browser)?;
    send(&pair, 20)?;
    browser.wait_for(&format!("{QUERIES} >= {}", before + 20))?;
    ensure!(browser.evaluate(CHOSEN)? == json!(["ascending", "10.77", "true", "mark"]));
    nothing_was_injected(&mut browser)?;
    downloads_work(&mut browser, directory.path())?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    browser.wait_for("document.querySelector('.live').textContent.includes('has ended')")?;
    let (requests, complaints) = browser.requests_and_complaints();
    ensure!(
        requests.iter().all(|url| url.starts_with(URL)),
        "{requests:?}"
    );
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// Datagrams that ask for a hostile name, from the left side.
fn send(pair: &VethPair, count: u16) -> Result<()> {
    pair.left.within(move || {
        let socket = UdpSocket::bind("10.77.0.1:0")?;
        for id in 0..count {
            socket.send_to(&dns(id, false, HOSTILE), "10.77.0.2:53")?;
        }
        Ok(())
    })
}

const QUERIES: &str = "Number([...document.querySelectorAll('.card')]\
                       .find((card) => card.querySelector('h2').textContent === 'DNS names')\
                       ?.querySelector('tbody td.n').dataset.v ?? 0)";

fn queries(browser: &mut Browser) -> Result<u64> {
    browser.wait_for(&format!("{QUERIES} > 0"))?;
    browser.evaluate(QUERIES)?.as_u64().context("a count")
}

/// Sorts a table, searches another, switches to bytes, and marks an element of the page.
fn choose(browser: &mut Browser) -> Result<()> {
    browser.evaluate(
        "document.querySelector('table.sortable th button').click(); \
         document.body.dataset.mark = 'mark'; \
         [...document.querySelectorAll('.controls button')][1].click()",
    )?;
    browser.wait_for("document.querySelector('th[aria-sort=ascending]') !== null")?;
    browser.wait_for("document.querySelector('input[type=search]') !== null")?;
    browser
        .evaluate(
            "const input = document.querySelector('input[type=search]'); \
             input.value = '10.77'; input.dispatchEvent(new Event('input'))",
        )
        .map(drop)
}

/// Wherever it is by now: tables come and grow, and one of four rows and more can be searched.
const CHOSEN: &str = "[document.querySelector('th[aria-sort=ascending]')?.ariaSort, \
                      [...document.querySelectorAll('input[type=search]')]\
                      .map((input) => input.value).join(''), \
                      document.querySelectorAll('.controls button')[1].ariaPressed, \
                      document.body.dataset.mark]";

fn downloads_work(browser: &mut Browser, directory: &Path) -> Result<()> {
    for (path, kind) in [
        ("report.json", "application/json"),
        ("histogram.png", "image/png"),
        ("metrics", "text/plain"),
    ] {
        let kind_of = format!(
            "fetch(document.querySelector('a[href=\"{path}\"]').href)\
             .then((answer) => answer.headers.get('content-type'))"
        );
        let got = browser.text(&kind_of)?;
        ensure!(got.starts_with(kind), "{path}: {got}");
    }
    let allow = json!({ "behavior": "allow", "downloadPath": directory.join("downloads") });
    browser.call("Browser.setDownloadBehavior", &allow)?;
    browser.evaluate("document.querySelector('a[href=\"capture.pcapng\"]').click()")?;
    let downloaded = directory.join("downloads/capture.pcapng");
    wait_until("the download", DEADLINE, || downloaded.exists())?;
    let read = traffic(&["read".as_ref(), downloaded.as_os_str()])?;
    ensure!(read.status.success(), "{read:?}");
    ensure!(fs::metadata(&downloaded)?.len() > 40 * 60);
    Ok(())
}
