//! Arguments about flows.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::value::parse_duration;
use crate::{flows::FlowSettings, ipfix::Collector};

/// Cisco's active timeout.
const ACTIVE: Duration = Duration::from_mins(30);
/// That of flows which are stored: a report is to know of a long one soon.
const STORED_ACTIVE: Duration = Duration::from_mins(1);

/// Arguments about flows.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("flow_use").multiple(true))]
pub struct FlowArgs {
    /// Build flows: what two ends sent each other, both directions together.
    #[arg(long, group = "flow_use")]
    pub flows: bool,
    /// Silence that ends a flow.
    #[arg(long, value_name = "TIME", default_value = "15s", requires = "flow_use", value_parser = parse_timeout)]
    pub flow_idle: Duration,
    /// Age at which a part of a flow is cut off, and exported. Default: 30m; with --to 1m.
    #[arg(long, value_name = "TIME", requires = "flow_use", value_parser = parse_timeout)]
    pub flow_active: Option<Duration>,
    /// Flows in memory at once, of some 250 bytes each; when there are more, the flow ends that has
    /// been silent the longest.
    #[arg(long, value_name = "N", default_value_t = 262_144, requires = "flow_use", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub max_flows: u32,
    /// Send every flow that ends to this IPFIX collector, over UDP or TCP; builds flows.
    #[arg(long, value_name = "HOST:PORT[/tcp]", group = "flow_use")]
    pub ipfix: Option<Collector>,
    /// Observation domain id of the export, which tells several exporters of one address apart.
    #[arg(long, value_name = "ID", default_value_t = 0, requires = "ipfix")]
    pub ipfix_domain: u32,
    /// Export a record per direction, for collectors that do not know RFC 5103 (pmacct).
    #[arg(long, requires = "ipfix")]
    pub ipfix_uniflow: bool,
}

impl FlowArgs {
    /// The flows that are asked for, of which `top` are shown; `is_stored` where a database asks
    /// for them too.
    #[must_use]
    pub fn settings(&self, top: usize, is_stored: bool) -> Option<FlowSettings> {
        let wanted = self.flows || self.ipfix.is_some() || is_stored;
        let active = if is_stored { STORED_ACTIVE } else { ACTIVE };
        wanted.then_some(FlowSettings {
            idle: self.flow_idle,
            active: self.flow_active.unwrap_or(active),
            max_flows: self.max_flows,
            top,
        })
    }
}

/// Reads a time that is not zero.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout.is_zero() {
        return Err("a timeout is longer than 0".to_owned());
    }
    Ok(timeout)
}
