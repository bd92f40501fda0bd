//! The kernel modules a guest needs, unpacked, each after the ones it depends on.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Modules that guests need. Their dependencies come along by themselves.
const WANTED: [&str; 6] = [
    "tcp_diag",   // sock_diag answers about TCP sockets
    "virtio_pci", // the guest's network card
    "virtio_net",
    "veth",      // experiments between network namespaces
    "sch_netem", // experiments with loss and delay
    "inet_diag",
];

/// A module, ready for finit_module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// All wanted modules that this kernel does not have built in, in the order they can be loaded.
pub(crate) fn collect(modules: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(modules, &mut files)?;
    if files.is_empty() {
        // Its package is no longer to be had; what needs a module is skipped.
        return Ok(Vec::new());
    }
    let builtin = fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
    let builtin: Vec<String> = builtin.lines().filter_map(|line| name_of(Path::new(line))).collect();
    let mut packed = Vec::new();
    for wanted in WANTED {
        add(wanted, &files, &builtin, &mut packed)?;
    }
    Ok(packed)
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &[String],
    packed: &mut Vec<Module>,
) -> Result<()> {
    if packed.iter().any(|module| module.name == name) || builtin.iter().any(|known| known == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else {
        bail!("this kernel has {name} neither as a module nor built in");
    };
    let bytes = read(file)?;
    // The packages carry no modules.dep (depmod writes it at installation), but each module names its own.
    for needed in depends(&bytes) {
        add(&needed, files, builtin, packed)?;
    }
    packed.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

fn index(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Returns the kernel's name for a module's file: `.../virtio-rng.ko.xz` gives `virtio_rng`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file.strip_suffix(".ko").or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let shown = || format!("{} cannot be read", file.display());
    if file.extension().is_some_and(|extension| extension == "xz") {
        let mut bytes = Vec::new();
        let mut packed = BufReader::new(fs::File::open(file).with_context(shown)?);
        lzma_rs::xz_decompress(&mut packed, &mut bytes).with_context(shown)?;
        return Ok(bytes);
    }
    fs::read(file).with_context(shown)
}

/// Returns the modules that one needs, from the `depends=` entry of its `.modinfo` section.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(depends: &str) -> Vec<u8> {
        format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0").into_bytes()
    }

    fn kernel(modules: &[(&str, &str)], builtin: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kernel/net")).unwrap();
        for (name, needs) in modules {
            fs::write(dir.path().join(format!("kernel/net/{name}.ko")), module(needs)).unwrap();
        }
        fs::write(dir.path().join("modules.builtin"), builtin).unwrap();
        dir
    }

    const ALL: [(&str, &str); 7] = [
        ("tcp_diag", "inet_diag"),
        ("inet_diag", ""),
        ("virtio_pci", ""),
        ("virtio_net", "net-failover"),
        ("net_failover", ""),
        ("veth", ""),
        ("sch_netem", ""),
    ];

    #[test]
    fn a_module_comes_after_those_it_depends_on() {
        let kernel = kernel(&ALL, "");
        let names: Vec<String> =
            collect(kernel.path()).unwrap().into_iter().map(|module| module.name).collect();
        let at = |name: &str| names.iter().position(|other| other == name).unwrap();
        assert!(at("inet_diag") < at("tcp_diag") && at("net_failover") < at("virtio_net"), "{names:?}");
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn a_kernel_whose_modules_are_gone_boots_without() {
        assert_eq!(collect(kernel(&[], "").path()).unwrap(), []);
    }

    #[test]
    fn what_is_built_in_is_not_packed_and_what_is_missing_is_named() {
        let built_in = kernel(&ALL[..6], "kernel/net/sched/sch_netem.ko\n");
        assert_eq!(collect(built_in.path()).unwrap().len(), 6);
        let error = collect(kernel(&ALL[..6], "").path()).unwrap_err().to_string();
        assert!(error.contains("sch_netem"), "{error}");
    }
}
