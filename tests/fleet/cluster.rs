//! Tables over the shards of a cluster.

use anyhow::{Context, Result, ensure};
use traffic_tests::clickhouse::{Cluster, Server};

use crate::tables::{batch_of, store};

const HOSTS: u64 = 20;

pub(crate) fn two_shards_are_one_table() -> Result<()> {
    let cluster = Cluster::start("two", &[1, 1], None)?;
    let told = cluster.init("two", "t")?;
    ensure!(told.contains("note: not replicated"), "{told}");
    let servers = &cluster.servers;
    // A batch that comes twice, and by way of another server.
    for host in 0..HOSTS {
        let host = format!("host{host}");
        store(&servers[0], &[batch_of(&host, 0), batch_of(&host, 0)])?;
        store(&servers[1], &[batch_of(&host, 0), batch_of(&host, 1)])?;
    }
    for server in servers {
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

pub(crate) fn replicas_without_a_keeper_are_refused() -> Result<()> {
    let cluster = Cluster::without_keeper("copies", &[2])?;
    let error = |name| {
        let made = cluster.init(name, "t");
        made.err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let lacks = error("copies");
    let needed = "needs <zookeeper> and <macros><shard> and <macros><replica>";
    ensure!(lacks.contains(needed), "{lacks}");
    let unknown = error("other");
    ensure!(unknown.contains("no cluster other in"), "{unknown}");
    let made =
        cluster.servers[0].number("SELECT count() FROM system.databases WHERE name = 't'")?;
    ensure!(made == 0, "a database was made all the same");
    Ok(())
}
