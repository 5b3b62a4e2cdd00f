//! Files and addresses: landlock.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::{Policy, SandboxError};

/// The newest version whose restrictions were tried; older kernels have those of theirs.
const NEWEST: ABI = ABI::V7;

/// What the system says about itself and about time; those that are missing are left out.
const ALWAYS_READ: [&str; 8] = [
    "/etc/localtime",
    "/etc/timezone",
    "/usr/share/zoneinfo",
    "/proc/cpuinfo",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/osrelease",
    "/sys/class/net",
    "/sys/devices",
];

/// Rules that are complete, and not in force.
pub(super) struct Rules(RulesetCreated);

impl Rules {
    /// What `policy` leaves.
    pub(super) fn new(policy: &Policy) -> Result<Self, SandboxError> {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        let mut rules = Self(rules);
        let made = AccessFs::ReadFile
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::RemoveFile;
        for directory in &policy.made_in {
            rules = rules.allow(directory, made)?;
        }
        for path in &policy.overwritten {
            rules = rules.allow(path, AccessFs::WriteFile | AccessFs::Truncate)?;
        }
        for path in ALWAYS_READ.iter().map(Path::new) {
            rules = rules.allow_reading(path)?;
        }
        for path in &policy.read {
            rules = rules.allow_reading(path)?;
        }
        if policy.terminal {
            let access = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
            rules = rules.allow(Path::new("/dev/tty"), access)?;
        }
        for port in &policy.ports {
            let rule = NetPort::new(*port, AccessNet::ConnectTcp);
            rules = Self(rules.0.add_rule(rule)?);
        }
        Ok(rules)
    }

    fn allow_reading(self, path: &Path) -> Result<Self, SandboxError> {
        if !path.exists() {
            return Ok(self);
        }
        let mut access = BitFlags::from(AccessFs::ReadFile);
        if path.is_dir() {
            access |= AccessFs::ReadDir;
        }
        self.allow(path, access)
    }

    fn allow(self, path: &Path, access: BitFlags<AccessFs>) -> Result<Self, SandboxError> {
        let opened = PathFd::new(path).map_err(|error| SandboxError::Path {
            path: path.to_owned(),
            source: error_of(error),
        })?;
        Ok(Self(self.0.add_rule(PathBeneath::new(opened, access))?))
    }

    /// Puts the rules in force; the version of landlock that does so.
    pub(super) fn restrict(self) -> Result<Option<i32>, RulesetError> {
        Ok(match self.0.restrict_self()?.landlock {
            LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as i32),
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
        })
    }
}

fn error_of(error: landlock::PathFdError) -> std::io::Error {
    match error {
        landlock::PathFdError::OpenCall { source, .. } => source,
        other => std::io::Error::other(other),
    }
}
