//! A cluster as one of its servers sees it: whether its tables can be replicated, and must be.

use serde::Deserialize;
use thiserror::Error;

use super::{
    schema::local_name,
    store::{Store, StoreError},
    table::Table,
};

/// Servers over which rows are spread by their host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in the servers' `remote_servers`.
    pub name: String,
    /// Whether the servers of a shard hand rows on to each other.
    pub is_replicated: bool,
}

/// Why a server cannot be one of the cluster.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// It does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not know the cluster.
    #[error("the server's configuration has no cluster {0} in remote_servers")]
    Unknown(String),
    /// Shards have several servers, which would not have the same rows.
    #[error(
        "shards of {name} have replicas, which needs {missing} in the server's configuration \
         (or a cluster whose shards have one server each)"
    )]
    Missing {
        /// Name of the cluster.
        name: String,
        /// What replication needs.
        missing: String,
    },
    /// The tables are older than the replicas.
    #[error(
        "shards of {0} have replicas, and the tables that are there are not replicated: make them \
         in another database, and copy what is to stay with INSERT INTO … SELECT"
    )]
    NotReplicated(String),
}

/// What a server says of itself and of a cluster.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Found {
    /// Servers of the cluster.
    servers: u64,
    /// Shards of the cluster.
    shards: u64,
    /// Which of the macros are set that a replica's place is made of: 0 or 1.
    shard_macro: u64,
    replica_macro: u64,
    /// Whether it is told where ZooKeeper or ClickHouse Keeper is: 0 or 1.
    keeper: u64,
    /// Whether its tables are there: 0 or 1.
    made: u64,
    /// Whether they are replicated: 0 or 1.
    replicated: u64,
}

/// Asks for [`Found`].
#[must_use]
pub fn probe(name: &str, database: &str) -> String {
    let servers = format!("FROM system.clusters WHERE cluster = '{name}'");
    let is_set = |name| format!("(SELECT count() FROM system.macros WHERE macro = '{name}')");
    let tables = format!(
        "FROM system.tables WHERE database = '{database}' AND name = '{}'",
        local_name(Table::Timeline.name())
    );
    format!(
        "SELECT (SELECT count() {servers}) AS servers, \
         (SELECT uniqExact(shard_num) {servers}) AS shards, \
         {} AS shard_macro, {} AS replica_macro, \
         (SELECT count() FROM system.tables WHERE database = 'system' AND name = 'zookeeper') \
         AS keeper, (SELECT count() {tables}) AS made, \
         (SELECT count() {tables} AND engine LIKE 'Replicated%') AS replicated",
        is_set("shard"),
        is_set("replica"),
    )
}

impl Cluster {
    /// Asks a server.
    ///
    /// # Errors
    /// When it does not answer, or cannot be a server of this cluster.
    pub async fn ask(store: &Store, name: &str) -> Result<Self, ClusterError> {
        let found: Found = store.row(&probe(name, store.database())).await?;
        Ok(Self {
            name: name.to_owned(),
            is_replicated: found.is_replicated(name)?,
        })
    }
}

impl Found {
    /// Whether tables are or can be replicated. Those that are there stay what they are.
    fn is_replicated(self, name: &str) -> Result<bool, ClusterError> {
        if self.servers == 0 {
            return Err(ClusterError::Unknown(name.to_owned()));
        }
        let has_replicas = self.servers > self.shards;
        let missing = self.missing();
        match (self.made > 0, self.replicated > 0) {
            (true, false) if has_replicas => Err(ClusterError::NotReplicated(name.to_owned())),
            (true, is_replicated) => Ok(is_replicated),
            (false, _) if has_replicas && !missing.is_empty() => Err(ClusterError::Missing {
                name: name.to_owned(),
                missing: missing.join(" and "),
            }),
            (false, _) => Ok(missing.is_empty()),
        }
    }

    fn missing(self) -> Vec<&'static str> {
        let needed = [
            (self.keeper, "<zookeeper>"),
            (self.shard_macro, "<macros><shard>"),
            (self.replica_macro, "<macros><replica>"),
        ];
        let missing = needed.into_iter().filter(|(there, _)| *there == 0);
        missing.map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two shards of one server each, with everything that replication needs.
    const READY: Found = Found {
        servers: 2,
        shards: 2,
        shard_macro: 1,
        replica_macro: 1,
        keeper: 1,
        made: 0,
        replicated: 0,
    };

    fn words(found: Found) -> String {
        match found.is_replicated("c") {
            Ok(true) => "replicated".to_owned(),
            Ok(false) => "plain".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tables_are_replicated_where_they_can_be() {
        assert_eq!(words(READY), "replicated");
        let lonely = Found { keeper: 0, ..READY };
        assert_eq!(words(lonely), "plain");
    }

    #[test]
    fn replicas_are_not_left_apart() {
        let replicas = Found {
            servers: 4,
            ..READY
        };
        assert_eq!(words(replicas), "replicated");
        let lacks = Found {
            keeper: 0,
            replica_macro: 0,
            ..replicas
        };
        let error = words(lacks);
        assert!(
            error.contains("needs <zookeeper> and <macros><replica> in"),
            "{error}"
        );
        let none = Found {
            servers: 0,
            shards: 0,
            ..READY
        };
        assert!(words(none).contains("no cluster c"), "{}", words(none));
    }

    #[test]
    fn tables_that_are_there_stay_what_they_are() {
        let plain = Found { made: 1, ..READY };
        assert_eq!(words(plain), "plain");
        let error = words(Found {
            servers: 3,
            ..plain
        });
        assert!(error.contains("are not replicated"), "{error}");
        let replicated = Found {
            replicated: 1,
            keeper: 0,
            ..plain
        };
        assert_eq!(words(replicated), "replicated");
    }
}
