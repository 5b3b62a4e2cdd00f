//! The command line of the real program: help, usage errors, exit codes.

use std::{
    fs,
    process::{ExitCode, Output},
};

use anyhow::{Result, ensure};
use serde_json::Value;
use traffic_tests::{Need, Test, program::traffic};

const SUBCOMMANDS: [&str; 4] = ["capture", "read", "print", "interfaces"];

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "help_names_every_subcommand",
            &[Need::Program],
            help_names_every_subcommand,
        ),
        Test::new("version_is_printed", &[Need::Program], version_is_printed),
        Test::new(
            "usage_errors_exit_with_2",
            &[Need::Program],
            usage_errors_exit_with_2,
        ),
        Test::new(
            "no_arguments_without_a_terminal_is_a_usage_error",
            &[Need::Program],
            no_arguments_without_a_terminal_is_a_usage_error,
        ),
        Test::new(
            "a_missing_file_is_one_line_and_exits_with_1",
            &[Need::Program],
            a_missing_file_is_one_line_and_exits_with_1,
        ),
        Test::new(
            "a_file_that_is_no_capture_is_one_line_and_exits_with_1",
            &[Need::Program],
            a_file_that_is_no_capture_is_one_line_and_exits_with_1,
        ),
        Test::new(
            "a_filter_that_libpcap_refuses_is_a_usage_error_in_its_words",
            &[Need::Program],
            a_filter_that_libpcap_refuses_is_a_usage_error_in_its_words,
        ),
        Test::new(
            "a_file_is_read_through_a_filter_with_names",
            &[Need::Program],
            a_file_is_read_through_a_filter_with_names,
        ),
        Test::new(
            "every_output_of_a_file_is_written",
            &[Need::Program],
            every_output_of_a_file_is_written,
        ),
        Test::new(
            "a_filter_is_printed_as_classic_bpf_and_as_ebpf",
            &[Need::Program],
            a_filter_is_printed_as_classic_bpf_and_as_ebpf,
        ),
        Test::new(
            "a_configuration_is_shown_as_a_command_line",
            &[Need::Program],
            a_configuration_is_shown_as_a_command_line,
        ),
        Test::new(
            "a_wrong_configuration_is_a_usage_error_with_places",
            &[Need::Program],
            a_wrong_configuration_is_a_usage_error_with_places,
        ),
        Test::new(
            "interfaces_lists_loopback",
            &[Need::Program],
            interfaces_lists_loopback,
        ),
    ])
}

fn help_names_every_subcommand() -> Result<()> {
    let output = traffic(&["--help"])?;
    expect_code(&output, 0)?;
    let help = stdout(&output);
    for name in SUBCOMMANDS {
        ensure!(help.contains(name), "{name} is not in:\n{help}");
        let output = traffic(&[name, "--help"])?;
        expect_code(&output, 0)?;
        ensure!(stdout(&output).contains(&format!("Usage: traffic {name}")));
    }
    Ok(())
}

fn version_is_printed() -> Result<()> {
    let output = traffic(&["--version"])?;
    expect_code(&output, 0)?;
    ensure!(stdout(&output).trim() == format!("traffic {}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

fn usage_errors_exit_with_2() -> Result<()> {
    let wrong: [&[&str]; 10] = [
        &["no-such-subcommand"],
        &["capture", "--no-such-flag"],
        &["capture", "--hook", "socket"],
        &["capture", "--direction", "sideways"],
        &["capture", "--protocol", "ipx"],
        &["capture", "--duration", "soon"],
        &["capture", "--count", "0"],
        &["capture", "--sample", "0"],
        &["capture", "--buffer-size", "8G"],
        &["read"],
    ];
    for args in wrong {
        let output = traffic(args)?;
        expect_code(&output, 2)?;
        ensure!(output.stdout.is_empty(), "{args:?} wrote to stdout");
        ensure!(
            stderr(&output).starts_with("error: "),
            "{args:?} said: {}",
            stderr(&output)
        );
    }
    Ok(())
}

fn no_arguments_without_a_terminal_is_a_usage_error() -> Result<()> {
    let output = traffic::<&str>(&[])?;
    expect_code(&output, 2)?;
    ensure!(stderr(&output).contains("Usage: traffic"));
    Ok(())
}

fn a_missing_file_is_one_line_and_exits_with_1() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let page = directory.path().join("report.html").display().to_string();
    expect_one_line_about(
        &traffic(&["read", "no-such-file.pcap", "--html", &page])?,
        "no-such-file.pcap",
    )?;
    ensure!(fs::read_dir(&directory)?.next().is_none(), "it left a file");
    Ok(())
}

fn a_file_that_is_no_capture_is_one_line_and_exits_with_1() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("letter.pcap");
    fs::write(&file, "Dear reader, these are no packets.")?;
    expect_one_line_about(
        &traffic(&["read".as_ref(), file.as_os_str()])?,
        "letter.pcap",
    )
}

fn a_filter_that_libpcap_refuses_is_a_usage_error_in_its_words() -> Result<()> {
    for (words, says) in [
        (&["tcp", "port"][..], "syntax error, where it ends"),
        (
            &["tcp", "prot", "80"],
            "syntax error, at 'prot' (character 5)",
        ),
        (&["-f", "host nosuch.invalid and"], "error"),
        (&["outbound"], "--direction out"),
    ] {
        let output = traffic(&[&["capture", "--dump-filter"], words].concat())?;
        expect_code(&output, 2)?;
        let text = stderr(&output);
        ensure!(
            text.starts_with("error: filter '") && text.contains(says) && text.lines().count() == 1,
            "{words:?}: {text}"
        );
    }
    let both = traffic(&["capture", "-f", "tcp", "udp"])?;
    expect_code(&both, 2)
}

/// Names are looked up although a process that reads packets may look up nothing.
fn a_file_is_read_through_a_filter_with_names() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("udp.pcap");
    let ports = [53_u16, 53, 80];
    fs::write(&file, udp_capture(&ports))?;
    let matched = |filter: &str| -> Result<Value> {
        let output = traffic(&[
            "read".as_ref(),
            file.as_os_str(),
            "-qq".as_ref(),
            "--json".as_ref(),
            "-".as_ref(),
            "-f".as_ref(),
            filter.as_ref(),
        ])?;
        ensure!(output.status.success(), "{filter}: {}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(report["ledger"]["matched"].clone())
    };
    for (filter, expected) in [
        ("udp dst port 53", 2),
        ("udp dst port domain", 2),
        ("dst host localhost", 3),
        ("tcp", 0),
    ] {
        let matched = matched(filter)?;
        ensure!(matched == expected, "{filter}: {matched}");
    }
    let unknown = traffic(&[
        "read".as_ref(),
        file.as_os_str(),
        "-f".as_ref(),
        "host nosuch.invalid".as_ref(),
    ])?;
    expect_code(&unknown, 2)
}

fn every_output_of_a_file_is_written() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("udp.pcap"), udp_capture(&[53]))?;
    let outputs = [
        ["--csv", "tables"],
        ["--html", "a.html"],
        ["--json", "a.json"],
        ["--packets", "a.jsonl"],
        ["--plot", "a.png"],
        ["--plot", "sizes=a.svg"],
        ["-w", "b.pcapng"],
    ];
    let mut args = vec!["read".to_owned(), path("udp.pcap")];
    for [option, value] in outputs {
        let (kind, name) = value.split_once('=').unwrap_or(("", value));
        let separator = if kind.is_empty() { "" } else { "=" };
        args.extend([
            option.to_owned(),
            format!("{kind}{separator}{}", path(name)),
        ]);
    }
    let output = traffic(&args)?;
    ensure!(output.status.success(), "{}", stderr(&output));
    for [_, value] in outputs {
        let name = value.rsplit('=').next().unwrap_or(value);
        ensure!(fs::metadata(path(name))?.len() > 0, "{name} is empty");
    }
    ensure!(fs::metadata(path("tables/protocols.csv"))?.len() > 0);
    Ok(())
}

/// A pcap file of IPv4 packets from and to 127.0.0.1 with a UDP header alone, to these ports.
fn udp_capture(ports: &[u16]) -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 101];
    let mut file: Vec<u8> = header.map(u32::to_ne_bytes).concat();
    for port in ports {
        file.extend([0_u32, 0, 28, 28].map(u32::to_ne_bytes).concat());
        file.extend([
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
        ]);
        file.extend([0x30, 0x39]);
        file.extend(port.to_be_bytes());
        file.extend([0, 8, 0, 0]);
    }
    file
}

fn a_filter_is_printed_as_classic_bpf_and_as_ebpf() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("filter");
    fs::write(&file, "arp\n")?;
    let from_file = traffic(&[
        "capture".as_ref(),
        "--dump-filter".as_ref(),
        "-F".as_ref(),
        file.as_os_str(),
    ])?;
    let from_words = traffic(&["capture", "--dump-filter", "arp"])?;
    for output in [from_file, from_words] {
        expect_code(&output, 0)?;
        let text = stdout(&output);
        ensure!(text.starts_with("(000) ldh      [12]\n"), "{text}");
        ensure!(text.contains("r4 = be16 r4\n"), "{text}");
    }
    Ok(())
}

fn a_configuration_is_shown_as_a_command_line() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("t.toml");
    let example = traffic(&["config", "example"])?;
    expect_code(&example, 0)?;
    let settings = "interface = 'lo'\nfilter = 'tcp port 80'\nlive = true\n";
    fs::write(&file, [&example.stdout, settings.as_bytes()].concat())?;
    let output = traffic(&["config".as_ref(), "check".as_ref(), file.as_os_str()])?;
    expect_code(&output, 0)?;
    ensure!(
        stdout(&output) == "traffic capture --interface=lo '--filter=tcp port 80' --live\n",
        "{}",
        stdout(&output)
    );
    Ok(())
}

fn a_wrong_configuration_is_a_usage_error_with_places() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("t.toml");
    fs::write(&file, "hok = 'tc'\nbins = true\n")?;
    for words in [["config", "check"], ["capture", "--config"]] {
        let output = traffic(&[words[0].as_ref(), words[1].as_ref(), file.as_os_str()])?;
        expect_code(&output, 2)?;
        let said = String::from_utf8_lossy(&output.stderr).replace(&*file.to_string_lossy(), "");
        ensure!(
            said == "error: :1:1: unknown key hok: did you mean hook?\n\
                     :2:8: bins is a string or a number, not a boolean\n",
            "{said}"
        );
    }
    let output = traffic(&["capture", "--config", "/no/such/file"])?;
    expect_code(&output, 1)
}

fn interfaces_lists_loopback() -> Result<()> {
    let output = traffic(&["interfaces"])?;
    expect_code(&output, 0)?;
    ensure!(
        stdout(&output)
            .lines()
            .any(|line| line.split_whitespace().any(|word| word == "lo")),
        "no lo in:\n{}",
        stdout(&output)
    );
    Ok(())
}

fn expect_one_line_about(output: &Output, name: &str) -> Result<()> {
    expect_code(output, 1)?;
    let text = stderr(output);
    ensure!(
        text.starts_with("error: ") && text.contains(name) && text.lines().count() == 1,
        "not one line about {name}: {text}"
    );
    Ok(())
}

fn expect_code(output: &Output, code: i32) -> Result<()> {
    ensure!(
        output.status.code() == Some(code),
        "expected exit code {code}: {}\n{}{}",
        output.status,
        stdout(output),
        stderr(output)
    );
    Ok(())
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
