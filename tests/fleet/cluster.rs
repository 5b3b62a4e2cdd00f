//! Tables over the shards of a cluster.

use anyhow::{Context, Result, ensure};
use traffic_tests::{clickhouse::Server, program::traffic};

use crate::tables::{batch_of, store};

const HOSTS: u64 = 20;

pub(crate) fn two_shards_are_one_table() -> Result<()> {
    let servers = Server::cluster("two", 2)?;
    let urls: Vec<_> = servers.iter().map(|server| server.url("t")).collect();
    let args = [
        "fleet",
        "init",
        "--cluster",
        "two",
        "--to",
        &urls[0],
        "--to",
        &urls[1],
    ];
    let output = traffic(&args)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    // A batch that comes twice, and by way of another server.
    for host in 0..HOSTS {
        let host = format!("host{host}");
        store(&servers[0], &[batch_of(&host, 0), batch_of(&host, 0)])?;
        store(&servers[1], &[batch_of(&host, 0), batch_of(&host, 1)])?;
    }
    for server in &servers {
        let all = server.number("SELECT sum(packets) FROM t.timeline FINAL")?;
        ensure!(all == HOSTS * 15, "{all} packets on all shards");
        let rolled = "SELECT sum(n) FROM (SELECT maxMerge(packets_to) - minMerge(packets_from) AS n \
                      FROM t.timeline_hour GROUP BY host)";
        let rolled = server.number(rolled)?;
        ensure!(
            rolled == HOSTS * 15,
            "{rolled} packets in the hours of all shards"
        );
    }
    let hosts = |server: &Server| server.number("SELECT uniqExact(host) FROM t.timeline_local");
    let first = hosts(servers.first().context("a server")?)?;
    let second = hosts(servers.last().context("a server")?)?;
    ensure!(
        first > 0 && second > 0 && first + second == HOSTS,
        "hosts on the shards: {first} and {second}"
    );
    Ok(())
}
