//! Embeds the eBPF object that `cargo xtask build` made.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=TRAFFIC_EBPF_OBJ");
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/traffic-bpf.o");
    let object = env::var_os("TRAFFIC_EBPF_OBJ").map_or(built, PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let bytes = fs::read(&object).unwrap_or_else(|_| {
        println!("cargo:warning=no eBPF object embedded: run `cargo xtask build`");
        Vec::new()
    });
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("traffic-bpf.o"), bytes).expect("OUT_DIR is writable");
}
