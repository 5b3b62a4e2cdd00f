//! Debian's kernels, and the modules of theirs that the tests use.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{
    packages::{Archive, stdout},
    tools::Tools,
};
use crate::process;

/// The kernel with the highest number that Debian has.
pub(crate) const NEWEST: &str = "newest";

/// Modules that the tests use; what they need comes with them.
pub(crate) const MODULES: [&str; 14] = [
    "veth",
    "sch_ingress",
    "cls_bpf",
    "8021q",
    "dummy",
    "tun",
    "bridge",
    "macvlan",
    "sch_netem",
    "wireguard",
    // The disk.
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
];

/// Lists the modules that were kept of a kernel.
const KEPT: &str = "modules";

/// A kernel below `target/`.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What it was asked for as: the beginning of its release, or `newest`.
    pub(crate) name: String,
    directory: PathBuf,
}

impl Kernel {
    /// The kernel that was fetched before, with the modules of today.
    pub(crate) fn cached(name: &str) -> Option<Self> {
        let kernel = Self {
            name: name.to_owned(),
            directory: process::target().join("vm/kernels").join(name),
        };
        let kept = fs::read_to_string(kernel.directory.join(KEPT));
        (kept.ok()? == MODULES.join("\n")).then_some(kernel)
    }

    /// Fetches the newest kernel of Debian whose release begins with `name`.
    pub(crate) fn fetch(name: &str, archive: &Archive, tools: &Tools) -> Result<Self> {
        let image = image(name, archive)?;
        let mut packages = vec![image.clone()];
        // Debian 14 splits the package.
        packages.extend(archive.dependencies(&image)?.into_iter().filter(|package| {
            package.starts_with("linux-binary-") || package.starts_with("linux-modules-")
        }));
        let directory = process::target().join("vm/kernels").join(name);
        let parent = directory.parent().context("it has a parent")?;
        fs::create_dir_all(parent).context("make room for kernels")?;
        let whole = tempfile::tempdir_in(parent).context("make room for a kernel")?;
        archive.unpack(&packages, whole.path())?;
        let part = tempfile::tempdir_in(parent).context("make room for a kernel")?;
        keep(whole.path(), part.path(), tools).with_context(|| format!("unpack {image}"))?;
        if directory.is_dir() {
            fs::remove_dir_all(&directory).context("remove the kernel from before")?;
        }
        fs::rename(part.keep(), &directory).context("keep the kernel")?;
        Ok(Self {
            name: name.to_owned(),
            directory,
        })
    }

    /// The file to boot.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// What the root directory of a machine with this kernel holds of it.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }
}

/// The package with the highest number.
fn image(name: &str, archive: &Archive) -> Result<String> {
    let prefix = if name == NEWEST {
        "linux-image-".to_owned()
    } else {
        format!("linux-image-{name}.")
    };
    let images = archive.names(&prefix)?.into_iter().filter(|package| {
        let release = package["linux-image-".len()..].strip_suffix("-amd64");
        release.is_some_and(is_plain)
    });
    images
        .max_by_key(|package| numbers(package))
        .with_context(|| format!("find a kernel {name} in Debian"))
}

/// Whether a release is no flavour such as `cloud`, and no package that only names another.
fn is_plain(release: &str) -> bool {
    let starts_with_numbers = release
        .split('.')
        .take(3)
        .filter(|part| part.starts_with(|first: char| first.is_ascii_digit()));
    starts_with_numbers.count() == 3
        && !["cloud", "rt", "unsigned"]
            .iter()
            .any(|flavour| release.split('-').any(|part| part == *flavour))
}

/// The numbers in a name, to compare by.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// Moves what is used of the unpacked packages: the image, and modules with what they need.
fn keep(from: &Path, to: &Path, tools: &Tools) -> Result<()> {
    let lib = ["usr/lib/modules", "lib/modules"]
        .map(|lib| from.join(lib))
        .into_iter()
        .find(|lib| lib.is_dir())
        .context("find its modules")?;
    let release = only_entry(&lib)?;
    let modules = lib.join(&release);
    let image = [
        from.join("boot").join(format!("vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ];
    let image = image.into_iter().find(|file| file.is_file());
    fs::copy(image.context("find its image")?, to.join("vmlinuz"))?;
    let base = lib
        .parent()
        .and_then(Path::parent)
        .context("it has parents")?;
    stdout(tools.command("depmod").arg("-b").arg(base).arg(&release))?;
    let kept = to.join("root/lib/modules").join(&release);
    fs::create_dir_all(&kept)?;
    for file in needed(&fs::read_to_string(modules.join("modules.dep"))?) {
        let place = kept.join(&file);
        fs::create_dir_all(place.parent().context("it has a parent")?)?;
        fs::copy(modules.join(&file), place).with_context(|| format!("copy {file}"))?;
    }
    fs::write(to.join(KEPT), MODULES.join("\n"))?;
    for index in ["modules.dep", "modules.alias", "modules.symbols"] {
        fs::copy(modules.join(index), kept.join(index))?;
    }
    Ok(())
}

fn only_entry(directory: &Path) -> Result<String> {
    let names: Vec<_> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    ensure!(names.len() == 1, "{} holds {names:?}", directory.display());
    Ok(names[0].to_string_lossy().into_owned())
}

/// Files of the modules that the tests use and of those they need, by `modules.dep(5)`.
fn needed(dependencies: &str) -> Vec<String> {
    let mut files: Vec<String> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(file, _)| MODULES.contains(&module(file)))
        .flat_map(|(file, needs)| std::iter::once(file).chain(needs.split_whitespace()))
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// Name of the module in a file such as `kernel/drivers/net/veth.ko.xz`.
fn module(file: &str) -> &str {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    name.split_once('.').map_or(name, |(module, _)| module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_with_what_they_need() {
        let dependencies = "kernel/drivers/net/veth.ko.xz:\n\
                            kernel/net/8021q/8021q.ko.xz: kernel/net/802/mrp.ko.xz kernel/net/llc/llc.ko.xz\n\
                            kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\n";
        assert_eq!(
            needed(dependencies),
            [
                "kernel/drivers/net/veth.ko.xz",
                "kernel/net/802/mrp.ko.xz",
                "kernel/net/8021q/8021q.ko.xz",
                "kernel/net/llc/llc.ko.xz",
            ]
        );
    }

    #[test]
    fn releases_are_compared_by_number_and_flavours_are_left_out() {
        assert!(numbers("linux-image-6.1.0-9-amd64") < numbers("linux-image-6.1.0-10-amd64"));
        assert!(
            numbers("linux-image-6.12.9+deb12-amd64") < numbers("linux-image-7.2.1+deb14-amd64")
        );
        assert!(is_plain("6.1.0-56") && is_plain("6.12.117+deb12"));
        for other in ["6.12", "6.1.0-56-cloud", "6.1.0-56-rt", "cloud"] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
