//! The tables' definitions, made for what a server can do.

use serde::Deserialize;

use super::{
    cluster::Cluster,
    features::Features,
    store::{Store, StoreError},
    table::{Column, Table},
};

/// How long rows are kept, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows as captures sent them.
    pub raw: u32,
    /// The roll-up per minute.
    pub minute: u32,
    /// The roll-up per hour.
    pub hour: u32,
}

/// How the tables lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name of the database.
    pub database: String,
    /// The cluster over whose shards rows are spread by their host.
    pub cluster: Option<Cluster>,
    /// How long rows are kept.
    pub retention: Retention,
}

/// The version of the tables that this program writes and reads.
pub const VERSION: u32 = 2;

/// A table that holds, for every counter of every run, the least and the greatest value in a longer
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollUp {
    /// What it is made of.
    pub source: Table,
    /// Ends its name.
    pub suffix: &'static str,
    /// The function that gives a moment's place.
    pub start_of: &'static str,
}

/// The roll-ups.
pub const ROLL_UPS: [RollUp; 4] = [
    RollUp::minute(Table::Timeline),
    RollUp::hour(Table::Timeline),
    RollUp::minute(Table::Tallies),
    RollUp::hour(Table::Tallies),
];

/// What a roll-up keeps: aggregate function, argument, and name, which is none of the source's.
type State = (&'static str, &'static str, &'static str);

const TIMELINE_STATES: &[State] = &[
    ("min", "packets_before", "packets_from"),
    ("max", "packets_before + packets", "packets_to"),
    ("min", "bytes_before", "bytes_from"),
    ("max", "bytes_before + bytes", "bytes_to"),
];

const TALLY_STATES: &[State] = &[
    ("min", "value_before", "value_from"),
    ("max", "value_before + value", "value_to"),
];

impl RollUp {
    const fn minute(source: Table) -> Self {
        Self {
            source,
            suffix: "_minute",
            start_of: "toStartOfMinute",
        }
    }

    const fn hour(source: Table) -> Self {
        Self {
            source,
            suffix: "_hour",
            start_of: "toStartOfHour",
        }
    }

    /// Its name in the database.
    #[must_use]
    pub fn table(self) -> String {
        format!("{}{}", self.source.name(), self.suffix)
    }

    /// The source's key without the exact time.
    fn key(self) -> Vec<&'static str> {
        let key = self.source.key().split(", ");
        key.filter(|name| *name != "start_ns").collect()
    }

    const fn states(self) -> &'static [State] {
        match self.source {
            Table::Timeline => TIMELINE_STATES,
            Table::Tallies => TALLY_STATES,
            Table::Captures | Table::Flows => &[],
        }
    }

    fn days(self, retention: Retention) -> u32 {
        if self == Self::hour(self.source) {
            retention.hour
        } else {
            retention.minute
        }
    }
}

/// The tables, in the order in which they are made. Where a database has those of an older version,
/// only what is missing is made: version 1 had no flows.
#[must_use]
pub fn statements(layout: &Layout, features: &Features) -> Vec<String> {
    let database = &layout.database;
    let mut statements = vec![
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.schema_version \
             (version UInt32, time DateTime) ENGINE = MergeTree() ORDER BY version"
        ),
    ];
    for table in Table::ALL {
        statements.push(create(layout, features, table));
        statements.extend(distributed(layout, table.name()));
    }
    for roll_up in ROLL_UPS {
        statements.push(create_roll_up(layout, features, roll_up));
        statements.push(create_view(layout, roll_up));
        statements.extend(distributed(layout, &roll_up.table()));
    }
    statements
}

/// The statement that says which version the tables have.
#[must_use]
pub fn set_version(layout: &Layout) -> String {
    format!(
        "INSERT INTO {}.schema_version SELECT toUInt32({VERSION}), now()",
        layout.database
    )
}

fn create(layout: &Layout, features: &Features, table: Table) -> String {
    let columns: Vec<_> = table.columns().iter().map(definition).collect();
    let (engine, partition, days) = match table {
        Table::Timeline | Table::Tallies | Table::Flows => (
            engine(layout, "ReplacingMergeTree", None, table.name()),
            "toYYYYMMDD(time)",
            layout.retention.raw,
        ),
        Table::Captures => (
            engine(
                layout,
                "ReplacingMergeTree",
                Some("updated_ns"),
                table.name(),
            ),
            "toYYYYMM(time)",
            layout.retention.hour,
        ),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = {engine} PARTITION BY {partition} \
         ORDER BY ({}){}{}",
        local(layout, table.name()),
        columns.join(", "),
        table.key(),
        ttl(features, days),
        window(layout, features, table),
    )
}

/// An engine with its argument. A replicated table has a place of its own in the keeper, where a
/// shard's servers meet; servers put their macros into it.
fn engine(layout: &Layout, kind: &str, argument: Option<&str>, table: &str) -> String {
    let argument = argument.unwrap_or_default();
    match &layout.cluster {
        Some(Cluster {
            name,
            is_replicated: true,
        }) => {
            let place = format!("/clickhouse/tables/{name}/{{shard}}/{}", layout.database);
            let comma = if argument.is_empty() { "" } else { ", " };
            format!("Replicated{kind}('{place}/{table}', '{{replica}}'{comma}{argument})")
        }
        Some(_) | None => format!("{kind}({argument})"),
    }
}

fn create_roll_up(layout: &Layout, features: &Features, roll_up: RollUp) -> String {
    let key = roll_up.key();
    let columns = roll_up.source.columns();
    let columns = columns.iter().filter(|(name, _)| key.contains(name));
    let columns = columns.map(definition);
    let states = roll_up.states().iter();
    let states =
        states.map(|(function, _, name)| format!("{name} AggregateFunction({function}, UInt64)"));
    let columns: Vec<_> = columns.chain(states).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = {} \
         PARTITION BY toYYYYMM(time) ORDER BY ({}){}",
        local(layout, &roll_up.table()),
        columns.join(", "),
        engine(layout, "AggregatingMergeTree", None, &roll_up.table()),
        key.join(", "),
        ttl(features, roll_up.days(layout.retention)),
    )
}

fn create_view(layout: &Layout, roll_up: RollUp) -> String {
    let key = roll_up.key();
    let columns = key.iter().map(|name| match *name {
        "time" => format!("{}(time) AS time", roll_up.start_of),
        name => name.to_owned(),
    });
    let states = roll_up.states().iter();
    let states =
        states.map(|(function, argument, name)| format!("{function}State({argument}) AS {name}"));
    let columns: Vec<_> = columns.chain(states).collect();
    let table = roll_up.table();
    format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {}.to_{table} TO {} AS SELECT {} FROM {} \
         GROUP BY {}",
        layout.database,
        local(layout, &table),
        columns.join(", "),
        local(layout, roll_up.source.name()),
        key.join(", "),
    )
}

/// The table through which a cluster's shards are written and read. A host's rows are on one
/// shard, so that what came twice meets there.
fn distributed(layout: &Layout, table: &str) -> Option<String> {
    let cluster = &layout.cluster.as_ref()?.name;
    let database = &layout.database;
    let local = local_name(table);
    Some(format!(
        "CREATE TABLE IF NOT EXISTS {database}.{table} AS {database}.{local} \
         ENGINE = Distributed({cluster}, {database}, {local}, cityHash64(host))"
    ))
}

/// The table that holds rows on this server.
fn local(layout: &Layout, table: &str) -> String {
    let database = &layout.database;
    match layout.cluster {
        Some(_) => format!("{database}.{}", local_name(table)),
        None => format!("{database}.{table}"),
    }
}

/// The name of the table that holds a shard's rows.
pub(super) fn local_name(table: &str) -> String {
    format!("{table}_local")
}

fn definition((name, kind): &Column) -> String {
    format!("{name} {kind}")
}

fn ttl(features: &Features, days: u32) -> String {
    if features.ttl {
        format!(" TTL time + INTERVAL {days} DAY")
    } else {
        String::new()
    }
}

/// How many insertions the table remembers. A replicated one does so by itself, by their tokens or
/// bytes; but one with roll-ups must not where it would drop a batch that they lack.
fn window(layout: &Layout, features: &Features, table: Table) -> &'static str {
    let has_roll_ups = ROLL_UPS.iter().any(|roll_up| roll_up.source == table);
    match &layout.cluster {
        Some(cluster) if cluster.is_replicated => {
            if has_roll_ups && !features.views {
                " SETTINGS replicated_deduplication_window = 0"
            } else {
                ""
            }
        }
        Some(_) | None if features.window => " SETTINGS non_replicated_deduplication_window = 1000",
        Some(_) | None => "",
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The version of the tables; 0 where there are none.
///
/// # Errors
/// When the server does not answer.
pub async fn version(store: &Store) -> Result<u32, StoreError> {
    let database = store.database();
    let exists: Version = store
        .row(&format!(
            "SELECT toUInt32(count()) AS version FROM system.tables \
             WHERE database = '{database}' AND name = 'schema_version'"
        ))
        .await?;
    if exists.version == 0 {
        return Ok(0);
    }
    let version: Version = store
        .row(&format!(
            "SELECT max(version) AS version FROM {database}.schema_version"
        ))
        .await?;
    Ok(version.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(cluster: Option<bool>) -> Layout {
        Layout {
            database: "t".to_owned(),
            cluster: cluster.map(|is_replicated| Cluster {
                name: "c".to_owned(),
                is_replicated,
            }),
            retention: Retention {
                raw: 7,
                minute: 90,
                hour: 730,
            },
        }
    }

    /// What today's servers can do.
    fn all() -> Features {
        Features {
            version: String::new(),
            ttl: true,
            token: true,
            window: true,
            views: true,
        }
    }

    #[test]
    fn a_server_gets_only_what_it_can_do() {
        let old = statements(&layout(None), &Features::default()).join("\n");
        assert!(!old.contains("TTL") && !old.contains("SETTINGS"), "{old}");
        let new = statements(&layout(None), &all()).join("\n");
        assert!(
            new.contains("TTL time + INTERVAL 7 DAY SETTINGS non_rep"),
            "{new}"
        );
    }

    #[test]
    fn a_cluster_has_tables_of_its_shards_and_tables_over_them() {
        let all = statements(&layout(Some(false)), &Features::default()).join("\n");
        assert!(all.contains("t.timeline_local (host"), "{all}");
        assert!(
            all.contains("Distributed(c, t, timeline_minute_local, cityHash64(host))"),
            "{all}"
        );
        assert!(
            all.contains("to_timeline_hour TO t.timeline_hour_local"),
            "{all}"
        );
        assert!(!all.contains("Replicated"), "{all}");
    }

    #[test]
    fn every_table_that_holds_rows_is_replicated() {
        let layout = layout(Some(true));
        let new = statements(&layout, &all());
        let tables = new.iter().filter(|statement| {
            statement.starts_with("CREATE TABLE IF NOT EXISTS t.")
                && !statement.contains("Distributed")
                && !statement.contains("schema_version")
        });
        let mut count = 0;
        for statement in tables {
            count += 1;
            assert!(statement.contains("ENGINE = Replicated"), "{statement}");
        }
        assert_eq!(count, 8);
        let new = new.join("\n");
        let captures = "ReplicatedReplacingMergeTree('/clickhouse/tables/c/{shard}/t/captures', \
                        '{replica}', updated_ns)";
        assert!(new.contains(captures), "{new}");
        assert!(!new.contains("SETTINGS"), "{new}");
        let old = statements(&layout, &Features::default());
        let forgets = |table: &&String| table.contains("replicated_deduplication_window = 0");
        let old: Vec<_> = old.iter().filter(forgets).collect();
        assert_eq!(old.len(), 2, "{old:?}");
        assert!(old[0].contains("t.timeline_local (") && old[1].contains("t.tallies_local ("));
    }
}
