use super::*;
use crate::report::{example, series::Colour};

#[test]
fn pictures_of_every_kind_of_report() {
    let (directory, keep) = directory();
    fs::create_dir_all(&directory).unwrap();
    for (name, report, options) in pictured() {
        for extension in ["png", "svg"] {
            let path = directory.join(format!("{name}.{extension}"));
            write(&report, &path, &options).unwrap();
            assert!(fs::metadata(&path).unwrap().len() > 1000, "{name}");
        }
    }
    if !keep {
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn every_bin_is_a_bar_of_its_own_height() {
    for bins in [1, 30, 1000] {
        let report = example::with_bins(bins);
        let picture = svg(&report, &ChartOptions::default()).unwrap();
        let bars = rectangles(&picture, Colour(0x00, 0x72, 0xB2));
        // One more is the legend's.
        assert_eq!(bars.len(), bins + 1);
        let tcp = &report.timeline.by_protocol["tcp"];
        for pair in [(0, bins - 1), (0, bins / 2), (bins / 3, bins / 2)] {
            let (a, b) = (f64::from(bars[pair.0 + 1]), f64::from(bars[pair.1 + 1]));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let expected = tcp[pair.0] as f64 / tcp[pair.1] as f64;
            assert!((a / b - expected).abs() < 0.02, "{pair:?}: {a} / {b}");
        }
    }
}

#[test]
fn the_svg_names_describes_and_escapes() {
    let report = example::hostile("</desc><script>&\u{1b}");
    let picture = svg(&report, &ChartOptions::default()).unwrap();
    for words in [
        "<title id=\"title\">Network Traffic Analysis</title>",
        "Time Since Start (seconds)",
        "Number of Packets",
        "viewBox=\"0 0 2400 1800\"",
        "width=\"800\" height=\"600\"",
    ] {
        assert!(picture.contains(words), "{words}");
    }
    assert!(!picture.contains("<script") && !picture.contains('\u{1b}'));
    assert_eq!(picture.matches("</svg>").count(), 1);
}

#[test]
fn without_packets_the_picture_says_so() {
    for report in [example::empty(), example::empty_file()] {
        let picture = svg(&report, &ChartOptions::default()).unwrap();
        assert!(picture.contains("No packets captured"));
    }
    let picture = svg(&example::one_packet(), &ChartOptions::default()).unwrap();
    assert!(!picture.contains("No packets captured"));
}

#[test]
fn bins_with_losses_are_shaded() {
    let shade = Colour(0xC6, 0x28, 0x28);
    let picture = svg(&example::with_losses(), &ChartOptions::default()).unwrap();
    assert_eq!(rectangles(&picture, shade).len(), 3 + 1);
    let picture = svg(&example::report(), &ChartOptions::default()).unwrap();
    assert_eq!(rectangles(&picture, shade).len(), 0);
}

#[test]
fn a_png_has_the_size_that_was_asked_for() {
    for size in [DEFAULT_SIZE, (200, 200), (2400, 1800)] {
        let file = png(&example::report(), &sized(size)).unwrap();
        let reader = ::png::Decoder::new(file.as_slice()).read_info().unwrap();
        assert_eq!(reader.info().size(), size);
    }
}

#[test]
fn impossible_pictures_are_refused_by_name() {
    let report = example::report();
    let error = write_histogram(&report, Path::new("a.jpg"), DEFAULT_SIZE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot tell the picture format of a.jpg (allowed: .png, .svg)"
    );
    assert!(ChartFormat::from_path(Path::new("png")).is_err());
    assert_eq!(
        ChartFormat::from_path(Path::new("A.SVG")).unwrap(),
        ChartFormat::Svg
    );
    let error = png(&report, &sized((0, 600))).unwrap_err();
    assert!(error.to_string().contains("0x600"), "{error}");
    let nowhere = Path::new("/nonexistent/a.svg");
    let error = write_histogram(&report, nowhere, DEFAULT_SIZE).unwrap_err();
    assert_eq!(error.to_string(), "write chart to /nonexistent/a.svg");
}

/// Heights of the rectangles filled with `colour`, in order.
fn rectangles(svg: &str, colour: Colour) -> Vec<u32> {
    let fill = format!("fill=\"{}\"", colour.to_string().to_uppercase());
    svg.split("<rect ")
        .skip(1)
        .filter(|tag| tag.contains(&fill))
        .filter_map(|tag| {
            let (_, height) = tag.split_once("height=\"")?;
            height.split('"').next()?.parse().ok()
        })
        .collect()
}

#[test]
fn every_kind_draws_every_report() {
    for kind in [
        ChartKind::Histogram,
        ChartKind::Throughput,
        ChartKind::ProtocolShare,
        ChartKind::FrameSizes,
        ChartKind::TopSources,
    ] {
        for size in [(200, 200), DEFAULT_SIZE, (8192, 200)] {
            let options = ChartOptions {
                kind,
                ..sized(size)
            };
            for (report, packets) in [
                (example::with_protocols(15), true),
                (example::empty(), false),
                (example::empty_file(), false),
            ] {
                let picture = svg(&report, &options).unwrap();
                let nothing = picture.contains("No packets captured");
                assert_eq!(nothing, !packets, "{kind:?} {size:?}");
            }
        }
    }
}

fn sized(size: (u32, u32)) -> ChartOptions {
    ChartOptions {
        size,
        ..ChartOptions::default()
    }
}

fn pictured() -> Vec<(&'static str, Report, ChartOptions)> {
    let histogram = ChartOptions::default();
    let of = |kind| ChartOptions { kind, ..histogram };
    let dark = ChartOptions {
        theme: Theme::Dark,
        ..histogram
    };
    let mut peak = example::report();
    peak.timeline.bins[11] += 2_000_000;
    peak.timeline.by_protocol.get_mut("udp").unwrap()[11] += 2_000_000;
    vec![
        ("demo", example::report(), histogram),
        ("dark", example::with_losses(), dark),
        ("one", example::one_packet(), histogram),
        ("empty", example::empty(), histogram),
        ("empty-file", example::empty_file(), histogram),
        ("thousand", example::with_bins(1000), histogram),
        ("peak", peak, histogram),
        ("fifteen", example::with_protocols(15), histogram),
        ("losses", example::with_losses(), histogram),
        ("short", example::with_duration(0.01), histogram),
        ("hour", example::with_duration(3600.0), histogram),
        ("month", example::with_duration(30.0 * 86_400.0), histogram),
        (
            "throughput",
            example::with_losses(),
            of(ChartKind::Throughput),
        ),
        (
            "share",
            example::with_protocols(15),
            of(ChartKind::ProtocolShare),
        ),
        ("sources", example::with_losses(), of(ChartKind::TopSources)),
        ("sizes", example::with_losses(), of(ChartKind::FrameSizes)),
        (
            "sizes-dark",
            example::report(),
            ChartOptions {
                theme: Theme::Dark,
                size: (1200, 500),
                ..of(ChartKind::FrameSizes)
            },
        ),
    ]
}

/// Where pictures go, and whether they stay to be looked at.
fn directory() -> (PathBuf, bool) {
    let wanted = std::env::var_os("TRAFFIC_PICTURES").map(PathBuf::from);
    let name = format!("traffic-pictures-{}", std::process::id());
    let keep = wanted.is_some();
    let directory = wanted.unwrap_or_else(|| std::env::temp_dir().join(name));
    (directory, keep)
}
