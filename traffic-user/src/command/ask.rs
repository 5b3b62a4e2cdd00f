//! The questions of `traffic` without arguments, as the script before it asked them.

use std::io::{BufRead, Write, stdin, stdout};

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::cli::{CaptureArgs, Cli, Command};

/// Lines of the menu and the `--protocol` that each stands for.
const MENU: [(&str, &str); 6] = [
    ("IP", "ip"),
    ("TCP", "tcp"),
    ("UDP", "udp"),
    ("ARP", "arp"),
    ("ICMP", "icmp"),
    ("DNS", "dns"),
];

/// Asks what to capture; `None` when the input ends.
pub(super) fn ask() -> Result<Option<CaptureArgs>> {
    let choice = choose(&mut stdin().lock(), &mut stdout()).context("read the answer")?;
    Ok(choice.and_then(arguments))
}

fn choose(
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> std::io::Result<Option<&'static str>> {
    writeln!(output, "Select the type of packets to capture:")?;
    for (index, (label, _)) in MENU.iter().enumerate() {
        writeln!(output, "{}. {label}", index + 1)?;
    }
    loop {
        write!(output, "Enter your choice (1/2/3/4/5/6): ")?;
        output.flush()?;
        let mut answer = String::new();
        if input.read_line(&mut answer)? == 0 {
            writeln!(output)?;
            return Ok(None);
        }
        let number: Option<usize> = answer.trim().parse().ok();
        match number.and_then(|number| MENU.get(number.checked_sub(1)?)) {
            Some((_, protocol)) => return Ok(Some(protocol)),
            None => writeln!(
                output,
                "Invalid choice: {}. Please enter 1 to 6.",
                answer.trim().escape_debug()
            )?,
        }
    }
}

/// The capture that the script made: 60 seconds, a pcap file, and a page that opens.
fn arguments(protocol: &str) -> Option<CaptureArgs> {
    let line = [
        "traffic",
        "capture",
        "--protocol",
        protocol,
        "--duration",
        "60s",
        "--write",
        "captured_packets.pcap",
        "--html",
        "network_traffic_analysis.html",
        "--open",
    ];
    match Cli::try_parse_from(line).ok()?.command? {
        Command::Capture(args) => Some(*args),
        Command::Read(_)
        | Command::Print(_)
        | Command::Extcap(_)
        | Command::Config(_)
        | Command::Service(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Doctor(_)
        | Command::Cleanup(_)
        | Command::Interfaces(_)
        | Command::Report(_)
        | Command::Fleet(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ProtocolArg;

    #[test]
    fn a_wrong_choice_says_so_and_asks_again() {
        let mut output = Vec::new();
        let choice = choose(&mut &b"7\nx\n4\n"[..], &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        assert_eq!(choice, Some("arp"));
        assert!(output.starts_with("Select the type of packets to capture:\n1. IP\n2. TCP\n"));
        assert_eq!(
            output.matches("Enter your choice (1/2/3/4/5/6):").count(),
            3
        );
        assert!(output.contains("Invalid choice: 7."), "{output}");
    }

    #[test]
    fn the_end_of_input_chooses_nothing() {
        assert_eq!(choose(&mut &b""[..], &mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn every_choice_is_a_capture() {
        for (_, protocol) in MENU {
            let args = arguments(protocol).unwrap();
            assert_eq!(args.protocols.len(), 1);
            assert_eq!(args.duration.as_secs(), 60);
        }
        assert_eq!(arguments("dns").unwrap().protocols, [ProtocolArg::Dns]);
    }
}
