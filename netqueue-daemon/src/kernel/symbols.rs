//! Kernel symbols, from /proc/kallsyms.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read},
};

/// Addresses of the symbols asked for. One that is absent is not in the kernel; address 0 means that it is hidden.
pub(super) struct Symbols(HashMap<&'static str, u64>);

impl Symbols {
    /// Looks the names up in a file laid out as /proc/kallsyms.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(file: impl Read, wanted: &[&'static str]) -> io::Result<Self> {
        let mut found = HashMap::new();
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? != 0 {
            let mut fields = line.split(|byte| byte.is_ascii_whitespace());
            if let (Some(address), Some(_type), Some(name)) = (fields.next(), fields.next(), fields.next())
                && let Some(wanted) = wanted.iter().find(|wanted| wanted.as_bytes() == name)
                && let Some(address) =
                    std::str::from_utf8(address).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok())
            {
                found.entry(*wanted).or_insert(address);
            }
            line.clear();
        }
        Ok(Self(found))
    }

    /// The symbol's address: `None` if it is absent, 0 if addresses are hidden.
    pub(super) fn address(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// Whether the kernel has the symbol.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_hidden_and_known_symbols_are_told_apart() {
        let file: &[u8] = b"0000000000000000 T hidden\nffffffff81000000 t known\nffffffff81000010 t known.cold\t[mod]\nbroken\n";
        let symbols = Symbols::read(file, &["hidden", "known", "absent"]).expect("it is in memory");
        assert_eq!(symbols.address("known"), Some(0xffff_ffff_8100_0000));
        assert_eq!(symbols.address("hidden"), Some(0));
        assert_eq!(symbols.address("absent"), None);
        assert!(!symbols.contains("absent"));
    }
}
