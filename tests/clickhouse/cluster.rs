//! Servers that share tables.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Ports, Server};
use crate::{keeper::Keeper, netns::Namespace, wait_until};

const KEEPER_DEADLINE: Duration = Duration::from_secs(30);

/// The servers of a cluster on this machine.
#[derive(Debug)]
pub struct Cluster {
    /// Shard by shard. They go before the keeper does.
    pub servers: Vec<Server>,
    /// Where replicas meet, if there are any.
    pub keeper: Option<Keeper>,
}

impl Cluster {
    /// Starts servers that know each other as a cluster of this name: as many in each shard as
    /// `shards` says. With shards of several servers there is a keeper, and macros for it.
    ///
    /// # Errors
    /// When they do not answer in time.
    pub fn start(name: &str, shards: &[usize], namespace: Option<&Namespace>) -> Result<Self> {
        let namespace = namespace.map(Namespace::name);
        let keeper = shards.iter().any(|servers| *servers > 1);
        let keeper = keeper.then(|| Keeper::start(Ports::free()?.http, namespace));
        let keeper = keeper.transpose()?;
        let keeper_port = keeper.as_ref().map(Keeper::port);
        let servers = Self::members(name, shards, namespace, keeper_port)?;
        if let (Some(server), true) = (servers.first(), keeper.is_some()) {
            let sql = "SELECT count() FROM system.zookeeper WHERE path = '/'";
            wait_until("ZooKeeper", KEEPER_DEADLINE, || server.number(sql).is_ok())?;
        }
        Ok(Self { servers, keeper })
    }

    /// Starts servers that hold replicas, and are told of no keeper.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn without_keeper(name: &str, shards: &[usize]) -> Result<Self> {
        let servers = Self::members(name, shards, None, None)?;
        let keeper = None;
        Ok(Self { servers, keeper })
    }

    fn members(
        name: &str,
        shards: &[usize],
        namespace: Option<&str>,
        keeper: Option<u16>,
    ) -> Result<Vec<Server>> {
        let ports = |servers: &usize| (0..*servers).map(|_| Ports::free()).collect();
        let shards: Vec<Vec<Ports>> = shards.iter().map(ports).collect::<Result<_>>()?;
        let known = remote_servers(name, &shards);
        let mut servers = Vec::new();
        for (shard, replicas) in shards.iter().enumerate() {
            for (replica, ports) in replicas.iter().enumerate() {
                let place = keeper.map(|port| place(port, shard, replica));
                let more = format!("{known}{}", place.unwrap_or_default());
                servers.push(Server::prepare(*ports, namespace, &more)?);
            }
        }
        for server in &mut servers {
            server.spawn()?;
        }
        for server in &servers {
            server.wait()?;
        }
        Ok(servers)
    }

    /// The addresses of a database, as options of `traffic fleet init`.
    #[must_use]
    pub fn options(&self, database: &str) -> Vec<String> {
        let servers = self.servers.iter();
        let options = servers.map(|server| ["--to".to_owned(), server.url(database)]);
        options.flatten().collect()
    }

    /// Makes tables in a database of every server; what the program says.
    ///
    /// # Errors
    /// When it does not succeed; with its words.
    pub fn init(&self, name: &str, database: &str) -> Result<String> {
        let server = self.servers.first().context("a cluster has servers")?;
        let options = self.options(database);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let args = [&["fleet", "init", "--cluster", name][..], &options].concat();
        let output = server.traffic(&args)?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "traffic fleet init: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// One of a shard's servers stores what comes; the tables themselves hand it on.
fn remote_servers(name: &str, shards: &[Vec<Ports>]) -> String {
    let replica = |ports: &Ports| {
        format!(
            "<replica><host>127.0.0.1</host><port>{}</port></replica>",
            ports.native
        )
    };
    let shard = |replicas: &Vec<Ports>| {
        let replicas: String = replicas.iter().map(replica).collect();
        format!("<shard><internal_replication>true</internal_replication>{replicas}</shard>")
    };
    let shards: String = shards.iter().map(shard).collect();
    format!("<remote_servers><{name}>{shards}</{name}></remote_servers>")
}

/// Where the keeper is, and the server's place there.
fn place(keeper: u16, shard: usize, replica: usize) -> String {
    format!(
        "<zookeeper><node index=\"1\"><host>127.0.0.1</host><port>{keeper}</port></node>\
         <session_timeout_ms>3000</session_timeout_ms></zookeeper>\
         <macros><shard>{shard}</shard><replica>{replica}</replica></macros>"
    )
}
