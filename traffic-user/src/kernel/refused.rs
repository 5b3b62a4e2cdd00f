//! Why the kernel refuses what it was to load, in words that help.

use std::io;

use aya::{EbpfError, programs::ProgramError};

use super::{facts, load::LoadError};

/// Why the kernel took no program.
pub(super) fn program(name: &'static str, error: &ProgramError) -> LoadError {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return LoadError::Program {
            name,
            reason: error.to_string(),
        };
    };
    log::debug!("verifier log of {name}:\n{verifier_log}");
    if io_error.raw_os_error() == Some(libc::EPERM) {
        return not_permitted();
    }
    LoadError::Program {
        name,
        reason: format!("{io_error} (-vv shows the verifier's words)"),
    }
}

/// Why the object or its maps could not be loaded.
pub(super) fn object(error: EbpfError) -> LoadError {
    let denied = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    })
    .filter_map(|error| error.downcast_ref::<io::Error>())
    .any(|error| error.raw_os_error() == Some(libc::EPERM));
    if denied {
        not_permitted()
    } else {
        LoadError::Object(Box::new(error))
    }
}

/// `EPERM` has two causes.
fn not_permitted() -> LoadError {
    if let Some(bytes) = facts::limit_of_maps() {
        return LoadError::LockedMemory(bytes >> 10);
    }
    let program = std::env::current_exe()
        .map_or_else(|_| "traffic".to_owned(), |path| path.display().to_string());
    LoadError::NotPermitted { program }
}
