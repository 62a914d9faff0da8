//! Classic BPF as seccomp uses it, and the filters that a process has, read from the kernel.

use std::collections::BTreeSet;
use std::process::Command;

use crate::binaries;

/// One instruction: `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy)]
struct Instruction {
    code: u32,
    jump_true: usize,
    jump_false: usize,
    constant: u32,
}

/// What a filter sees of a call: `struct seccomp_data` of linux/seccomp.h.
#[derive(Clone, Copy)]
pub struct Data {
    pub arch: u32,
    pub number: u32,
    pub arguments: [u64; 6],
}

impl Data {
    /// The 32 bits at an offset, on a little-endian machine.
    fn load(&self, offset: u32) -> u32 {
        let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap();
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 if offset.is_multiple_of(8) => half(self.arguments[(offset as usize - 16) / 8]),
            16..64 if offset.is_multiple_of(4) => half(self.arguments[(offset as usize - 20) / 8] >> 32),
            _ => panic!("a filter loads offset {offset}"),
        }
    }
}

/// From this offset on a filter loads arguments.
const ARGUMENTS: u32 = 16;

/// A filter as it was installed.
pub struct Program(Vec<Instruction>);

impl Program {
    /// What it returns, and where it looked at an argument first.
    fn run(&self, data: &Data) -> (u32, Option<usize>) {
        let (mut at, mut accumulator, mut looked) = (0, 0, None);
        loop {
            let i = self.0[at];
            let jump = |holds| if holds { i.jump_true } else { i.jump_false };
            let skip = match i.code {
                0x20 => {
                    accumulator = data.load(i.constant);
                    if i.constant >= ARGUMENTS {
                        looked = looked.or(Some(at));
                    }
                    0
                }
                0x54 => {
                    accumulator &= i.constant;
                    0
                }
                0x05 => i.constant as usize,
                0x15 => jump(accumulator == i.constant),
                0x25 => jump(accumulator > i.constant),
                0x35 => jump(accumulator >= i.constant),
                0x45 => jump(accumulator & i.constant != 0),
                0x06 => return (i.constant, looked),
                other => panic!("a filter has the instruction {other:#x}"),
            };
            at += 1 + skip;
        }
    }

    /// The arguments that are loaded from there on, and the constants that they are compared with.
    fn looks(&self, from: usize, arguments: &mut BTreeSet<usize>, constants: &mut BTreeSet<u64>) {
        let mut to_see = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(at) = to_see.pop() {
            if !seen.insert(at) {
                continue;
            }
            let i = self.0[at];
            match i.code {
                0x20 if i.constant >= ARGUMENTS => {
                    arguments.insert((i.constant - ARGUMENTS) as usize / 8);
                    to_see.push(at + 1);
                }
                0x05 => to_see.push(at + 1 + i.constant as usize),
                0x06 => {}
                code => {
                    constants.insert(u64::from(i.constant));
                    if code & 7 == 5 {
                        to_see.push(at + 1 + i.jump_true);
                        to_see.push(at + 1 + i.jump_false);
                    } else {
                        to_see.push(at + 1);
                    }
                }
            }
        }
    }
}

/// All filters of a process, the first installed first.
#[derive(Default)]
pub struct Installed(Vec<Program>);

/// `SECCOMP_RET_ALLOW`
const ALLOW: u32 = 0x7fff_0000;

impl Installed {
    /// Those of some processes, in their order.
    pub fn of(pids: &[u32]) -> Vec<Self> {
        if pids.is_empty() {
            return Vec::new();
        }
        let words = pids.iter().map(u32::to_string);
        let output = Command::new(binaries::installed_filters()).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut all: Vec<Self> = Vec::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            match line {
                "filter" => all.last_mut().unwrap().0.push(Program(Vec::new())),
                line if line.starts_with("process ") => all.push(Self::default()),
                line => {
                    let mut numbers = line.split(' ').map(|word| word.parse::<u32>().unwrap());
                    let mut next = || numbers.next().unwrap();
                    let instruction = Instruction {
                        code: next(),
                        jump_true: next() as usize,
                        jump_false: next() as usize,
                        constant: next(),
                    };
                    all.last_mut().unwrap().0.last_mut().unwrap().0.push(instruction);
                }
            }
        }
        assert_eq!(all.len(), pids.len());
        all
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What the kernel does (`seccomp_run_filters()` in kernel/seccomp.c): it asks the filter that was installed last
    /// first, and the strongest action wins, of equal ones the first that it gets.
    pub fn run(&self, data: &Data) -> u32 {
        let strength = |value: u32| (value & 0xffff_0000).cast_signed();
        let mut strongest = ALLOW;
        for program in self.0.iter().rev() {
            let (value, _) = program.run(data);
            if strength(value) < strength(strongest) {
                strongest = value;
            }
        }
        strongest
    }

    /// The arguments that decide about a call, and what they are compared with.
    pub fn looks(&self, data: &Data) -> (BTreeSet<usize>, BTreeSet<u64>) {
        let (mut arguments, mut constants) = (BTreeSet::new(), BTreeSet::new());
        for program in &self.0 {
            if let (_, Some(at)) = program.run(data) {
                program.looks(at, &mut arguments, &mut constants);
            }
        }
        (arguments, constants)
    }
}
