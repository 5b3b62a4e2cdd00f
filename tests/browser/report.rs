//! The HTML report.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use traffic_tests::program::traffic;

use crate::{
    devtools::Browser,
    frames::{Timed, arp, dns, pcap, tcp, udp},
};

/// A name that is markup wherever it is not escaped.
pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)><script>alert(2)</script>.example";
/// Bars of the report, and packets in each but the last, which also has the very last packet.
const BINS: usize = 10;
const PER_BIN: u64 = 10;

/// Hovering, zooming, bytes, logarithms, series, sorting, searching.
pub(crate) fn is_explored() -> Result<()> {
    let page = Page::new()?;
    let mut browser = Browser::start(|program| Command::new(program))?;
    browser.open(&page.url)?;
    bars_tell_their_counts(&mut browser)?;
    dragging_zooms_and_a_double_click_resets(&mut browser)?;
    the_axis_can_be_switched(&mut browser)?;
    tables_are_sorted_and_searched(&mut browser)?;
    nothing_was_injected(&mut browser)?;
    let (requests, complaints) = browser.requests_and_complaints();
    ensure!(requests == [page.url], "{requests:?}");
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

fn bars_tell_their_counts(browser: &mut Browser) -> Result<()> {
    for (bin, packets) in [(3, PER_BIN), (BINS - 1, PER_BIN + 1)] {
        let place = middle(browser, bin)?;
        browser.pointer("mouseMoved", place, 0)?;
        let tip = browser.text("document.querySelector('.tip:not([hidden])').textContent")?;
        let shown = format!("{packets} packets, ");
        ensure!(tip.contains(&shown), "no '{shown}' in {tip}");
        ensure!(tip.contains("tcp") && tip.contains("2023-11-14"), "{tip}");
    }
    Ok(())
}

fn dragging_zooms_and_a_double_click_resets(browser: &mut Browser) -> Result<()> {
    let whole = range(browser)?;
    ensure!(whole.starts_with("Drag to zoom · 101 packets"), "{whole}");
    let (from, to) = (middle(browser, 2)?, middle(browser, 5)?);
    browser.pointer("mouseMoved", from, 0)?;
    browser.pointer("mousePressed", from, 1)?;
    browser.pointer("mouseMoved", to, 1)?;
    browser.pointer("mouseReleased", to, 1)?;
    let zoomed = range(browser)?;
    ensure!(zoomed.starts_with("2 to 6 s · 40 packets"), "{zoomed}");
    for clicks in [1, 2] {
        browser.pointer("mousePressed", from, clicks)?;
        browser.pointer("mouseReleased", from, clicks)?;
    }
    ensure!(range(browser)? == whole, "{}", range(browser)?);
    Ok(())
}

fn the_axis_can_be_switched(browser: &mut Browser) -> Result<()> {
    let name = "document.querySelector('#chart .axis-name').textContent";
    ensure!(browser.text(name)? == "Number of Packets");
    press(browser, "Bytes")?;
    ensure!(browser.text(name)? == "Bytes");
    press(browser, "Packets")?;
    press(browser, "Log")?;
    let ticks = "[...document.querySelectorAll('svg.y text')].map((text) => text.textContent)";
    let ticks = browser.evaluate(ticks)?;
    ensure!(ticks == json!(["0", "1", "10", "100"]), "{ticks}");
    press(browser, "Linear")?;
    let series = "document.querySelectorAll('.bars path').length";
    let all = browser.evaluate(series)?.as_u64().context("a count")?;
    browser.evaluate("document.querySelector('.legend button').click()")?;
    ensure!(browser.evaluate(series)? == all - 1);
    Ok(())
}

fn tables_are_sorted_and_searched(browser: &mut Browser) -> Result<()> {
    let card = "[...document.querySelectorAll('.card')].find((card) => \
                card.querySelector('h2').textContent === 'Sources')";
    let rows = format!(
        "[...{card}.querySelectorAll('tbody tr')].filter((row) => !row.hidden)\
         .map((row) => row.cells[0].textContent)"
    );
    let first = |rows: &Value| rows[0].as_str().unwrap_or_default().to_owned();
    ensure!(first(&browser.evaluate(&rows)?) == "10.0.0.1");
    let heading = format!("{card}.querySelectorAll('th button')[0].click()");
    browser.evaluate(&heading)?;
    browser.evaluate(&heading)?;
    let sorted = browser.evaluate(&rows)?;
    ensure!(first(&sorted) == "10.0.0.12", "{sorted}");
    browser.evaluate(&format!(
        "const input = {card}.querySelector('input'); input.value = '0.0.11'; \
         input.dispatchEvent(new Event('input'))"
    ))?;
    let found = browser.evaluate(&rows)?;
    ensure!(found == json!(["10.0.0.11"]), "{found}");
    Ok(())
}

/// Text from packets and files stands in the page as text.
pub(crate) fn nothing_was_injected(browser: &mut Browser) -> Result<()> {
    let images =
        browser.evaluate("document.querySelectorAll('img, iframe, script[src]').length")?;
    ensure!(images == 0, "{images} elements were injected");
    let page = browser.text("document.body.innerText")?;
    ensure!(
        page.contains("onerror=alert"),
        "the name is not shown:\n{page}"
    );
    Ok(())
}

/// The page's own figure and tables, where scripts do not run and the screen is narrow.
pub(crate) fn is_whole_without_scripts_and_on_a_phone() -> Result<()> {
    let page = Page::new()?;
    let mut browser = Browser::start(|program| Command::new(program))?;
    let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    browser.call("Emulation.setDeviceMetricsOverride", &phone)?;
    browser.open(&page.url)?;
    let wide = "document.scrollingElement.scrollWidth";
    ensure!(
        browser.evaluate(wide)? == 390,
        "{}",
        browser.evaluate(wide)?
    );
    let colour = "getComputedStyle(document.body).backgroundColor";
    let light = browser.text(colour)?;
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.call("Emulation.setEmulatedMedia", &dark)?;
    ensure!(browser.text(colour)? != light);

    let off = json!({ "value": true });
    browser.call("Emulation.setScriptExecutionDisabled", &off)?;
    browser.open(&page.url)?;
    // Asked of the document, because no script answers.
    ensure!(browser.count(".bars title")? >= BINS);
    ensure!(browser.count("table.sortable tbody tr")? > 12);
    ensure!(browser.count(".controls, th button, input")? == 0);
    let (requests, complaints) = browser.requests_and_complaints();
    ensure!(
        requests == [page.url] && complaints.is_empty(),
        "{requests:?} {complaints:?}"
    );
    Ok(())
}

impl Browser {
    /// Elements that `selector` selects, without a script.
    fn count(&mut self, selector: &str) -> Result<usize> {
        let document = self.call("DOM.getDocument", &json!({ "depth": 0 }))?;
        let query = json!({ "nodeId": document["root"]["nodeId"], "selector": selector });
        let found = self.call("DOM.querySelectorAll", &query)?;
        Ok(found["nodeIds"].as_array().context("nodes")?.len())
    }
}

/// Where the middle of a bar is on the screen.
fn middle(browser: &mut Browser, bin: usize) -> Result<(f64, f64)> {
    let index = u32::try_from(bin)?;
    let box_ = browser.evaluate(
        "(() => { const box = document.querySelector('.bars').getBoundingClientRect(); \
         return [box.left, box.top, box.width]; })()",
    )?;
    let part = |index: usize| box_[index].as_f64().context("a length");
    let across = (f64::from(index) + 0.5) / f64::from(u32::try_from(BINS)?);
    Ok((part(0)? + part(2)? * across, part(1)? + 100.0))
}

fn range(browser: &mut Browser) -> Result<String> {
    browser.text("document.querySelector('.controls .range').textContent")
}

fn press(browser: &mut Browser, name: &str) -> Result<()> {
    let button = format!(
        "[...document.querySelectorAll('.controls button')]\
         .find((button) => button.textContent === '{name}').click()"
    );
    browser.evaluate(&button).map(drop)
}

/// A report on known packets, in a file.
struct Page {
    url: String,
    /// Held until the end.
    _directory: TempDir,
}

impl Page {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("a.pcap");
        let page = directory.path().join("<b>report.html");
        fs::write(&file, pcap(&frames()))?;
        let args = [
            "--bins".as_ref(),
            "10".as_ref(),
            "--top".as_ref(),
            "20".as_ref(),
        ];
        let output = [Path::new("-qq"), "--html".as_ref(), &page];
        let read = [Path::new("read"), &file]
            .into_iter()
            .chain(args)
            .chain(output);
        let read = traffic(&read.collect::<Vec<_>>())?;
        ensure!(read.status.success(), "{read:?}");
        let path = page.to_str().context("a path")?;
        Ok(Self {
            url: format!("file://{}", path.replace('<', "%3C").replace('>', "%3E")),
            _directory: directory,
        })
    }
}

/// 101 packets, one every 100 ms for 10 s: most from 10.0.0.1, one DNS query, one ARP request.
fn frames() -> Vec<Timed> {
    let frame = |number: u64| match number {
        0 => udp("10.0.0.1", "10.0.1.1", (999, 53), &dns(1, false, HOSTILE)),
        1 => arp(1, [2, 0, 0, 0, 0, 9], [10, 0, 0, 9], [10, 0, 0, 1]),
        number => {
            let host = if number % 5 == 0 { 1 + number % 12 } else { 1 };
            tcp(&format!("10.0.0.{host}"), "10.0.1.1", (40_000, 443), 0x18)
        }
    };
    let packets = BINS as u64 * PER_BIN;
    (0..=packets)
        .map(|number| (number * 100_000, frame(number)))
        .collect()
}
