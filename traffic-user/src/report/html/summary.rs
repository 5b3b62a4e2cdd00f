//! What stands above everything: key figures and findings.

use std::fmt::Write as _;

use super::{Escaped, account::ONLY_COUNTERS, clock_time};
use crate::report::{
    Report,
    number::{bits_per_second, bytes, count, counted, per_second, seconds},
};

pub(super) fn key_figures(report: &Report) -> String {
    let totals = &report.totals;
    let rates = &report.rates;
    let about = if report.sampled.is_some() { "≈ " } else { "" };
    let figures = [
        (
            "Packets",
            format!("{about}{}", count(totals.packets)),
            report.sampled.map_or_else(String::new, |sampled| {
                format!("estimated from {}", count(sampled.packets))
            }),
        ),
        (
            "Bytes",
            format!("{about}{}", bytes(totals.bytes)),
            counted(totals.bytes, "byte"),
        ),
        ("Duration", seconds(report.duration_s), String::new()),
        (
            "Mean rate",
            format!("{about}{}", per_second(rates.mean_pps)),
            format!("packets, {}", bits_per_second(rates.mean_bps)),
        ),
        (
            "Peak rate",
            format!("{about}{}", per_second(rates.peak_pps)),
            format!("packets, {}", bits_per_second(rates.peak_bps)),
        ),
        unique_sources(report),
    ];
    let mut out = String::from("<dl class=\"figures\">\n");
    for (name, value, small) in figures {
        let _ = writeln!(
            out,
            "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"small\">{small}</dd></div>"
        );
    }
    out.push_str("</dl>\n");
    out
}

fn unique_sources(report: &Report) -> (&'static str, String, String) {
    match report.ledger.summaries_delivered {
        Some(_) => (
            "Sources",
            count(report.unique_sources),
            "different addresses".to_owned(),
        ),
        None => ("Sources", "not known".to_owned(), ONLY_COUNTERS.to_owned()),
    }
}

pub(super) fn findings(report: &Report) -> String {
    let note = report.findings_note.as_deref().unwrap_or_default();
    if report.findings.is_empty() && (note.is_empty() || report.totals.packets == 0) {
        return String::new();
    }
    let mut out = String::from("<section class=\"card findings\"><h2>Findings</h2>\n");
    if !note.is_empty() {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", Escaped(note));
    }
    out.push_str("<ul>\n");
    for finding in &report.findings {
        let filter = match finding.filter.as_str() {
            "" => String::new(),
            filter => format!("<code>{}</code>", Escaped(filter)),
        };
        let _ = writeln!(
            out,
            r#"<li class="{0}"><b>{0}</b><div><p><bdi>{1}</bdi></p><p class="when">{2} to {3} · {4}</p>{filter}</div></li>"#,
            finding.severity.label(),
            Escaped(&finding.summary),
            Escaped(&clock_time(&finding.first)),
            Escaped(&clock_time(&finding.last)),
            counted(finding.packets, "packet"),
        );
    }
    out.push_str("</ul></section>\n");
    out
}
