//! The eBPF object: what the loader looks for is there, and the kernel accepts every program with
//! every setting.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol};
use traffic_ebpf::{
    config::{CONFIG, Config, LINK_ETHERNET, LINK_IP},
    protocol::{Selection, Selector},
};
use traffic_tests::{Need, Test, program};
use traffic_user::kernel::{Access, Bench, PacketProgram, Settings, xdp_can_copy_frames};

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "the_object_has_every_name_that_the_loader_looks_for",
            &[Need::Object],
            the_object_has_every_name_that_the_loader_looks_for,
        ),
        Test::new(
            "the_kernel_accepts_every_program_with_every_setting",
            &[Need::Root, Need::Object],
            || accepts(variants().iter().step_by(SHORT_STEP)),
        ),
        Test::new(
            "the_kernel_accepts_every_program_with_every_combination_of_settings",
            &[Need::Root, Need::Object, Need::Long],
            || accepts(variants().iter()),
        ),
    ])
}

const MAPS: [&str; 8] = [
    "GATE",
    "BATCHES",
    "COUNTERS",
    "SLOTS",
    "NUMBERED",
    "SLOT_NUMBERED",
    "INTERFACES",
    "RING",
];

fn the_object_has_every_name_that_the_loader_looks_for() -> Result<()> {
    let bytes = std::fs::read(program::object())?;
    let object = object::File::parse(&*bytes)?;
    let section_of = |name: &str| {
        let symbol = object.symbols().find(|symbol| symbol.name() == Ok(name));
        let symbol = symbol.with_context(|| format!("find {name}"))?;
        let index = symbol.section_index().context("it has no section")?;
        let section = object.section_by_index(index)?;
        anyhow::Ok((section.name()?.to_owned(), symbol.size()))
    };
    for (program, section) in [
        (PacketProgram::Xdp.name(), "xdp"),
        (PacketProgram::XdpFrags.name(), "xdp.frags"),
        (PacketProgram::Ingress.name(), "classifier"),
        (PacketProgram::Egress.name(), "classifier"),
        ("traffic_flush", "raw_tp"),
    ] {
        let found = section_of(program)?.0;
        let kind = found.split('/').next().unwrap_or_default();
        ensure!(kind == section, "{program} lies in {found}");
    }
    for map in MAPS {
        let found = section_of(map)?.0;
        ensure!(found == "maps" || found == ".maps", "{map} lies in {found}");
    }
    let (section, size) = section_of(CONFIG)?;
    ensure!(section.starts_with(".rodata"), "CONFIG lies in {section}");
    ensure!(
        size == size_of::<Config>() as u64,
        "CONFIG has {size} bytes, the loader writes {}",
        size_of::<Config>()
    );
    ensure!(
        object.section_by_name("license").is_some(),
        "the object has no license"
    );
    Ok(())
}

/// What the verifier may go through at most for one program. The kernel gives up at a million; less
/// than a third leaves room for kernels that judge differently.
const MOST_INSTRUCTIONS: u32 = 300_000;

/// Settings that change what the verifier sees.
#[derive(Clone, Debug)]
struct Variant {
    settings: Settings,
    links: &'static [u32],
    access: Access,
}

/// Of the combinations, those that a short run tries; prime, so that each choice is among them.
const SHORT_STEP: usize = 41;

fn accepts<'a>(variants: impl Iterator<Item = &'a Variant>) -> Result<()> {
    let mut accepted = 0;
    let mut most: Vec<_> = PacketProgram::ALL
        .into_iter()
        .filter(|program| *program != PacketProgram::XdpFrags || xdp_can_copy_frames())
        .map(|program| (program, 0, String::new()))
        .collect();
    for variant in variants {
        let mut bench = Bench::load(&variant.settings, variant.links, variant.access)?;
        for (program, count, with) in &mut most {
            let instructions = bench.verified_instructions(*program);
            let instructions = instructions.with_context(|| format!("{variant:?}"))?;
            // An old kernel that does not say has accepted it all the same.
            let Some(instructions) = instructions else {
                continue;
            };
            ensure!(
                (1..MOST_INSTRUCTIONS).contains(&instructions),
                "{} takes {instructions} instructions with {variant:?}",
                program.name()
            );
            if instructions > *count {
                (*count, *with) = (instructions, format!("{variant:?}"));
            }
        }
        accepted += 1;
    }
    println!("{accepted} variants of each program are accepted");
    for (program, count, with) in most.into_iter().filter(|(_, count, _)| *count > 0) {
        println!(
            "{}: at most {count} instructions, with {with}",
            program.name()
        );
    }
    Ok(())
}

/// Every combination.
fn variants() -> Vec<Variant> {
    let plain = Variant {
        settings: Settings {
            ring_bytes: 4096,
            ..Settings::default()
        },
        links: &[LINK_ETHERNET],
        access: Access::of_this_kernel(),
    };
    let mut variants = vec![plain];
    each(&mut variants, &[0, 128, 262_144], |v, snaplen| {
        v.settings.snaplen = snaplen;
    });
    each(&mut variants, &[None, Some(10)], |v, count| {
        v.settings.count = count;
    });
    let dns = Selection::default().with(Selector::Dns);
    each(&mut variants, &[Selection::default(), dns], |v, some| {
        v.settings.selection = some;
    });
    each(
        &mut variants,
        &[None, Some(Duration::from_mins(1))],
        |v, planned| {
            v.settings.planned = planned;
        },
    );
    each(&mut variants, &[true, false], |v, summaries| {
        v.settings.summaries = summaries;
    });
    each(&mut variants, &[true, false], |v, diagnostics| {
        v.settings.diagnostics = diagnostics;
    });
    let ways: &[bool] = if xdp_can_copy_frames() {
        &[true, false]
    } else {
        &[false]
    };
    each(&mut variants, ways, |v, has| v.access.xdp_load_bytes = has);
    let links: [&[u32]; 3] = [&[LINK_ETHERNET], &[LINK_IP], &[LINK_ETHERNET, LINK_IP]];
    each(&mut variants, &links, |v, links| v.links = links);
    variants
}

/// Makes of every variant one per choice.
fn each<T: Copy>(variants: &mut Vec<Variant>, choices: &[T], set: fn(&mut Variant, T)) {
    *variants = variants
        .iter()
        .flat_map(|variant| {
            choices.iter().map(move |choice| {
                let mut variant = variant.clone();
                set(&mut variant, *choice);
                variant
            })
        })
        .collect();
}
