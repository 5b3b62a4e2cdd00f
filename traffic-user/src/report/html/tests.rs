use sha2::{Digest, Sha256};

use super::*;
use crate::report::example;

#[test]
fn pages_of_every_kind_of_report() {
    for (name, report) in [
        ("demo", example::report()),
        ("losses", example::with_losses()),
        ("empty", example::empty()),
        ("empty-file", example::empty_file()),
        ("thousand", example::with_bins(1000)),
        ("fifteen", example::with_protocols(15)),
        ("hour", example::with_duration(3600.0)),
        ("hostile", example::hostile(HOSTILE)),
    ] {
        let page = render(&report);
        assert_well_formed(&page);
        if let Some(directory) = std::env::var_os("TRAFFIC_PICTURES") {
            let path = std::path::Path::new(&directory).join(format!("{name}.html"));
            std::fs::write(path, page).unwrap();
        }
    }
}

#[test]
fn the_policy_allows_exactly_our_style_and_script() {
    assert_eq!(STYLE_HASH, base64(&Sha256::digest(STYLE)), "page.css");
    assert_eq!(SCRIPT_HASH, base64(&Sha256::digest(SCRIPT)), "page.js");
    assert_eq!(LIVE_STYLE_HASH, base64(&Sha256::digest(LIVE_STYLE)));
    assert_eq!(LIVE_SCRIPT_HASH, base64(&Sha256::digest(LIVE_SCRIPT)));
    assert!(!render(&example::report()).contains(" style=\""));
}

#[test]
fn the_page_requests_nothing() {
    let page = render(&example::with_losses());
    let elsewhere = page.replace("'http://www.w3.org/2000/svg'", "");
    for word in [
        "http:", "https:", "//", "url(", "@import", " src=", " href=",
    ] {
        let without_comments: String = elsewhere
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        assert!(!without_comments.contains(word), "{word}");
    }
}

#[test]
fn loss_is_the_first_thing_said() {
    let page = render(&example::with_losses());
    let body = page.split_once("<body>").unwrap().1;
    assert!(text_of(body).trim_start().starts_with("▲424 of "));
}

#[test]
fn without_packets_the_page_says_so() {
    for report in [example::empty(), example::empty_file()] {
        let page = render(&report);
        assert!(page.contains("No packets captured. No data to analyze."));
        assert!(!page.contains("<figure"));
        assert!(page.contains("Ledger"));
    }
}

#[test]
fn what_is_not_known_says_why() {
    let mut report = example::report();
    report.sizes = None;
    report.first_packet = None;
    report.ledger.summaries_lost = None;
    report.ledger.summaries_delivered = None;
    let page = render(&report);
    assert!(page.contains("<dt>Sources</dt><dd>not known</dd>"));
    assert!(page.contains("not known (not every hook can tell"));
    assert!(page.contains("Not known: only summaries carry sizes"));
    assert!(page.contains("not known (only counters were asked for)"));
}

#[test]
fn flows_name_their_interface_where_there_are_several() {
    let several = example::report();
    let mut one = example::report();
    one.interfaces.truncate(1);
    let flows = |report: &Report| {
        let page = render(report);
        let (_, flows) = page.split_once("<h2>Flows</h2>").unwrap();
        flows.split_once("</table>").unwrap().0.to_owned()
    };
    let interface = "<td class=\"code\"><bdi>veth0</bdi></td>";
    assert!(flows(&several).contains(">Interface</th>"));
    assert_eq!(flows(&several).matches(interface).count(), 5);
    assert!(!flows(&one).contains("Interface") && !flows(&one).contains("veth0"));
    // The day is told where it is another than the report's.
    assert!(flows(&one).contains("<bdi>12:00:01 UTC</bdi>"));
    one.started = Some("2026-02-28T23:59:00.000000000Z".to_owned());
    assert!(flows(&one).contains("<bdi>2026-03-01 12:00:01 UTC</bdi>"));
}

#[test]
fn strangers_cannot_write_markup() {
    let page = render(&example::hostile(HOSTILE));
    let honest = render(&example::report());
    for tag in ["<script", "</script", "<img", "<!--"] {
        assert_eq!(
            page.matches(tag).count(),
            honest.matches(tag).count(),
            "{tag}"
        );
    }
    assert!(!page.contains(['\u{202e}', '\u{1b}']));
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
}

#[test]
fn times_are_shortened_only_where_understood() {
    assert_eq!(
        clock_time("2026-03-01T12:00:00.000000000Z"),
        "2026-03-01 12:00:00 UTC"
    );
    assert_eq!(clock_time("T<b>"), "T<b>");
}

const HOSTILE: &str = "\"'></script><img src=x onerror=alert(1)><!--\u{202e}\u{1b}[31m&amp;";

/// Every element that needs an end has one, in order.
fn assert_well_formed(page: &str) {
    const VOID: [&str; 3] = ["meta", "wbr", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let page = page.replace(STYLE, "").replace(SCRIPT, "");
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn text_of(html: &str) -> String {
    html.split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
        .collect::<String>()
        .replace('\n', "")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .chain([0; 2].iter())
            .take(3)
            .fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        for digit in 0..4 {
            out.push(if digit <= chunk.len() {
                char::from(DIGITS[bits >> (18 - 6 * digit) & 63])
            } else {
                '='
            });
        }
    }
    out
}
