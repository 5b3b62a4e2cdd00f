//! What a capture file holds.

use std::{ops::ControlFlow, path::Path};

use anyhow::{Context as _, Result, ensure};
use traffic_user::capture_file;

/// Frames of each interface of a file that must be whole: name and number of frames, in the
/// file's order.
pub(crate) fn frames(path: &Path) -> Result<Vec<(String, u64)>> {
    let mut counts: Vec<u64> = Vec::new();
    let summary = capture_file::read(path, |_, frame| {
        let interface = usize::from(frame.interface);
        counts.resize(counts.len().max(interface + 1), 0);
        counts[interface] += 1;
        ControlFlow::Continue(())
    })
    .with_context(|| format!("read {}", path.display()))?;
    ensure!(summary.fault.is_none(), "{:?}", summary.fault);
    counts.resize(summary.interfaces.len(), 0);
    let names = summary.interfaces.iter();
    let names = names.map(|interface| interface.name.clone().unwrap_or_default());
    Ok(names.zip(counts).collect())
}
