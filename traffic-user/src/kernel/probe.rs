//! What this kernel can do, found by trying it: distributions carry features back, and version
//! numbers do not tell.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    sync::OnceLock,
};

use aya::{
    programs::{ProgramType, TcAttachType},
    sys::{BpfHelper, is_helper_supported},
};

/// Whether XDP programs can copy frames, and read those in several buffers (Linux 5.18). Without
/// the privilege to ask, it is taken to be so: loading will then say what is missing.
#[must_use]
pub fn xdp_can_copy_frames() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_load_bytes).unwrap_or(true)
    })
}

/// Whether programs can have loops that the verifier sees no end of (Linux 6.9).
///
/// # Errors
/// When the kernel cannot be asked.
pub(super) fn has_may_goto() -> io::Result<bool> {
    // `may_goto +0; r0 = 0; exit`
    accepts(&[0xe5, 0xb7, 0x95])
}

/// `BPF_PROG_LOAD` of `bpf(2)`, and the first fields of its argument.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

/// `BPF_PROG_QUERY`, the first fields of its argument, and its attach types.
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
/// Programs that one hook can have (`BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

#[repr(C)]
#[derive(Default)]
struct QueryArgument {
    ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    reserved: u32,
    other: [u64; 4],
}

/// Ids of the programs at a tcx hook.
///
/// # Errors
/// `EINVAL` on kernels without tcx (before Linux 6.6), `EPERM` without `CAP_NET_ADMIN`.
pub(super) fn tcx_programs(ifindex: u32, direction: TcAttachType) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut argument = QueryArgument {
        ifindex,
        attach_type: match direction {
            TcAttachType::Egress => BPF_TCX_EGRESS,
            TcAttachType::Ingress | TcAttachType::Custom(_) => BPF_TCX_INGRESS,
        },
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(ids.len()).unwrap_or(0),
        ..QueryArgument::default()
    };
    // SAFETY: the argument is as long as it says; it points to room for as many ids as it says, and
    // both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut argument,
            size_of::<QueryArgument>(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ids[..MOST_PROGRAMS.min(argument.count as usize)].to_vec())
}

#[repr(C)]
#[derive(Default)]
struct LoadArgument {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Whether the kernel accepts a program of these instructions, each an opcode without operands.
fn accepts(opcodes: &[u64]) -> io::Result<bool> {
    let argument = LoadArgument {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        instruction_count: u32::try_from(opcodes.len()).unwrap_or(u32::MAX),
        instructions: opcodes.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadArgument::default()
    };
    // SAFETY: the argument is as long as it says, and what it points to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const argument,
            size_of::<LoadArgument>(),
        )
    };
    let error = io::Error::last_os_error();
    match i32::try_from(result) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: a new descriptor that nothing else owns.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            Ok(true)
        }
        _ if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        _ => Err(error),
    }
}
