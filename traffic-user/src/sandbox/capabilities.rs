//! Users and capabilities (`capabilities(7)`).

use std::ffi::CString;

use caps::{CapSet, Capability, errors::CapsError};
use nix::unistd::{User, initgroups, setresgid, setresuid};

use super::SandboxError;

/// Empties the bounding set, so that no program gives any back. Without `CAP_SETPCAP` that is not
/// allowed, and not needed: a process without new privileges gains none.
pub(super) fn drop_bounding() -> Result<(), CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    Ok(())
}

/// Goes on as `user`, with its groups, and without a way back.
pub(super) fn become_user(user: &User) -> Result<(), SandboxError> {
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

/// Empties the other four sets.
pub(super) fn drop_all() -> Result<(), CapsError> {
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set)?;
    }
    Ok(())
}
