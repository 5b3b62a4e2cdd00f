//! Users and capabilities (`capabilities(7)`).

use std::ffi::CString;

use caps::{CapSet, Capability, errors::CapsError};
use nix::{
    sys::prctl,
    unistd::{User, initgroups, setresgid, setresuid},
};

use super::SandboxError;

/// Empties the bounding set, so that no program gives any back. Without `CAP_SETPCAP` that is not
/// allowed, and not needed: a process without new privileges gains none.
pub(super) fn drop_bounding() -> Result<(), CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    Ok(())
}

/// As [`become_user`], with the capabilities still permitted.
pub(super) fn become_user_with_capabilities(user: &User) -> Result<(), SandboxError> {
    prctl::set_keepcaps(true).map_err(|source| SandboxError::User {
        name: user.name.clone(),
        source,
    })?;
    become_user(user)
}

/// Goes on as `user`, with its groups, and without a way back.
///
/// # Errors
/// Without the privileges for it.
pub fn become_user(user: &User) -> Result<(), SandboxError> {
    let refused = |source| SandboxError::User {
        name: user.name.clone(),
        source,
    };
    // No user's name has a zero byte.
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    initgroups(&name, user.gid).map_err(refused)?;
    setresgid(user.gid, user.gid, user.gid).map_err(refused)?;
    setresuid(user.uid, user.uid, user.uid).map_err(refused)
}

/// Empties the other four sets, but for capabilities of `kept` that are there and stay in force.
pub(super) fn keep(kept: &[Capability]) -> Result<(), CapsError> {
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let permitted = caps::read(None, CapSet::Permitted)?;
    let left = permitted
        .into_iter()
        .filter(|capability| kept.contains(capability))
        .collect();
    caps::set(None, CapSet::Effective, &left)?;
    caps::set(None, CapSet::Permitted, &left)
}
