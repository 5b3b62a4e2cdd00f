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

/// Speed of an interface in bits per second, where it has one.
#[must_use]
pub fn speed_bps(interface: &Interface) -> Option<u64> {
    let megabits: u64 = attribute(interface, "speed")?;
    megabits.checked_mul(1_000_000).filter(|&speed| speed > 0)
}

/// Frames that the interface had no room for since it exists.
#[must_use]
pub fn missed_frames(interface: &Interface) -> Option<u64> {
    attribute(interface, "statistics/rx_missed_errors")
}

/// A number of sysfs, unless that belongs to another network namespace.
fn attribute(interface: &Interface, name: &str) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let path = format!("/sys/class/net/{}/{name}", interface.name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    (number("ifindex") == Some(u64::from(interface.ifindex)))
        .then(|| number(name))
        .flatten()
}

/// `ETHTOOL_GFLAGS` and its bit for receive VLAN offload (`linux/ethtool.h`).
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Whether the interface moves received VLAN tags out of the frame, where XDP cannot see them.
///
/// # Errors
/// What `ioctl(2)` with `SIOCETHTOOL` says; `EOPNOTSUPP` for interfaces without the setting.
pub fn receive_vlan_offload(interface: &str) -> io::Result<bool> {
    // SAFETY: no pointers; the result is checked below.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut value = EthtoolValue {
        command: ETHTOOL_GFLAGS,
        data: 0,
    };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .zip(interface.bytes().take(libc::IFNAMSIZ - 1))
    {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` names the interface and points to `value`; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 {
        Ok(value.data & ETH_FLAG_RXVLAN != 0)
    } else {
        Err(io::Error::last_os_error())
    }
}
