//! Hands the eBPF object to the program, which embeds `$OUT_DIR/traffic-bpf.o`.
//!
//! Without an object an empty one is embedded, so that everything that needs no kernel builds,
//! lints and tests without eBPF tools.

use std::{env, fs, io, path::PathBuf};

const VARIABLE: &str = "TRAFFIC_EBPF_OBJ";
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ebpf/traffic-bpf.o");

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let object = named.clone().unwrap_or_else(|| DEFAULT.into());
    println!("cargo::rerun-if-changed={}", object.display());

    let bytes = match fs::read(&object) {
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
            println!(
                "cargo::warning=built without eBPF programs: `cargo xtask build` makes them first"
            );
            Vec::new()
        }
        read => read.map_err(|error| io::Error::other(format!("{}: {error}", object.display())))?,
    };
    let out_dir = env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR");
    fs::write(PathBuf::from(out_dir).join("traffic-bpf.o"), bytes)
}
