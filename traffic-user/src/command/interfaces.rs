//! `traffic interfaces` and `traffic capture -D`.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::kernel::{Interface, Interfaces, NetworkNamespace};

/// Lists the interfaces of a network namespace, by default this one, with the hooks they can take.
pub(super) async fn run(netns: Option<&str>) -> Result<ExitCode> {
    netns.map(NetworkNamespace::enter).transpose()?;
    let interfaces = Interfaces::list().await?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:>4}  {:<16} {:<12} {:<9} {:>6}  HOOKS",
        "#", "NAME", "STATE", "LINK", "MTU"
    )
    .context("write to stdout")?;
    for interface in interfaces.iter() {
        writeln!(out, "{}", line(interface)).context("write to stdout")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(interface: &Interface) -> String {
    let state = match (interface.up, interface.state.as_str()) {
        (false, _) => "down",
        (true, "unknown") => "up",
        (true, "down") => "no-carrier",
        (true, state) => state,
    };
    let link = if interface.is_supported() {
        interface.link_type().to_owned()
    } else {
        format!("arphrd-{}", interface.hardware_type)
    };
    format!(
        "{:>4}  {:<16} {state:<12} {link:<9} {:>6}  {}",
        interface.ifindex,
        interface.name,
        interface.mtu,
        hooks(interface)
    )
}

/// What can be attached to an interface, without trying: trying would disturb it.
fn hooks(interface: &Interface) -> String {
    if !interface.is_supported() {
        return "none (neither Ethernet nor IP frames)".to_owned();
    }
    if !interface.has_ethernet_headers() {
        return "tc".to_owned();
    }
    match interface.xdp_programs.first() {
        Some(id) => format!("tc (xdp is taken by program {id})"),
        None => "tc, xdp".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_xdp_hook_is_named() {
        let mut interface = Interface {
            name: "eth0".to_owned(),
            hardware_type: 1,
            ..Interface::default()
        };
        assert!(line(&interface).ends_with("tc, xdp"));
        interface.xdp_programs = vec![17];
        assert!(line(&interface).ends_with("tc (xdp is taken by program 17)"));
        interface.hardware_type = 0xfffe;
        assert!(line(&interface).ends_with("  tc"));
    }
}
