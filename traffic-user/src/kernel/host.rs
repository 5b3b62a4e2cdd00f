//! What the host says about itself and its interfaces.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use super::interfaces::Interface;

/// Kernel release, as `uname -r`.
#[must_use]
pub fn kernel_release() -> String {
    read_line("/proc/sys/kernel/osrelease")
}

/// Host name, as `uname -n`.
#[must_use]
pub fn hostname() -> String {
    read_line("/proc/sys/kernel/hostname")
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// `ETHTOOL_GFLAGS` and its bit for receive VLAN offload (`linux/ethtool.h`).
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `ETHTOOL_GLINKSETTINGS` (Linux 4.6), and `struct ethtool_link_settings`: its words before the
/// link modes, and the most that those take.
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const LINK_SETTINGS_WORDS: usize = 12;
const LINK_MODES_WORDS: usize = 3 * 127;
/// The word that holds `link_mode_masks_nwords` in its last byte.
const MODES_WORD: usize = 3;

/// Speed of an interface in bits per second, where it has one.
#[must_use]
pub fn speed_bps(interface: &Interface) -> Option<u64> {
    let mut settings = [0; LINK_SETTINGS_WORDS + LINK_MODES_WORDS];
    settings[0] = ETHTOOL_GLINKSETTINGS;
    ethtool(&interface.name, &mut settings).ok()?;
    // The kernel answers first how long the masks of link modes are, as a negative number.
    let mut modes = settings[MODES_WORD].to_ne_bytes();
    modes[3] = modes[3].cast_signed().unsigned_abs();
    settings[MODES_WORD] = u32::from_ne_bytes(modes);
    ethtool(&interface.name, &mut settings).ok()?;
    // 0 and `SPEED_UNKNOWN` are no speeds.
    let megabits = Some(settings[1]).filter(|&speed| speed != 0 && speed != u32::MAX)?;
    Some(u64::from(megabits) * 1_000_000)
}

/// `ETHTOOL_GGRO`, `ETHTOOL_GTXCSUM`, and the bit of `ETHTOOL_GFLAGS` for LRO.
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// Work that an interface does for the stack, which changes what hooks see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offload {
    /// Joining received frames in software.
    Gro,
    /// The same in hardware.
    Lro,
    /// Filling in checksums of frames that leave.
    TransmitChecksum,
}

/// Whether an interface does it.
///
/// # Errors
/// As [`receive_vlan_offload`].
pub(super) fn offload(interface: &str, offload: Offload) -> io::Result<bool> {
    let (command, mask) = match offload {
        Offload::Gro => (ETHTOOL_GGRO, u32::MAX),
        Offload::Lro => (ETHTOOL_GFLAGS, ETH_FLAG_LRO),
        Offload::TransmitChecksum => (ETHTOOL_GTXCSUM, u32::MAX),
    };
    let mut value = [command, 0];
    ethtool(interface, &mut value)?;
    Ok(value[1] & mask != 0)
}

/// Whether the interface moves received VLAN tags out of the frame, where XDP cannot see them.
///
/// # Errors
/// What `ioctl(2)` with `SIOCETHTOOL` says; `EOPNOTSUPP` for interfaces without the setting.
pub(super) fn receive_vlan_offload(interface: &str) -> io::Result<bool> {
    let mut value = [ETHTOOL_GFLAGS, 0];
    ethtool(interface, &mut value)?;
    Ok(value[1] & ETH_FLAG_RXVLAN != 0)
}

/// Asks the driver, in the network namespace of this thread: `words` begin with the command, and
/// have room for the answer to it.
fn ethtool(interface: &str, words: &mut [u32]) -> io::Result<()> {
    // SAFETY: no pointers; the result is checked below.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .zip(interface.bytes().take(libc::IFNAMSIZ - 1))
    {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: `request` names the interface and points to `words`, which have room for the answer
    // to their command; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
