//! Kernel symbols, from /proc/kallsyms.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek as _},
    os::fd::AsFd as _,
    path::Path,
};

/// The kernel's list of its symbols.
pub(super) const FILE: &str = "/proc/kallsyms";

/// Opens the list: standard input if it is that file, else the file by its path.
///
/// systemd's `StandardInput=file:/proc/kallsyms` passes it in. The kernel shows addresses to the user who
/// opened the file (kernel/kallsyms.c kallsyms_open()), so that the daemon needs no CAP_SYSLOG, and its unit
/// may hide the file (`ProtectKernelTunables=`).
///
/// # Errors
/// It cannot be opened, or not be read from the beginning.
pub(super) fn open() -> io::Result<File> {
    if !is_list(&fs::read_link("/proc/self/fd/0").unwrap_or_default()) {
        return File::open(FILE);
    }
    let mut handed_in = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    handed_in.rewind()?;
    Ok(handed_in)
}

/// Returns whether the link to an open file names the kernel's list.
fn is_list(link: &Path) -> bool {
    link == Path::new(FILE)
}

/// Symbols that were requested. One that is absent is not in the kernel; address 0 means hidden.
pub(super) struct Symbols(HashMap<&'static str, Symbol>);

#[derive(Clone, Copy)]
struct Symbol {
    address: u64,
    /// Address of the next symbol in the file, which is in the order of addresses.
    end: Option<u64>,
}

impl Symbols {
    /// Finds the names in a file with the format of /proc/kallsyms.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(file: impl Read, wanted: &[&'static str]) -> io::Result<Self> {
        let mut found: HashMap<&'static str, Symbol> = HashMap::new();
        let mut last: Option<&'static str> = None;
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? != 0 {
            if let Some((address, name)) = parse(&line) {
                if let Some(open) =
                    last.and_then(|name| found.get_mut(name)).filter(|open| open.address < address)
                {
                    open.end = Some(address);
                    last = None;
                }
                if let Some(wanted) = wanted.iter().find(|wanted| wanted.as_bytes() == name)
                    && !found.contains_key(wanted)
                {
                    found.insert(wanted, Symbol { address, end: None });
                    last = Some(wanted);
                }
            }
            line.clear();
        }
        Ok(Self(found))
    }

    /// Returns the symbol's address: `None` if it is absent, 0 if addresses are hidden.
    pub(super) fn address(&self, name: &str) -> Option<u64> {
        self.0.get(name).map(|symbol| symbol.address)
    }

    /// Returns the start and end of a function's code; both 0 where they are unknown.
    pub(super) fn code(&self, name: &str) -> [u64; 2] {
        let known = self.0.get(name).and_then(|symbol| Some([symbol.address, symbol.end?]));
        known.unwrap_or_default()
    }

    /// Returns whether the kernel has the symbol.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Parses the address and name in one line.
fn parse(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut fields = line.split(|byte| byte.is_ascii_whitespace());
    let address = std::str::from_utf8(fields.next()?).ok()?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let _kind = fields.next()?;
    Some((address, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_list_is_taken_from_standard_input() {
        assert!(is_list(Path::new("/proc/kallsyms")));
        for other in ["/dev/null", "pipe:[4711]", "/tmp/proc/kallsyms", ""] {
            assert!(!is_list(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn absent_hidden_and_known_symbols_are_told_apart() {
        let file: &[u8] = b"0000000000000000 T hidden\nffffffff81000000 t known\nffffffff81000010 t known.cold\t[mod]\nbroken\n";
        let symbols = Symbols::read(file, &["hidden", "known", "absent"]).expect("it is in memory");
        assert_eq!(symbols.address("known"), Some(0xffff_ffff_8100_0000));
        assert_eq!(symbols.address("hidden"), Some(0));
        assert_eq!(symbols.address("absent"), None);
        assert!(!symbols.contains("absent"));
    }

    #[test]
    fn a_functions_code_ends_where_the_next_symbol_begins() {
        let file: &[u8] =
            b"ffff10 T tcp_close\nffff20 T tcp_disconnect\nffff20 T alias\nffff58 t next\nffff60 T last\n";
        let symbols = Symbols::read(file, &["tcp_disconnect", "last"]).expect("it is in memory");
        assert_eq!(symbols.code("tcp_disconnect"), [0xff_ff20, 0xff_ff58]);
        assert_eq!(symbols.code("last"), [0, 0]);
        assert_eq!(symbols.code("absent"), [0, 0]);
    }
}
