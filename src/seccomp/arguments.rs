//! Tests of arguments as classic BPF. Its accumulator has 32 bits, so a 64-bit argument is looked at in two halves
//! (`struct seccomp_data` of linux/seccomp.h, on a little-endian machine).

use super::bpf::{instruction, jump, load};
use crate::policy::{Compare, Test};
use crate::syscalls::Arch;
use libc::sock_filter;

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// To the instruction behind it.
    On,
    /// To the next test: this one holds.
    Holds,
    /// Behind all tests: this one does not hold.
    Fails,
}

/// An instruction whose jumps are not laid yet.
enum Step {
    Plain(sock_filter),
    Jump(u32, u32, To, To),
}

/// Instructions that end with `then` if all tests hold, and else lead to what stands behind them.
pub(super) fn if_all_hold(tests: &[Test], arch: Arch, then: sock_filter) -> Vec<sock_filter> {
    let steps: Vec<Vec<Step>> = tests.iter().map(|test| steps(test, arch)).collect();
    let total: usize = steps.iter().map(Vec::len).sum::<usize>() + 1;
    let mut out = Vec::with_capacity(total);
    for test in steps {
        let next = out.len() + test.len();
        for step in test {
            // a test has five instructions at the most, and an entry a handful of tests
            let distance = |to: To| {
                let target = match to {
                    To::On => out.len() + 1,
                    To::Holds => next,
                    To::Fails => total,
                };
                u8::try_from(target - out.len() - 1).unwrap_or(u8::MAX)
            };
            let laid = match step {
                Step::Plain(plain) => plain,
                Step::Jump(condition, value, yes, no) => jump(condition, value, distance(yes), distance(no)),
            };
            out.push(laid);
        }
    }
    out.push(then);
    out
}

/// The upper half, where there is one, and the lower half. What is compared with a 32-bit register has 32 bits.
fn steps(test: &Test, arch: Arch) -> Vec<Step> {
    use To::{Fails, Holds, On};
    let offset = u32::from(test.argument) * 8 + 16;
    let jump_if = |condition, value, yes, no| Step::Jump(condition, value, yes, no);
    let (upper, lower) = halves(test.compare.value());
    let decides_above = match test.compare {
        Compare::Equal(_) => vec![jump_if(libc::BPF_JEQ, upper, On, Fails)],
        Compare::NotEqual(_) => vec![jump_if(libc::BPF_JEQ, upper, On, Holds)],
        Compare::Less(_) => {
            vec![jump_if(libc::BPF_JGT, upper, Fails, On), jump_if(libc::BPF_JEQ, upper, On, Holds)]
        }
        Compare::Greater(_) => {
            vec![jump_if(libc::BPF_JGT, upper, Holds, On), jump_if(libc::BPF_JEQ, upper, On, Fails)]
        }
        Compare::Has(_) if upper != 0 => vec![mask(upper), jump_if(libc::BPF_JEQ, upper, On, Fails)],
        Compare::Has(_) | Compare::LowerHalf(_) => Vec::new(),
    };
    let mut out = Vec::new();
    if arch.is_64_bit() && !decides_above.is_empty() {
        out.push(Step::Plain(load(offset + 4)));
        out.extend(decides_above);
    }
    out.push(Step::Plain(load(offset)));
    match test.compare {
        Compare::Equal(_) | Compare::LowerHalf(_) => out.push(jump_if(libc::BPF_JEQ, lower, Holds, Fails)),
        Compare::NotEqual(_) => out.push(jump_if(libc::BPF_JEQ, lower, Fails, Holds)),
        Compare::Less(_) => out.push(jump_if(libc::BPF_JGE, lower, Fails, Holds)),
        Compare::Greater(_) => out.push(jump_if(libc::BPF_JGT, lower, Holds, Fails)),
        Compare::Has(_) => out.extend([mask(lower), jump_if(libc::BPF_JEQ, lower, Holds, Fails)]),
    }
    out
}

/// The upper and the lower half of a value.
fn halves(value: u64) -> (u32, u32) {
    let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    (half(value >> 32), half(value))
}

fn mask(bits: u32) -> Step {
    Step::Plain(instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits))
}
