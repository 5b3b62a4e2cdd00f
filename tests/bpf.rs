//! Programs, maps and links in the kernel.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::Result;

/// Kind (`link`, `map`, `prog`) and id.
pub type Object = (&'static str, u64);

/// Ids of the programs, maps and links that a process and its children hold, by kind (`bpf_prog_show_fdinfo`,
/// `bpf_map_show_fdinfo`, `bpf_link_show_fdinfo`).
///
/// # Errors
/// When there is no such process.
pub fn held(process: u32) -> Result<BTreeSet<Object>> {
    let mut ids = held_by(process)?;
    for child in children(process)? {
        // It may have ended meanwhile.
        ids.extend(held_by(child).unwrap_or_default());
    }
    Ok(ids)
}

/// Processes whose parent is `process`.
///
/// # Errors
/// When there is no list of processes.
pub fn children(process: u32) -> Result<Vec<u32>> {
    let parent = format!("PPid:\t{process}\n");
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("status"));
        if status.is_ok_and(|status| status.contains(&parent)) {
            children.push(id);
        }
    }
    Ok(children)
}

/// Those of [`held`] that the process holds itself.
///
/// # Errors
/// When there is no such process.
pub fn held_by(process: u32) -> Result<BTreeSet<Object>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // Descriptors come and go meanwhile.
        let Ok(info) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        let kind = ["link", "map", "prog"].into_iter().find_map(|kind| {
            let mut lines = info.lines();
            let id = lines.find_map(|line| line.strip_prefix(&format!("{kind}_id:")))?;
            Some((kind, id.trim().parse().ok()?))
        });
        ids.extend(kind);
    }
    Ok(ids)
}

/// Whether the kernel still has an object (`bpftool`).
#[must_use]
pub fn exists(kind: &str, id: u64) -> bool {
    Command::new("bpftool")
        .args([kind, "show", "id", &id.to_string()])
        .output()
        .is_ok_and(|output| output.status.success())
}
