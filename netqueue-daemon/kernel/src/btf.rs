//! Reads BTF: offsets of a struct's members, values of enumerators, parameters of functions.
//!
//! Format: Documentation/bpf/btf.rst. A look-up walks the file's bytes; only the offsets of the type records
//! are kept.

use std::collections::BTreeMap;

/// Error for a file that is not BTF, or is truncated.
#[derive(Debug, thiserror::Error)]
#[error("not readable as BTF: {0}")]
pub(super) struct BtfError(&'static str);

/// The types of a kernel.
pub(super) struct Btf {
    data: Vec<u8>,
    /// Offset of each type's record; type 0 is void and has none.
    types: Vec<usize>,
    strings: usize,
}

const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Size of `struct btf_type`, which every record begins with.
const RECORD: usize = 12;

/// One type's record.
#[derive(Clone, Copy)]
struct Type<'a> {
    btf: &'a Btf,
    at: usize,
}

impl Btf {
    /// Takes the bytes of /sys/kernel/btf/vmlinux.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        const MAGIC: u16 = 0xeb9f;
        let short = BtfError("it ends inside its header");
        let half = |at: usize| Some(u16::from_ne_bytes(data.get(at..at + 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?) as usize);
        if half(0) != Some(MAGIC) {
            return Err(BtfError("it does not begin with BTF's magic number in this machine's byte order"));
        }
        let (Some(header), Some(type_off), Some(type_len), Some(str_off)) =
            (word(4), word(8), word(12), word(16))
        else {
            return Err(short);
        };
        let mut btf = Self { strings: header + str_off, data, types: vec![usize::MAX] };
        let (mut at, end) = (header + type_off, header + type_off + type_len);
        if end > btf.data.len() || btf.strings > btf.data.len() {
            return Err(short);
        }
        while at < end {
            btf.types.push(at);
            let record = Type { btf: &btf, at };
            at += RECORD
                + record.tail().ok_or(BtfError("it holds a kind of type this reader does not know"))?;
        }
        Ok(btf)
    }

    /// Returns a file without any type.
    #[cfg(test)]
    pub(super) const fn empty() -> Self {
        Self { data: Vec::new(), types: Vec::new(), strings: 0 }
    }

    /// Byte offset of a member, written `struct.member.member`.
    ///
    /// Members of anonymous structs and unions are found without naming those.
    pub(super) fn offset(&self, path: &str) -> Option<u32> {
        let (bits, _) = self.member(path)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Bit offset and type of a member.
    fn member(&self, path: &str) -> Option<(u32, Type<'_>)> {
        let (name, members) = path.split_once('.')?;
        let mut record = self.all().find(|record| record.is_aggregate() && record.has_name(name))?;
        let mut bits = 0;
        for member in members.split('.') {
            let (offset, id) = record.member(member)?;
            bits += offset;
            record = self.resolve(id)?;
        }
        Some((bits, record))
    }

    /// Returns whether a member, written as for [`Self::offset`], is an array; `None` if there is none.
    pub(super) fn is_array(&self, path: &str) -> Option<bool> {
        self.member(path).map(|(_, record)| record.kind() == KIND_ARRAY)
    }

    /// Value of an enumerator, whatever its enum is called.
    pub(super) fn enumerator(&self, name: &str) -> Option<u32> {
        self.all().filter(Type::is_enum).find_map(|record| {
            let mut enumerators = record.enumerators();
            enumerators.find_map(|(known, value)| (known == name.as_bytes()).then_some(value))
        })
    }

    /// The enumerators of a named enum, by value.
    pub(super) fn enumerators(&self, name: &str) -> BTreeMap<u32, String> {
        let found = self.all().find(|record| record.is_enum() && record.has_name(name));
        let text = |(name, value): (&[u8], u32)| (value, String::from_utf8_lossy(name).into_owned());
        found.map(|record| record.enumerators().map(text).collect()).unwrap_or_default()
    }

    /// Position of the parameter of a function whose type is the named enum.
    pub(super) fn enum_parameter(&self, function: &str, name: &str) -> Option<u32> {
        let prototype = self.prototype(function)?;
        (0..prototype.length()).find_map(|index| {
            let id = self.word(prototype.at + RECORD + index * 8 + 4)?;
            let parameter = self.resolve(id)?;
            (parameter.is_enum() && parameter.has_name(name)).then_some(u32::try_from(index).ok()?)
        })
    }

    /// Number of parameters of a function.
    pub(super) fn parameters(&self, function: &str) -> Option<u32> {
        u32::try_from(self.prototype(function)?.length()).ok()
    }

    /// BTF type number of a function.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.number(|record| record.kind() == KIND_FUNC && record.has_name(name))
    }

    /// BTF type number of a struct.
    pub(super) fn structure(&self, name: &str) -> Option<u32> {
        self.number(|record| record.kind() == KIND_STRUCT && record.has_name(name))
    }

    /// Size of a struct in bytes.
    pub(super) fn size_of(&self, name: &str) -> Option<u32> {
        let structure = self.all().find(|record| record.kind() == KIND_STRUCT && record.has_name(name))?;
        Some(structure.size_or_type())
    }

    /// Number of the first type that is wanted. Types are numbered from 1.
    fn number(&self, wanted: impl Fn(&Type<'_>) -> bool) -> Option<u32> {
        self.all().position(|record| wanted(&record)).and_then(|index| u32::try_from(index + 1).ok())
    }

    fn prototype(&self, function: &str) -> Option<Type<'_>> {
        let function = self.all().find(|record| record.kind() == KIND_FUNC && record.has_name(function))?;
        self.resolve(function.size_or_type()).filter(|prototype| prototype.kind() == KIND_FUNC_PROTO)
    }

    fn all(&self) -> impl Iterator<Item = Type<'_>> {
        self.types.iter().skip(1).map(|at| Type { btf: self, at: *at })
    }

    /// Returns the type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type<'_>> {
        loop {
            let record =
                Type { btf: self, at: *self.types.get(id as usize).filter(|at| **at != usize::MAX)? };
            match record.kind() {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = record.size_or_type();
                }
                _ => return Some(record),
            }
        }
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.data.get(at..at + 4)?.try_into().ok()?))
    }

    fn string(&self, offset: u32) -> &[u8] {
        let from = self.data.get(self.strings + offset as usize..).unwrap_or_default();
        from.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl<'a> Type<'a> {
    fn word(self, index: usize) -> u32 {
        self.btf.word(self.at + index * 4).unwrap_or(0)
    }

    fn info(self) -> u32 {
        self.word(1)
    }

    fn kind(self) -> u32 {
        self.info() >> 24 & 0x1f
    }

    fn length(self) -> usize {
        (self.info() & 0xffff) as usize
    }

    fn size_or_type(self) -> u32 {
        self.word(2)
    }

    fn has_name(self, name: &str) -> bool {
        self.btf.string(self.word(0)) == name.as_bytes()
    }

    fn is_aggregate(self) -> bool {
        matches!(self.kind(), KIND_STRUCT | KIND_UNION)
    }

    fn is_enum(&self) -> bool {
        matches!(self.kind(), KIND_ENUM | KIND_ENUM64)
    }

    /// Bytes after the common part of the record; `None` for an unknown kind.
    fn tail(self) -> Option<usize> {
        const KIND_INT: u32 = 1;
        const KIND_FWD: u32 = 7;
        const KIND_VAR: u32 = 14;
        const KIND_DATASEC: u32 = 15;
        const KIND_FLOAT: u32 = 16;
        const KIND_DECL_TAG: u32 = 17;
        let length = self.length();
        Some(match self.kind() {
            KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_FUNC
            | KIND_FLOAT | KIND_TYPE_TAG => 0,
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * length,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * length,
            _ => return None,
        })
    }

    /// Bit offset and type of a member, also inside anonymous members. Skips bit fields, which cannot be
    /// read whole.
    fn member(self, name: &str) -> Option<(u32, u32)> {
        let with_bit_fields = self.info() >> 31 != 0;
        (0..if self.is_aggregate() { self.length() } else { 0 }).find_map(|index| {
            let at = RECORD / 4 + index * 3;
            let (name_offset, id, place) = (self.word(at), self.word(at + 1), self.word(at + 2));
            let (bits, width) = if with_bit_fields { (place & 0xff_ffff, place >> 24) } else { (place, 0) };
            let known = self.btf.string(name_offset);
            if known == name.as_bytes() && width == 0 {
                return Some((bits, id));
            }
            let inner = known.is_empty().then(|| self.btf.resolve(id)).flatten()?;
            let (deeper, id) = inner.member(name)?;
            Some((bits + deeper, id))
        })
    }

    /// Names and values; for a 64-bit enum the lower half, which fits every value that netqueue reads.
    fn enumerators(self) -> impl Iterator<Item = (&'a [u8], u32)> {
        let words = if self.kind() == KIND_ENUM64 { 3 } else { 2 };
        (0..self.length()).map(move |index| {
            let at = RECORD / 4 + index * words;
            (self.btf.string(self.word(at)), self.word(at + 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds the BTF of one struct, with anonymous parts, an enum, and a function that takes the enum.
    ///
    /// The struct: `struct outer { int first; union { struct { u16 hole; u16 deep; }; int wide; }; }`.
    fn sample() -> Vec<u8> {
        let mut strings = vec![0_u8];
        let mut name = |text: &str| {
            let at = strings.len() as u32;
            strings.extend(text.bytes().chain([0]));
            at
        };
        let [int, hole, deep, wide, outer, first] =
            ["int", "hole", "deep", "wide", "outer", "first"].map(&mut name);
        let [why, no_socket, flags, send, sk, reason, alias] =
            ["why", "NO_SOCKET", "FLAGS", "send_reset", "sk", "reason", "why_t"].map(&mut name);
        let info = |kind: u32, length: u32| kind << 24 | length;
        let types: Vec<u32> = [
            vec![int, info(1, 0), 4, 32],                                // 1: int
            vec![0, info(KIND_STRUCT, 2), 4, hole, 1, 0, deep, 1, 16],   // 2: struct
            vec![0, info(KIND_UNION, 2), 4, 0, 2, 0, wide, 1, 0],        // 3: union
            vec![outer, info(KIND_STRUCT, 2), 8, first, 1, 0, 0, 3, 32], // 4: struct outer
            vec![why, info(KIND_ENUM, 2), 4, no_socket, 1, flags, 6],    // 5: enum why
            vec![alias, info(KIND_TYPEDEF, 0), 5],                       // 6: typedef
            vec![0, info(KIND_FUNC_PROTO, 2), 0, sk, 1, reason, 6],      // 7: prototype
            vec![send, info(KIND_FUNC, 1), 7],                           // 8: function
        ]
        .concat();
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let length = types.len() as u32;
        let mut file = 0xeb9f_u16.to_ne_bytes().to_vec();
        file.extend([1, 0]);
        for word in [24, 0, length, length, strings.len() as u32] {
            file.extend(u32::to_ne_bytes(word));
        }
        file.extend(types);
        file.extend(strings);
        file
    }

    #[test]
    fn members_of_anonymous_parts_are_found() {
        let btf = Btf::parse(sample()).expect("the sample is BTF");
        assert_eq!(btf.offset("outer.first"), Some(0));
        assert_eq!(btf.offset("outer.deep"), Some(6));
        assert_eq!(btf.offset("outer.wide"), Some(4));
        assert_eq!(btf.offset("outer.absent"), None);
        assert_eq!(btf.offset("inner.first"), None);
    }

    #[test]
    fn enumerators_and_parameters_are_found() {
        let btf = Btf::parse(sample()).expect("the sample is BTF");
        assert_eq!(btf.enumerator("FLAGS"), Some(6));
        assert_eq!(btf.enumerator("PAWS"), None);
        assert_eq!(
            btf.enumerators("why"),
            BTreeMap::from([(1, "NO_SOCKET".to_owned()), (6, "FLAGS".to_owned())])
        );
        assert_eq!(btf.enum_parameter("send_reset", "why"), Some(1));
        assert_eq!(btf.enum_parameter("send_reset", "other"), None);
        assert_eq!(btf.parameters("send_reset"), Some(2));
        assert_eq!(btf.parameters("why"), None);
    }

    #[test]
    fn types_have_the_numbers_they_are_given_in() {
        let btf = Btf::parse(sample()).expect("the sample is BTF");
        assert_eq!((btf.structure("outer"), btf.function("send_reset")), (Some(4), Some(8)));
        assert_eq!((btf.structure("send_reset"), btf.function("why")), (None, None));
    }

    #[test]
    fn what_is_not_btf_is_refused() {
        assert!(Btf::parse(b"ELF".to_vec()).is_err());
        let mut cut = sample();
        cut.truncate(60);
        assert!(Btf::parse(cut).is_err());
        for end in 0..sample().len() {
            let _must_not_panic = Btf::parse(sample()[..end].to_vec()).map(|btf| btf.offset("outer.deep"));
        }
    }
}
