use std::time::Duration;

use super::*;
use crate::cli::{CaptureArgs, Hook};

fn parsed(text: &str) -> Result<File, Vec<String>> {
    File::parse(Path::new("t.toml"), text.to_owned()).map_err(|error| said(&error))
}

/// The lines of an error.
fn said(error: &CommandLineError) -> Vec<String> {
    error.to_string().lines().map(str::to_owned).collect()
}

/// `traffic capture WORDS --config FILE`, with `text` in the file.
fn capture_with(text: &str, words: &[&str]) -> Result<CaptureArgs, CommandLineError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let words = [&["traffic", CAPTURE], words].concat();
    let words = words.into_iter().map(OsString::from);
    let config = [OsString::from("--config"), file.path().into()];
    match Cli::from_command_line(words.chain(config))?.command {
        Some(crate::cli::Command::Capture(args)) => Ok(*args),
        other => panic!("{other:?}"),
    }
}

/// A value that clap takes for a flag.
fn some_value(flag: &Arg) -> String {
    let possible = flag.get_possible_values();
    if let Some(value) = possible.first() {
        return format!("{:?}", value.get_name());
    }
    let samples = [
        "1",
        "\"1s\"",
        "\"800x600\"",
        "\"640\"",
        "\"duration:1\"",
        "\"syn_scan_targets=20\"",
        "\"clickhouse://db/traffic\"",
    ];
    let takes = |sample: &&&str| {
        let text = format!("{} = {sample}", flag::key(flag));
        parsed(&text).is_ok()
    };
    let sample = samples.iter().find(takes);
    (*sample.unwrap_or_else(|| panic!("add a sample that {flag} takes"))).to_owned()
}

#[test]
fn every_flag_of_capture_is_a_key() {
    let capture = capture();
    let mut count = 0;
    for flag in flag::all(&capture) {
        let key = flag::key(flag);
        let text = if flag.get_action().takes_values() {
            format!("{key} = {}", some_value(flag))
        } else {
            format!("{key} = true")
        };
        let file = parsed(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let words: Vec<_> = file.words().collect();
        let matches = try_flags(&capture, &words);
        match matches {
            Ok(matches) => assert!(is_given(&matches, flag), "{text}"),
            // It needs another flag; its own words were understood.
            Err(error) => assert!(!is_about_value(&error), "{text}: {error}"),
        }
        count += 1;
    }
    let arguments = capture.get_arguments().filter(|flag| !flag.is_positional());
    // All but `config` and `help`.
    assert_eq!(count, arguments.count() - 2);
}

#[test]
fn values_mean_what_they_mean_on_a_command_line() {
    let args = capture_with(
        "interface = [\"eth0\", \"eth1\"]\nduration = 90\nmax-loss = 0.5\nhook = \"xdp\"\n\
         write = \"a.pcapng\"\nC = \"100M\"\nverbose = 2\ncounters-only = true\nlive = false\n",
        &[],
    )
    .unwrap();
    assert_eq!(args.interfaces, ["eth0", "eth1"]);
    assert_eq!(args.duration, Duration::from_secs(90));
    assert_eq!(args.max_loss, Some(0.5));
    assert_eq!(args.hook, Hook::Xdp);
    assert_eq!(args.files.file_size, Some(100 << 20));
    assert_eq!(args.output.verbose, 2);
    assert!(args.counters_only && !args.live);
}

#[test]
fn rotation_in_a_file_goes_on_until_stopped() {
    let args = capture_with("write = \"a\"\nG = 60\n", &[]).unwrap();
    assert_eq!(args.duration, Duration::ZERO);
}

#[test]
fn the_command_line_goes_before_the_file() {
    let text = "interface = [\"a\", \"b\"]\nduration = \"5m\"\nfilter = \"udp\"\nprint = true\n";
    let words = ["-i", "c", "-d", "1s", "--live", "tcp", "port", "80"];
    let args = capture_with(text, &words).unwrap();
    assert_eq!(args.interfaces, ["c"]);
    assert_eq!(args.duration, Duration::from_secs(1));
    // What the command line excludes is not taken from the file.
    assert_eq!(args.filter.expression, None);
    assert_eq!(args.words, ["tcp", "port", "80"]);
    assert!(args.live && !args.print);
}

#[test]
fn both_together_may_give_what_one_of_them_lacks() {
    assert!(capture_with("write = \"a\"", &["--compress", "zstd"]).is_ok());
    assert!(capture_with("compress = \"zstd\"", &["-w", "a"]).is_ok());
}

#[test]
fn an_unknown_key_is_told_the_nearest() {
    for (text, message) in [
        (
            "\nhok = \"tc\"",
            "t.toml:2:1: unknown key hok: did you mean hook?",
        ),
        (
            "  intrface = 1",
            "t.toml:1:3: unknown key intrface: did you mean interface?",
        ),
        (
            "q9 = 1",
            "t.toml:1:1: unknown key q9: keys are the flags of `traffic capture`",
        ),
        (
            "config = \"b.toml\"",
            "t.toml:1:1: unknown key config: keys are the flags of `traffic capture`",
        ),
    ] {
        assert_eq!(parsed(text).err(), Some(vec![message.to_owned()]));
    }
}

#[test]
fn a_wrong_value_is_told_what_is_allowed() {
    for (text, message) in [
        (
            "live = 1",
            "t.toml:1:8: live is true or false, not this integer",
        ),
        (
            "verbose = 256",
            "t.toml:1:11: verbose is 0 to 255, true or false, not this integer",
        ),
        (
            "write = [\"ä\"]",
            "t.toml:1:9: write is a string or a number, not an array",
        ),
        (
            "json = [\"ä\", true]",
            "t.toml:1:14: json is a string, a number, or an array of them, not a boolean",
        ),
        (
            "hook = \"xpd\"",
            "t.toml:1:8: invalid value 'xpd' for '--hook <HOOK>' \
             [possible values: auto, tc, xdp]",
        ),
        (
            "bins = 0",
            "t.toml:1:8: invalid value '0' for '--bins <N>': 0 is not in 1..=1000",
        ),
    ] {
        assert_eq!(parsed(text).err(), Some(vec![message.to_owned()]), "{text}");
    }
}

#[test]
fn every_problem_is_named_in_the_order_of_lines() {
    let problems = parsed("live = 3\nbins = 0\nlive = true\n[capture]\n= 4\n")
        .err()
        .unwrap();
    let places: Vec<_> = problems.iter().map(|line| &line[..10]).collect();
    assert_eq!(
        places,
        [
            "t.toml:1:8",
            "t.toml:2:8",
            "t.toml:3:1",
            "t.toml:4:2",
            "t.toml:5:1"
        ]
    );
}

#[test]
fn keys_that_exclude_or_need_each_other_are_located() {
    let error = capture_with("bins = 5\nlive = true\nprint = true\n", &[]).unwrap_err();
    let message = said(&error).concat();
    assert!(
        message.ends_with(":3:1: the argument '--live' cannot be used with '--print'"),
        "{message}"
    );
    let error = capture_with("bins = 5\nG = 3\n", &[]).unwrap_err();
    let message = said(&error).concat();
    assert!(
        message
            .ends_with(":2:1: the following required arguments were not provided: --write <FILE>"),
        "{message}"
    );
    // An error of the command line is its own.
    let error = capture_with("bins = 5\n", &["--compress", "zstd"]).unwrap_err();
    assert!(matches!(error, CommandLineError::Refused(_)));
}

#[test]
fn the_example_is_a_file_of_defaults() {
    let example = example();
    assert!(parsed(&example).unwrap().settings.is_empty());
    let capture = capture();
    for flag in flag::all(&capture) {
        let key = flag::key(flag);
        let begin = format!("\n#{key} = ");
        let (_, rest) = example
            .split_once(&begin)
            .unwrap_or_else(|| panic!("{key}"));
        if flag.get_default_values().is_empty() && flag.get_action().takes_values() {
            continue;
        }
        let line = rest.lines().next().unwrap();
        let set = format!("{key} = {line}");
        parsed(&set).unwrap_or_else(|error| panic!("{set}: {error:?}"));
    }
    assert!(example.lines().all(|line| line.chars().count() <= 96));
}
