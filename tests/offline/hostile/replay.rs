//! What the fuzzer found worth keeping, checked again by what the fuzz targets check.

#[path = "../../fuzz/checks/capture_file.rs"]
mod capture_file;
#[path = "../../fuzz/checks/dns.rs"]
mod dns;
#[path = "../../fuzz/checks/filter.rs"]
mod filter;
#[path = "../../fuzz/checks/parse.rs"]
mod parse;
#[path = "../../fuzz/checks/round_trip.rs"]
mod round_trip;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::files::FILES;

/// What the fuzz targets check.
const CHECKS: [fn(&[u8]); 5] = [
    parse::check,
    capture_file::check,
    dns::check,
    round_trip::check,
    filter::check,
];
/// Most bytes of a hostile file that is an input as well.
const INPUT_BYTES: usize = 4096;

/// Every check takes every input: a capture file is bytes of a packet too.
pub(crate) fn kept_inputs_hold() -> Result<()> {
    let files = FILES.iter().map(|(_, make, _)| make());
    let mut inputs: Vec<_> = files.map(shortened).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/kept");
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let kept = fs::read(entry?.path())?;
        inputs.extend(split(&kept).into_iter().map(<[u8]>::to_vec));
    }
    ensure!(inputs.len() > 200, "{} inputs", inputs.len());
    for check in CHECKS {
        for input in &inputs {
            check(input);
        }
    }
    Ok(())
}

/// The beginning of a file, which shows the same faults as the whole.
fn shortened(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(INPUT_BYTES);
    file
}

/// Inputs one after the other, each behind its length in two bytes, little-endian.
fn split(mut file: &[u8]) -> Vec<&[u8]> {
    let mut inputs = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length));
        let (input, rest) = rest.split_at(length.min(rest.len()));
        inputs.push(input);
        file = rest;
    }
    inputs
}
