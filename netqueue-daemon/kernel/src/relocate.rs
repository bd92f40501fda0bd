//! Patches the compiled programs for one kernel: offsets, numbers, the one kernel function they call.
//!
//! An instruction is eight bytes: operation, registers, offset, operand (include/uapi/linux/bpf.h `struct
//! bpf_insn`).

use netqueue_common::KernelLayout;
use zerocopy::IntoBytes as _;

/// Operation that loads 64 bits: the next instruction contains the upper half of its operand.
const LOAD_NUMBER: u8 = 0x18;
const CALL: u8 = 0x85;
/// Source register of a call whose operand is a kernel function's BTF number.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// Operation that sets a register to the operand.
const BECOMES: u8 = 0xb7;
/// Operation that keeps the bits of a register that the operand has set.
const MASK: u8 = 0x57;
/// Bits of an operation that give its class; [`HALF`] is the class for the lower half of a register.
const KIND: u8 = 0x07;
const HALF: u8 = 0x04;
const JUMP: u8 = 0x05;

type Instruction = [u8; 8];

/// No-op: a jump to the next instruction, which the verifier removes.
const NOTHING: Instruction = [JUMP, 0, 0, 0, 0, 0, 0, 0];

/// Patches every placeholder in a program's code.
///
/// [`KernelLayout::NUMBER`] becomes a number of the layout, or a mask. [`KernelLayout::LOAD`], the first of
/// three instructions, becomes a load at an offset of the layout. A call of [`KernelLayout::CAST`] becomes
/// one of this kernel's `bpf_rdonly_cast`, or a zero.
pub(super) fn fill_in(code: &mut [u8], layout: &KernelLayout) {
    let (mut code, _) = code.as_chunks_mut();
    while let Some(taken) = code.first().map(length) {
        let (these, rest) = code.split_at_mut(taken.min(code.len()));
        fill(these, layout);
        code = rest;
    }
}

/// Number of instructions that belong together.
fn length(first: &Instruction) -> usize {
    match first[0] {
        LOAD_NUMBER => 2,
        BECOMES if field(first, KernelLayout::LOAD).is_some() => 3,
        _ => 1,
    }
}

fn fill(these: &mut [Instruction], layout: &KernelLayout) {
    match *these {
        [call] if call[0] == CALL && operand(call) == KernelLayout::CAST => {
            these[0] = call_cast(call, layout.rdonly_cast);
        }
        [number] if matches!(number[0], BECOMES | MASK) => {
            if let Some(value) = field(&number, KernelLayout::NUMBER).and_then(|at| value(layout, at)) {
                these[0] = half(number, value);
            }
        }
        [number, add, load] => {
            let Some(value) = field(&number, KernelLayout::LOAD).and_then(|at| value(layout, at)) else {
                return;
            };
            // The offset of an instruction is a signed 16-bit number.
            match i16::try_from(value) {
                Ok(offset) => these.copy_from_slice(&[load_from(load, add, offset), NOTHING, NOTHING]),
                Err(_) => these[0] = half(number, value),
            }
        }
        _ => {}
    }
}

fn call_cast([_, registers, ..]: Instruction, function: u32) -> Instruction {
    let [a, b, c, d] = function.to_le_bytes();
    if function == 0 {
        // Without the function, the result register becomes 0.
        [BECOMES, 0, 0, 0, a, b, c, d]
    } else {
        [CALL, registers | KERNEL_FUNCTION, 0, 0, a, b, c, d]
    }
}

/// Puts the value into the instruction, which then works on the lower half of the register.
///
/// The upper half then becomes zero; a 64-bit instruction would extend the sign of the number.
fn half([operation, register, ..]: Instruction, value: u32) -> Instruction {
    let [a, b, c, d] = value.to_le_bytes();
    [operation & !KIND | HALF, register, 0, 0, a, b, c, d]
}

/// Builds the load relative to the base register, which would otherwise be added to the number.
fn load_from([operation, loaded, ..]: Instruction, [_, base, ..]: Instruction, offset: i16) -> Instruction {
    let [low, high] = offset.to_le_bytes();
    [operation, loaded & 0xf | base & 0xf0, low, high, 0, 0, 0, 0]
}

fn operand([.., a, b, c, d]: Instruction) -> u32 {
    u32::from_le_bytes([a, b, c, d])
}

/// Returns the offset in the layout of the field that a placeholder names; `None` if it is not one.
fn field(number: &Instruction, what: u32) -> Option<usize> {
    let at = usize::try_from(operand(*number).checked_sub(what)?).ok()?;
    (at < size_of::<KernelLayout>()).then_some(at)
}

fn value(layout: &KernelLayout, at: usize) -> Option<u32> {
    let bytes = layout.as_bytes().get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use zerocopy::FromZeros as _;

    use super::*;

    fn instruction(operation: u8, registers: u8, operand: u32) -> Instruction {
        let [a, b, c, d] = operand.to_le_bytes();
        [operation, registers, 0, 0, a, b, c, d]
    }

    fn layout() -> KernelLayout {
        KernelLayout { rdonly_cast: 0x0001_e240, sock_drops: 0x1234, ..KernelLayout::new_zeroed() }
    }

    fn filled_in(layout: &KernelLayout, code: &[Instruction]) -> Vec<Instruction> {
        let mut code = code.to_vec();
        fill_in(code.as_flattened_mut(), layout);
        code
    }

    const DROPS: u32 = offset_of!(KernelLayout, sock_drops) as u32;

    #[test]
    fn the_kernels_own_function_is_called_or_a_zero_taken() {
        let call = [instruction(0x85, 0, KernelLayout::CAST)];
        assert_eq!(filled_in(&layout(), &call), [[0x85, 0x20, 0, 0, 0x40, 0xe2, 1, 0]]);
        let without = KernelLayout { rdonly_cast: 0, ..layout() };
        assert_eq!(filled_in(&without, &call), [[0xb7, 0, 0, 0, 0, 0, 0, 0]]);
    }

    #[test]
    fn a_number_is_that_of_the_kernel_without_a_sign() {
        let number = [instruction(0xb7, 3, KernelLayout::NUMBER + DROPS)];
        assert_eq!(filled_in(&layout(), &number), [[0xb4, 3, 0, 0, 0x34, 0x12, 0, 0]]);
        let mask = [instruction(0x57, 3, KernelLayout::NUMBER + DROPS)];
        assert_eq!(filled_in(&layout(), &mask), [[0x54, 3, 0, 0, 0x34, 0x12, 0, 0]]);
        let absent = KernelLayout { sock_drops: KernelLayout::ABSENT, ..layout() };
        assert_eq!(filled_in(&absent, &number), [[0xb4, 3, 0, 0, 0xff, 0xff, 0xff, 0xff]]);
    }

    #[test]
    fn a_load_is_one_instruction_where_the_offset_fits() {
        // r4 = NUMBER; r4 += r7; r4 = *(u32 *)(r4 + 0)
        let load = [
            instruction(0xb7, 4, KernelLayout::LOAD + DROPS),
            instruction(0x0f, 0x74, 0),
            instruction(0x61, 0x44, 0),
        ];
        // r4 = *(u32 *)(r7 + 0x1234)
        assert_eq!(filled_in(&layout(), &load), [[0x61, 0x74, 0x34, 0x12, 0, 0, 0, 0], NOTHING, NOTHING]);
        let far = KernelLayout { sock_drops: 0x8000, ..layout() };
        let three = filled_in(&far, &load);
        assert_eq!(three[0], [0xb4, 4, 0, 0, 0, 0x80, 0, 0]);
        assert_eq!(three[1..], load[1..]);
    }

    #[test]
    fn helpers_other_numbers_and_the_upper_half_of_a_number_stay_what_they_are() {
        let size = size_of::<KernelLayout>() as u32;
        let before = [
            instruction(0x18, 0, 7),
            instruction(0x85, 0, KernelLayout::CAST),
            instruction(0x18, 0, 8),
            instruction(0xb7, 0, KernelLayout::NUMBER),
            instruction(0x85, 0, 113),
            instruction(0xb7, 1, KernelLayout::NUMBER - 1),
            instruction(0xb7, 1, KernelLayout::NUMBER + size),
            instruction(0xb7, 1, KernelLayout::LOAD + size),
            // A placeholder at the very end, without the two instructions that belong to it.
            instruction(0xb7, 1, KernelLayout::LOAD),
        ];
        assert_eq!(filled_in(&layout(), &before), before);
    }
}
