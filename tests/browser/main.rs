//! The report and the page of a running capture in a real browser.

mod devtools;
#[path = "../offline/findings/frames.rs"]
#[expect(dead_code, reason = "these pages need a few of the frames")]
mod frames;
mod live;
mod report;

use std::process::ExitCode;

use traffic_tests::{Need, Test};

const REPORT: &[Need] = &[Need::Program, Need::Tool("chromium")];
const LIVE: &[Need] = &[Need::Capture, Need::Tool("chromium")];

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "a_report_is_explored_in_a_browser",
            REPORT,
            report::is_explored,
        ),
        Test::new(
            "a_report_is_whole_without_scripts_and_on_a_phone",
            REPORT,
            report::is_whole_without_scripts_and_on_a_phone,
        ),
        Test::new(
            "a_live_page_follows_the_capture_and_keeps_what_was_chosen",
            LIVE,
            live::follows_the_capture_and_keeps_what_was_chosen,
        ),
    ])
}
