//! Inputs that are kept in the repository: one file per target, each input behind its length in two
//! bytes, little-endian.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Most bytes of a file.
const FILE_BYTES: usize = 48 << 10;
/// Most bytes of an input.
const INPUT_BYTES: u64 = 4096;

/// Writes the shortest inputs of the folder `found` to `file`.
pub(super) fn keep(found: &Path, file: &Path) -> Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(found)? {
        let entry = entry?;
        if entry.metadata()?.len() <= INPUT_BYTES {
            inputs.push(fs::read(entry.path())?);
        }
    }
    inputs.sort_by_key(|input| (input.len(), input.clone()));
    let mut kept = Vec::new();
    for input in &inputs {
        if kept.len() + input.len() < FILE_BYTES {
            kept.extend(u16::try_from(input.len())?.to_le_bytes());
            kept.extend(input);
        }
    }
    fs::write(file, kept).with_context(|| format!("write {}", file.display()))
}

/// Writes the inputs of `file`, if there is one, into the folder `found`.
pub(super) fn unpack(file: &Path, found: &Path) -> Result<()> {
    let file = fs::read(file).unwrap_or_default();
    let mut rest = file.as_slice();
    let mut number = 0;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (input, after) = after.split_at(length);
        fs::write(found.join(format!("kept-{number}")), input)?;
        number += 1;
        rest = after;
    }
    Ok(())
}
