//! Filters in the kernel against libpcap and tcpdump.

mod expressions;
mod frames;
mod live;
mod random;
mod verdict;
#[path = "../../written.rs"]
mod written;

use std::process::ExitCode;

use traffic_tests::{Need, Test};

const LOAD: &[Need] = &[Need::Root, Need::Object];
const LIVE: &[Need] = &[
    Need::Capture,
    Need::Tool("tcpdump"),
    Need::Tool("tcpreplay"),
    Need::Tool("python3"),
];

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "every_expression_takes_the_same_frames_as_libpcap",
            LOAD,
            verdict::every_expression_takes_the_same_frames_as_libpcap,
        ),
        Test::new(
            "random_programs_are_accepted_and_say_the_same_in_the_kernel",
            LOAD,
            random::random_programs_are_accepted_and_say_the_same_in_the_kernel,
        ),
        Test::new(
            "a_filtered_capture_is_what_tcpdump_keeps_of_an_unfiltered_one",
            LIVE,
            live::a_filtered_capture_is_what_tcpdump_keeps_of_an_unfiltered_one,
        ),
        Test::new(
            "super_frames_in_several_buffers_are_filtered_whole",
            LIVE,
            live::super_frames_in_several_buffers_are_filtered_whole,
        ),
        Test::new(
            "interfaces_of_several_link_types_have_a_filter_each",
            LIVE,
            live::interfaces_of_several_link_types_have_a_filter_each,
        ),
        Test::new(
            "listings_are_those_of_tcpdump",
            &[Need::Program, Need::Tool("tcpdump")],
            live::listings_are_those_of_tcpdump,
        ),
    ])
}
