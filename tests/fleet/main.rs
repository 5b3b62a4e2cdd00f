//! Captures of many hosts in one database: real servers, agents in network namespaces.

mod agent;
mod cluster;
mod engines;
mod filter;
mod outage;
mod prometheus;
mod replicas;
mod report;
mod tables;
mod tls;
#[path = "../written.rs"]
mod written;

use std::process::ExitCode;

use traffic_tests::{Need, Test};

const SERVER: &[Need] = &[Need::Program, Need::ClickHouse, Need::Tool("curl")];
const ENGINES: &[Need] = &[
    Need::Program,
    Need::ClickHouse,
    Need::Chdb,
    Need::Tool("curl"),
    Need::Tool("python3"),
];
const AGENTS: &[Need] = &[Need::Capture, Need::ClickHouse, Need::Tool("curl")];
const REPLICAS: &[Need] = &[
    Need::Capture,
    Need::ClickHouse,
    Need::ZooKeeper,
    Need::Tool("curl"),
];
const TLS: &[Need] = &[
    Need::Program,
    Need::ClickHouse,
    Need::Tool("curl"),
    Need::Tool("openssl"),
];
const PROMETHEUS: &[Need] = &[
    Need::Capture,
    Need::Tool("prometheus"),
    Need::Tool("promtool"),
    Need::Tool("setpriv"),
];
const FILTER: &[Need] = &[
    Need::Capture,
    Need::ClickHouse,
    Need::Tool("curl"),
    Need::Tool("tcpdump"),
    Need::Tool("tcpreplay"),
];

fn main() -> ExitCode {
    traffic_tests::main(TESTS)
}

const TESTS: &[Test<'_>] = &[
    Test::new(
        "tables_are_made_once_and_kept",
        SERVER,
        tables::tables_are_made_once_and_kept,
    ),
    Test::new(
        "a_batch_that_comes_twice_counts_once",
        SERVER,
        tables::a_batch_that_comes_twice_counts_once,
    ),
    Test::new(
        "tables_of_version_1_get_what_they_lack",
        SERVER,
        tables::tables_of_version_1_get_what_they_lack,
    ),
    Test::new(
        "flows_that_come_twice_count_once",
        SERVER,
        tables::flows_that_come_twice_count_once,
    ),
    Test::new(
        "a_large_batch_is_stored_whole",
        SERVER,
        tables::a_large_batch_is_stored_whole,
    ),
    Test::new(
        "a_password_comes_from_a_file_or_the_environment",
        SERVER,
        tables::a_password_comes_from_a_file_or_the_environment,
    ),
    Test::new(
        "two_shards_are_one_table",
        SERVER,
        cluster::two_shards_are_one_table,
    ),
    Test::new(
        "replicas_without_a_keeper_are_refused",
        SERVER,
        cluster::replicas_without_a_keeper_are_refused,
    ),
    Test::new(
        "a_batch_that_goes_to_two_replicas_is_stored_once",
        REPLICAS,
        replicas::a_batch_that_goes_to_two_replicas_is_stored_once,
    ),
    Test::new(
        "a_replica_that_goes_and_comes_back_misses_nothing",
        REPLICAS,
        replicas::a_replica_that_goes_and_comes_back_misses_nothing,
    ),
    Test::new(
        "every_statement_means_the_same_to_old_and_current_engines",
        ENGINES,
        engines::every_statement_means_the_same_to_old_and_current_engines,
    ),
    Test::new(
        "what_is_stored_is_the_ledger",
        AGENTS,
        agent::what_is_stored_is_the_ledger,
    ),
    Test::new(
        "the_report_of_three_hosts_is_the_sum_of_their_ledgers",
        AGENTS,
        report::the_report_of_three_hosts_is_the_sum_of_their_ledgers,
    ),
    Test::new(
        "a_filter_selects_what_it_selects_in_a_capture_file",
        FILTER,
        filter::a_filter_selects_what_it_selects_in_a_capture_file,
    ),
    Test::new(
        "one_prometheus_tells_what_three_hosts_count",
        PROMETHEUS,
        prometheus::one_prometheus_tells_what_three_hosts_count,
    ),
    Test::new(
        "rules_tell_what_they_should",
        &[Need::Tool("promtool")],
        prometheus::rules_tell_what_they_should,
    ),
    Test::new(
        "only_a_certificate_of_a_known_authority_is_accepted",
        TLS,
        tls::only_a_certificate_of_a_known_authority_is_accepted,
    ),
    Test::new(
        "a_server_without_tables_is_known_before_the_capture",
        AGENTS,
        agent::a_server_without_tables_is_known_before_the_capture,
    ),
    Test::new(
        "what_a_killed_agent_sent_is_there",
        AGENTS,
        agent::what_a_killed_agent_sent_is_there,
    ),
    Test::new(
        "a_server_that_is_killed_and_comes_back_misses_nothing",
        AGENTS,
        outage::a_server_that_is_killed_and_comes_back_misses_nothing,
    ),
    Test::new(
        "what_waits_at_the_end_is_sent_by_the_next_capture",
        AGENTS,
        outage::what_waits_at_the_end_is_sent_by_the_next_capture,
    ),
    Test::new(
        "a_server_that_hangs_does_not_slow_the_capture",
        AGENTS,
        outage::a_server_that_hangs_does_not_slow_the_capture,
    ),
    Test::new(
        "a_full_spool_is_in_the_ledger",
        AGENTS,
        outage::a_full_spool_is_in_the_ledger,
    ),
];
