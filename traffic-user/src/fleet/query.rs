//! What a report asks of the database.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    filter::Filter,
    flow_query::{FlowAnswer, FlowQuestion, ProtocolRow},
    store::{Store, StoreError},
};
use crate::counts::Leaf;

/// Longest time that is answered from rows of seconds.
const SECONDS_NS: u64 = 2 * 3600 * SECOND_NS;
/// Longest time that is answered from rows of minutes.
const MINUTES_NS: u64 = 7 * 24 * 3600 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;

/// Which traffic a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// First nanosecond since the Unix epoch.
    pub since_ns: u64,
    /// First nanosecond after it.
    pub until_ns: u64,
    /// Hosts; all where none is named.
    pub hosts: Vec<String>,
    /// Interfaces of those hosts; all where none is named.
    pub interfaces: Vec<String>,
    /// Bars of the histogram; at least 1.
    pub bars: u32,
    /// Which packets of flows; with it, everything is told by flows alone.
    pub filter: Option<Filter>,
    /// Rows of each table.
    pub top: usize,
}

/// How long a row's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    Second,
    Minute,
    Hour,
}

impl Resolution {
    const fn ns(self) -> u64 {
        match self {
            Self::Second => SECOND_NS,
            Self::Minute => 60 * SECOND_NS,
            Self::Hour => 3600 * SECOND_NS,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Second => "",
            Self::Minute => "_minute",
            Self::Hour => "_hour",
        }
    }

    /// What `column` gained in the rows of a group.
    fn gain(self, column: &str) -> String {
        match self {
            Self::Second => format!("max({column}_before + {column}) - min({column}_before)"),
            Self::Minute | Self::Hour => {
                format!("maxMerge({column}_to) - minMerge({column}_from)")
            }
        }
    }
}

/// Packets and bytes of a class on an interface.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ClassRow {
    /// Host name.
    pub host: String,
    /// Name of the interface.
    pub interface: String,
    /// Leaf class.
    pub protocol: String,
    /// What the class is carried by, where it is known by its port.
    pub transport: String,
    /// 4, 6, or 0.
    pub ip_version: u8,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets and bytes of a class in a bar.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct BarRow {
    /// Number of the bar.
    pub bar: u32,
    /// Leaf class.
    pub protocol: String,
    /// As [`ClassRow::transport`].
    pub transport: String,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl From<ProtocolRow> for ClassRow {
    fn from(row: ProtocolRow) -> Self {
        let leaf = row.leaf();
        Self {
            host: row.host,
            interface: row.interface,
            protocol: leaf.to_string(),
            transport: leaf.transport().to_owned(),
            ip_version: row.ip_version,
            packets: row.packets,
            bytes: row.bytes,
        }
    }
}

impl From<ProtocolRow> for BarRow {
    fn from(row: ProtocolRow) -> Self {
        let leaf: Leaf = row.leaf();
        Self {
            bar: row.bar,
            protocol: leaf.to_string(),
            transport: leaf.transport().to_owned(),
            packets: row.packets,
            bytes: row.bytes,
        }
    }
}

/// A counter of the ledger.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct TallyRow {
    /// What was counted.
    pub name: String,
    /// How often.
    pub value: u64,
}

/// A run that was going on in the time of the question.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct RunRow {
    /// Host name.
    pub host: String,
    /// Gate open, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// Gate close; 0 where it has not ended, or was killed.
    pub ended_ns: u64,
    /// Its interfaces, as JSON.
    pub interfaces: String,
}

/// Everything that a report is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// First nanosecond, since the Unix epoch.
    pub since_ns: u64,
    /// First nanosecond after it.
    pub until_ns: u64,
    /// Width of a bar.
    pub bar_ns: u64,
    /// By host, interface and class.
    pub classes: Vec<ClassRow>,
    /// By bar and class.
    pub bars: Vec<BarRow>,
    /// The ledger.
    pub tallies: Vec<TallyRow>,
    /// The runs, oldest first.
    pub runs: Vec<RunRow>,
    /// Flows that ended in the time.
    pub flows: FlowAnswer,
}

impl Question {
    /// Asks the database. Times are rounded outward to whole seconds; to minutes or hours where the
    /// time is longer than two hours or a week.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, store: &Store) -> Result<Answer, StoreError> {
        let asked = self.rounded();
        let database = store.database();
        let flows = asked.flows(database);
        let table = flows.table(store).await?;
        let (classes, bars, tallies) = if self.filter.is_some() {
            let classes: Vec<ProtocolRow> = store.rows(&flows.by_interface(&table)).await?;
            let bars: Vec<ProtocolRow> = store.rows(&flows.over_time(&table)).await?;
            let classes = classes.into_iter().map(ClassRow::from).collect();
            let bars = bars.into_iter().map(BarRow::from).collect();
            (classes, bars, Vec::new())
        } else {
            (
                store.rows(&asked.classes(database)).await?,
                store.rows(&asked.over_time(database)).await?,
                store.rows(&asked.tallies(database)).await?,
            )
        };
        Ok(Answer {
            since_ns: asked.since_ns,
            until_ns: asked.until_ns,
            bar_ns: asked.bar_ns(),
            classes,
            bars,
            tallies,
            runs: store.rows(&asked.runs(database)).await?,
            flows: flows.ask(store, &table).await?,
        })
    }

    /// The statements, for checks.
    #[must_use]
    pub fn statements(&self, database: &str) -> Vec<String> {
        let asked = self.rounded();
        let mut statements = vec![
            asked.classes(database),
            asked.over_time(database),
            asked.tallies(database),
            asked.runs(database),
        ];
        let flows = asked.flows(database);
        statements.extend(flows.statements(false));
        statements.extend(flows.statements(true));
        statements
    }

    /// The same question to the table of flows.
    fn flows<'a>(&'a self, database: &'a str) -> FlowQuestion<'a> {
        FlowQuestion {
            database,
            runs: self.of_hosts(),
            rows: self.of_interfaces(),
            filter: self.filter.as_ref(),
            top: self.top,
            bars: (self.since_ns, self.bar_ns(), self.bars),
        }
    }

    fn resolution(&self) -> Resolution {
        let range_ns = self.until_ns.saturating_sub(self.since_ns);
        if range_ns <= SECONDS_NS {
            Resolution::Second
        } else if range_ns <= MINUTES_NS {
            Resolution::Minute
        } else {
            Resolution::Hour
        }
    }

    fn rounded(&self) -> Self {
        let unit = self.resolution().ns();
        let since_ns = self.since_ns / unit * unit;
        Self {
            since_ns,
            until_ns: self.until_ns.next_multiple_of(unit).max(since_ns + unit),
            ..self.clone()
        }
    }

    fn bar_ns(&self) -> u64 {
        (self.until_ns - self.since_ns).div_ceil(u64::from(self.bars.max(1)))
    }

    fn classes(&self, database: &str) -> String {
        let unit = self.resolution();
        format!(
            "SELECT host, interface, protocol, transport, ip_version, toUInt64(sum(p)) AS packets, \
             toUInt64(sum(b)) AS bytes FROM (SELECT host, interface, protocol, transport, \
             ip_version, {} AS p, {} AS b FROM {database}.timeline{} WHERE {} GROUP BY host, run, \
             interface, direction, protocol, transport, ip_version) \
             GROUP BY host, interface, protocol, transport, ip_version \
             ORDER BY host, interface, protocol, transport, ip_version",
            unit.gain("packets"),
            unit.gain("bytes"),
            unit.suffix(),
            self.of_interfaces(),
        )
    }

    fn over_time(&self, database: &str) -> String {
        let unit = self.resolution();
        let middle = match unit {
            Resolution::Second => "intDiv(start_ns + end_ns, 2)".to_owned(),
            Resolution::Minute | Resolution::Hour => {
                format!("toUInt32(time) * 1000000000 + {}", unit.ns() / 2)
            }
        };
        format!(
            "SELECT bar, protocol, transport, toUInt64(sum(p)) AS packets, \
             toUInt64(sum(b)) AS bytes FROM (SELECT toUInt32(least({}, intDiv(greatest(toInt64(\
             {middle}) - {}, 0), {}))) AS bar, protocol, transport, {} AS p, {} AS b \
             FROM {database}.timeline{} WHERE {} GROUP BY host, run, interface, direction, \
             protocol, transport, ip_version, bar) GROUP BY bar, protocol, transport \
             ORDER BY bar, protocol, transport",
            self.bars.max(1) - 1,
            self.since_ns,
            self.bar_ns(),
            unit.gain("packets"),
            unit.gain("bytes"),
            unit.suffix(),
            self.of_interfaces(),
        )
    }

    fn tallies(&self, database: &str) -> String {
        let unit = self.resolution();
        format!(
            "SELECT name, toUInt64(sum(n)) AS value FROM (SELECT name, {} AS n \
             FROM {database}.tallies{} WHERE {} GROUP BY host, run, interface, direction, name) \
             GROUP BY name ORDER BY name",
            unit.gain("value"),
            unit.suffix(),
            self.of_interfaces(),
        )
    }

    fn runs(&self, database: &str) -> String {
        let mut conditions = vec![
            format!("started_ns < {}", self.until_ns),
            format!("(ended_ns = 0 OR ended_ns > {})", self.since_ns),
        ];
        // A run that was killed has no end, but it counts nothing any more.
        conditions.push(format!(
            "run GLOBAL IN (SELECT run FROM {database}.tallies{} WHERE {} GROUP BY run)",
            self.resolution().suffix(),
            self.of_interfaces()
        ));
        format!(
            "SELECT host, started_ns, ended_ns, interfaces FROM {database}.captures FINAL \
             WHERE {} ORDER BY started_ns, host",
            conditions.join(" AND ")
        )
    }

    fn of_interfaces(&self) -> String {
        let interfaces = one_of("interface", &self.interfaces);
        let conditions = [Some(self.of_hosts()), interfaces];
        let conditions: Vec<_> = conditions.into_iter().flatten().collect();
        conditions.join(" AND ")
    }

    fn of_hosts(&self) -> String {
        let mut conditions = vec![
            format!("time >= toDateTime({})", self.since_ns / SECOND_NS),
            format!("time < toDateTime({})", self.until_ns / SECOND_NS),
        ];
        conditions.extend(one_of("host", &self.hosts));
        conditions.join(" AND ")
    }
}

/// A condition that takes these values; none takes everything.
fn one_of(column: &str, values: &[String]) -> Option<String> {
    let values: BTreeSet<_> = values.iter().map(|value| quoted(value)).collect();
    let values: Vec<_> = values.into_iter().collect();
    (!values.is_empty()).then(|| format!("{column} IN ({})", values.join(", ")))
}

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(seconds: u64) -> Question {
        Question {
            since_ns: 1_800_000_001 * SECOND_NS + 5,
            until_ns: (1_800_000_001 + seconds) * SECOND_NS + 5,
            hosts: vec!["o'neill".to_owned()],
            interfaces: Vec::new(),
            bars: 30,
            filter: None,
            top: 10,
        }
    }

    #[test]
    fn times_are_rounded_outward() {
        let asked = question(10).rounded();
        assert_eq!(asked.since_ns, 1_800_000_001 * SECOND_NS);
        assert_eq!(asked.until_ns, 1_800_000_012 * SECOND_NS);
        let asked = question(10_000).rounded();
        assert_eq!(asked.since_ns, 1_800_000_000 * SECOND_NS);
        assert_eq!(asked.until_ns % (60 * SECOND_NS), 0);
        assert_eq!(question(1_000_000).resolution(), Resolution::Hour);
    }

    #[test]
    fn names_are_quoted() {
        for statement in question(10).statements("t") {
            assert!(statement.contains("host IN ('o\\'neill')"), "{statement}");
        }
        assert_eq!(quoted("\\'"), "'\\\\\\''");
    }
}
