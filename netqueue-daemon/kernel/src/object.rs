//! The compiled kernel side, carried inside the binary.

use std::mem::offset_of;

use netqueue_common::KernelLayout;
use object::{
    Endianness, Object as _, ObjectSection as _, SectionIndex, SectionKind,
    elf::SectionHeader64,
    read::elf::{ElfFile64, FileHeader as _},
};

use super::{
    error::{AttachError, refused},
    relocate::fill_in,
};

/// The ELF object of netqueue-ebpf.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netqueue-ebpf"));

/// Section with the states of the CPUs: the compiled object has one, [`of`] makes room for all.
const STATES: &str = ".bss.states";

/// Patches the object for one kernel: its numbers in the programs, and a state for each CPU.
///
/// The compiler cannot know these numbers (relocate.rs), and aya does not relocate them.
pub(super) fn of(layout: &KernelLayout) -> Result<Vec<u8>, AttachError> {
    let mut bytes = OBJECT.to_vec();
    let elf = ElfFile64::<Endianness>::parse(OBJECT).map_err(|error| refused("the object", &error))?;
    for section in elf.sections() {
        if section.kind() == SectionKind::Text
            && let Some((start, length)) = section.file_range()
            && let Some(code) = bytes.get_mut(start as usize..(start + length) as usize)
        {
            fill_in(code, layout);
        } else if section.name() == Ok(STATES) {
            let size = section.size() * (u64::from(layout.state_mask) + 1);
            let header = header_at(&elf, section.index()) + offset_of!(SectionHeader64<Endianness>, sh_size);
            if let Some(field) = bytes.get_mut(header..header + size_of_val(&size)) {
                field.copy_from_slice(&size.to_ne_bytes());
            }
        }
    }
    Ok(bytes)
}

/// Returns the offset in the file of a section's header.
fn header_at(elf: &ElfFile64<'_, Endianness>, index: SectionIndex) -> usize {
    let headers = elf.elf_header().e_shoff(elf.endian()) as usize;
    headers + index.0 * size_of::<SectionHeader64<Endianness>>()
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn layout() -> KernelLayout {
        KernelLayout { rdonly_cast: 1, window: 2, state_mask: 7, ..KernelLayout::new_zeroed() }
    }

    #[test]
    fn nothing_that_programs_leave_open_stays_so() {
        let code = |bytes: &[u8]| -> Vec<[u8; 8]> {
            let elf = object::File::parse(bytes).expect("it is an ELF file");
            let sections = elf.sections().filter(|section| section.kind() == SectionKind::Text);
            sections.flat_map(|section| section.data().expect("it is there").as_chunks().0.to_vec()).collect()
        };
        let open = |bytes: &[u8], what: u32| {
            let size = size_of::<KernelLayout>() as u32;
            let operand =
                |instruction: &[u8; 8]| u32::from_le_bytes(*instruction.last_chunk().expect("it has four"));
            code(bytes)
                .iter()
                .filter(|instruction| (what..what + size).contains(&operand(instruction)))
                .count()
        };
        let filled = of(&layout()).expect("it is an ELF file");
        for what in [KernelLayout::CAST, KernelLayout::NUMBER, KernelLayout::LOAD] {
            assert!(open(OBJECT, what) > 0, "{what:#x}");
            assert_eq!(open(&filled, what), 0, "{what:#x}");
        }
    }

    #[test]
    fn each_cpu_has_a_state() {
        let size = |bytes: &[u8]| {
            let elf = object::File::parse(bytes).expect("it is an ELF file");
            elf.section_by_name(STATES).expect("it is there").size()
        };
        assert!(size(OBJECT) > 0);
        assert_eq!(size(&of(&layout()).expect("it is an ELF file")), 8 * size(OBJECT));
    }
}
