//! The report as one self-contained page: no request leaves it, and it is whole without scripts.

mod account;
mod figure;
mod flows;
mod packets;
mod summary;
mod table;

use std::fmt::{self, Write as _};

use super::{
    Report, Source,
    number::printable,
    series,
    verdict::{self, Completeness},
};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// SHA-256 of [`STYLE`] and [`SCRIPT`] in base64, by which the page allows these and no others.
const STYLE_HASH: &str = "gWog0UMZ7JP6OfSnUzV7T3Z5p7er9mOSZH3jLpgiR4w=";
const LIVE_STYLE: &str = include_str!("html/live.css");
const LIVE_SCRIPT: &str = include_str!("html/live.js");
const LIVE_STYLE_HASH: &str = "loJgd2QtABcjiYkMLpCfVmiwuYDyzhACBFBEv+BsyP4=";
const LIVE_SCRIPT_HASH: &str = "mAJzepGNDcAKYhvguszZJEHECwEXd7U6Z9MygRfXCVw=";
const SCRIPT_HASH: &str = "Zym9xu7rV2Dz36GAk6X2C0/sJ32Rs6VWgRLSdhYHmyc=";

/// The page as HTML. Every text that comes from packets, files or the host is escaped.
#[must_use]
pub fn render(report: &Report) -> String {
    let policy = format!("style-src 'sha256-{STYLE_HASH}'; script-src 'sha256-{SCRIPT_HASH}'");
    let content = content(report, "");
    let data = figure::data(report, &series::of(report));
    format!(
        "{}<body>\n{content}{}</body>\n</html>\n",
        head(&policy, STYLE),
        scripts(&data, "")
    )
}

/// The page of a capture that goes on: it asks `events` for [`update`]s, and offers what else
/// there is to be had.
#[must_use]
pub fn live(report: &Report, has_file: bool) -> String {
    let policy = format!(
        "style-src 'sha256-{STYLE_HASH}' 'sha256-{LIVE_STYLE_HASH}'; \
         script-src 'sha256-{SCRIPT_HASH}' 'sha256-{LIVE_SCRIPT_HASH}'; connect-src 'self'"
    );
    let mut links = vec![
        ("report.json", "Report as JSON"),
        ("histogram.png", "Histogram as PNG"),
        ("metrics", "Metrics"),
    ];
    if has_file {
        links.push(("capture.pcapng", "Frames so far as pcapng"));
    }
    let mut bar = String::from("<nav class=\"live\"><span role=\"status\">Live</span>");
    for (path, name) in links {
        let _ = write!(bar, " <a href=\"{path}\">{name}</a>");
    }
    bar.push_str("</nav>\n");
    let content = content(report, &bar);
    let data = figure::data(report, &series::of(report));
    format!(
        "{}<body>\n{content}{}</body>\n</html>\n",
        head(&policy, &format!("{STYLE}</style>\n<style>{LIVE_STYLE}")),
        scripts(&data, &format!("<script>{LIVE_SCRIPT}</script>\n"))
    )
}

/// What a live page needs to show `report`: JSON on one line with `content`, its HTML; `timeline`,
/// its histogram's data; and `over`, whether it is the last.
#[must_use]
pub fn update(report: &Report) -> String {
    let content = serde_json::Value::from(content(report, ""));
    format!(
        r#"{{"over":{},"timeline":{},"content":{content}}}"#,
        report.ledger.in_flight.is_none(),
        figure::data(report, &series::of(report)),
    )
}

/// What stands in the page's body, with `bar` under its header.
fn content(report: &Report, bar: &str) -> String {
    let series = series::of(report);
    let mut page = String::new();
    page.push_str(&verdict_line(report));
    page.push_str(&header(report));
    page.push_str(bar);
    page.push_str(if report.sampled.is_some() {
        "<main class=\"estimated\">\n"
    } else {
        "<main>\n"
    });
    page.push_str(&summary::key_figures(report));
    page.push_str(&summary::findings(report));
    if report.totals.packets > 0 {
        let _ = write!(
            page,
            "<section class=\"card\"><h2>Packets over time</h2>\n{}</section>\n",
            figure::html(report, &series)
        );
    }
    page.push_str(&flows::flows(report));
    page.push_str(&packets::tables(report, &series));
    page.push_str("</main>\n");
    let _ = writeln!(page, "<footer>{}</footer>", Escaped(&report.generator));
    page
}

fn scripts(data: &str, more: &str) -> String {
    format!(
        r#"<script type="application/json" id="timeline">{data}</script>
<script>{SCRIPT}</script>
{more}"#
    )
}

fn head(policy: &str, style: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Network Traffic Analysis</title>
<style>{style}</style>
</head>
"#
    )
}

fn verdict_line(report: &Report) -> String {
    let verdict = verdict::of(report);
    let (class, mark) = match verdict.completeness {
        Completeness::Nothing => ("nothing", "○"),
        Completeness::Complete => ("complete", "✓"),
        Completeness::Lossy => ("lossy", "▲"),
        Completeness::Unbalanced => ("unbalanced", "✕"),
    };
    let sentences = elements("p", &verdict.sentences);
    format!(
        r#"<div class="verdict {class}"><span aria-hidden="true">{mark}</span><div>{sentences}</div></div>
"#
    )
}

fn header(report: &Report) -> String {
    let mut parts: Vec<String> = match &report.source {
        Source::Capture { host, .. } => vec![host.clone()],
        Source::Fleet { hosts, .. } => hosts.clone(),
        Source::Files { files } => files.clone(),
    };
    if let Source::Capture { .. } = report.source {
        parts.extend(report.interfaces.iter().map(|row| row.name.clone()));
    }
    parts.extend(report.started.as_deref().map(clock_time));
    format!(
        "<header><h1>Network Traffic Analysis</h1>\n<p>{}</p></header>\n",
        elements("span", &parts)
    )
}

fn not_known(why: &str) -> String {
    format!("not known ({why})")
}

/// `2026-03-01T12:00:00.000000000Z` as `2026-03-01 12:00:00 UTC`; anything else as it is.
fn clock_time(rfc3339: &str) -> String {
    match (rfc3339.split_once('T'), rfc3339.ends_with('Z')) {
        (Some((date, time)), true) => {
            let time = time.split(['.', 'Z']).next().unwrap_or(time);
            format!("{date} {time} UTC")
        }
        _ => rfc3339.to_owned(),
    }
}

/// One element around each text.
fn elements(tag: &str, texts: &[String]) -> String {
    let mut out = String::new();
    for text in texts {
        let _ = write!(out, "<{tag}>{}</{tag}>", Escaped(text));
    }
    out
}

/// Text in HTML, between tags and in quoted attributes. What does not print is shown as an
/// escape.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in printable(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                _ => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
