//! The compiled kernel side, carried inside the binary.

use netqueue_common::KernelLayout;
use object::{Object as _, ObjectSection as _, SectionKind};

use super::error::{AttachError, refused};

/// The ELF object of netqueue-ebpf.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netqueue-ebpf"));

/// The object as it is for one kernel: its programs call that kernel's `bpf_rdonly_cast`, or, where there is none, nothing.
///
/// The compiler knows no functions of the kernel but helpers, and aya does not look for any.
pub(super) fn of(layout: &KernelLayout) -> Result<Vec<u8>, AttachError> {
    let mut bytes = OBJECT.to_vec();
    let elf = object::File::parse(OBJECT).map_err(|error| refused("the object", &error))?;
    let code = elf.sections().filter(|section| section.kind() == SectionKind::Text);
    for (start, length) in code.filter_map(|section| section.file_range()) {
        let range = start as usize..(start + length) as usize;
        if let Some(code) = bytes.get_mut(range) {
            call_cast(code, layout.rdonly_cast);
        }
    }
    Ok(bytes)
}

/// Puts a call of the kernel's function with this number, or a zero, where the compiled programs call [`KernelLayout::CAST`].
///
/// An instruction is eight bytes: operation, registers, offset, operand (include/uapi/linux/bpf.h `struct bpf_insn`).
fn call_cast(code: &mut [u8], function: u32) {
    /// Loads 64 bits: the instruction after it is the upper half of its operand.
    const LOAD: u8 = 0x18;
    const CALL: u8 = 0x85;
    /// As the source register of a call: the operand is a kernel function's number.
    const KERNEL_FUNCTION: u8 = 2 << 4;
    const R0_BECOMES: u8 = 0xb7;
    let mut instructions = code.chunks_exact_mut(8);
    while let Some(instruction) = instructions.next() {
        let [operation, registers, .., a, b, c, d] = instruction else { continue };
        if *operation == LOAD {
            instructions.next();
        } else if *operation == CALL && u32::from_le_bytes([*a, *b, *c, *d]) == KernelLayout::CAST {
            if function == 0 {
                *operation = R0_BECOMES;
            } else {
                *registers |= KERNEL_FUNCTION;
            }
            [*a, *b, *c, *d] = function.to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn instruction(operation: u8, operand: u32) -> [u8; 8] {
        let [a, b, c, d] = operand.to_le_bytes();
        [operation, 0, 0, 0, a, b, c, d]
    }

    #[test]
    fn the_kernels_own_function_is_called_or_a_zero_taken() {
        let call = instruction(0x85, KernelLayout::CAST);
        let mut code = call;
        call_cast(&mut code, 0x0001_e240);
        assert_eq!(code, [0x85, 0x20, 0, 0, 0x40, 0xe2, 1, 0]);
        code = call;
        call_cast(&mut code, 0);
        assert_eq!(code, [0xb7, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn helpers_and_the_upper_half_of_a_number_stay_what_they_are() {
        let number = instruction(0x85, KernelLayout::CAST);
        let before = [instruction(0x18, 7), number, instruction(0x85, 113)].concat();
        let mut code = before.clone();
        call_cast(&mut code, 9);
        assert_eq!(code, before);
    }

    #[test]
    fn every_call_of_the_compiled_programs_is_found() {
        let calls = |bytes: &[u8]| {
            let wanted = instruction(0x85, KernelLayout::CAST);
            bytes.windows(8).filter(|window| *window == wanted).count()
        };
        assert!(calls(OBJECT) > 0);
        let layout = KernelLayout { rdonly_cast: 1, window: 2, ..KernelLayout::new_zeroed() };
        assert_eq!(calls(&of(&layout).expect("it is an ELF file")), 0);
    }
}
