//! System calls: seccomp.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::Policy;

/// Calls that a run makes whatever it does, with any arguments.
const ALLOWED: &[c_long] = &[
    // Memory; see `CONDITIONAL` for mappings.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_membarrier,
    // Threads and signals.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Time and chance.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Files: landlock says which.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Sockets that are open: they cannot be made.
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Oneself.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // `restrict` answers it as a kernel that does not know it: then the library takes `clone`,
    // whose flags a filter can see.
    libc::SYS_clone3,
];

/// Older forms of the same, which x86-64 alone has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLDER: &[c_long] = &[];

/// Calls that no run ever makes, and that are of use to an attacker: they end the process.
const FATAL: &[c_long] = &[
    libc::SYS_add_key,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsmount,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// `ioctl(2)` of files and sockets, and what is asked of terminals.
const IOCTLS: [u64; 5] = [
    libc::FIONBIO,
    libc::FIONREAD,
    libc::TCGETS,
    libc::TCGETS2,
    libc::TIOCGWINSZ,
];

/// Changing the mode of a terminal. Nothing puts characters into it (`TIOCSTI`).
const TERMINAL_IOCTLS: [u64; 6] = [
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TCSETS2,
    libc::TCSETSW2,
    libc::TCSETSF2,
];

/// Restricts this thread and those that it starts to what `policy` leaves; the number of calls,
/// `None` where the kernel has no filters.
pub(super) fn restrict(policy: &Policy) -> Result<Option<usize>, Error> {
    let allowed = allowed(policy)?;
    let count = allowed.len();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filters = [
        filter(allowed, refused, SeccompAction::Allow)?,
        // Of several verdicts the strictest holds.
        filter(
            BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        )?,
        filter(
            fatal(policy),
            SeccompAction::Allow,
            SeccompAction::KillProcess,
        )?,
    ];
    // The last one first: the first would refuse to install others.
    for filter in filters.iter().rev() {
        match apply_filter(filter) {
            Ok(()) => {}
            Err(Error::Prctl(error) | Error::Seccomp(error))
                if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(count))
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn filter(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into()
}

fn fatal(policy: &Policy) -> Rules {
    let bpf = (!policy.hooks).then_some(libc::SYS_bpf);
    let calls = FATAL.iter().copied().chain(bpf);
    calls.map(|call| (call, Vec::new())).collect()
}

fn allowed(policy: &Policy) -> Result<Rules, BackendError> {
    let any = ALLOWED.iter().chain(ALLOWED_OLDER);
    let mut rules: Rules = any.map(|call| (*call, Vec::new())).collect();
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let own = u64::from(std::process::id());
    rules.extend([
        // No memory becomes code.
        (libc::SYS_mmap, vec![masked(2, executable, 0)?]),
        (libc::SYS_mprotect, vec![masked(2, executable, 0)?]),
        (libc::SYS_clone, vec![masked(0, thread, thread)?]),
        (libc::SYS_tgkill, equal(0, [own])?),
        (
            libc::SYS_prctl,
            equal(0, [u64::from(libc::PR_SET_NAME.unsigned_abs())])?,
        ),
        // Asks for limits and sets none.
        (libc::SYS_prlimit64, vec![masked(2, u64::MAX, 0)?]),
    ]);
    let mut ioctls = IOCTLS.to_vec();
    if policy.terminal {
        ioctls.extend(TERMINAL_IOCTLS);
        // A signal that wakes the reader of keys goes through a pair.
        rules.insert(libc::SYS_socketpair, equal(0, [family(libc::AF_UNIX)])?);
    }
    if policy.hooks {
        // `SIOCETHTOOL`: whether tags of VLANs are taken away.
        ioctls.extend([libc::SIOCGIFINDEX, libc::SIOCETHTOOL]);
        // Names of interfaces are looked up through any socket, promiscuous mode is asked for
        // through one for packets.
        let families = [
            libc::AF_UNIX,
            libc::AF_INET,
            libc::AF_NETLINK,
            libc::AF_PACKET,
        ];
        rules.insert(libc::SYS_socket, equal(0, families.map(family))?);
        rules.insert(libc::SYS_bind, Vec::new());
        rules.insert(libc::SYS_connect, Vec::new());
        rules.insert(libc::SYS_bpf, Vec::new());
        rules.insert(libc::SYS_getdents64, Vec::new());
    }
    rules.insert(libc::SYS_ioctl, equal(1, ioctls)?);
    if policy.clients {
        rules.insert(libc::SYS_accept4, Vec::new());
    }
    if !policy.ports.is_empty() {
        let families = [libc::AF_INET, libc::AF_INET6];
        rules.insert(libc::SYS_socket, equal(0, families.map(family))?);
        rules.insert(libc::SYS_connect, Vec::new());
    }
    Ok(rules)
}

fn family(family: libc::c_int) -> u64 {
    u64::from(family.unsigned_abs())
}

/// A rule for each value that an argument of 32 bits may have.
fn equal(
    argument: u8,
    values: impl IntoIterator<Item = u64>,
) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |value| rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    values.into_iter().map(rule).collect()
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, BackendError> {
    let operation = SeccompCmpOp::MaskedEq(mask);
    rule(argument, SeccompCmpArgLen::Qword, operation, value)
}

fn rule(
    argument: u8,
    width: SeccompCmpArgLen,
    operation: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument, width, operation, value,
    )?])
}
