//! Go's own function table (`runtime.pclntab`): it stays in a program that was stripped, because the runtime needs it
//! for its tracebacks. It gives the function, the file and the line of an address, and how large the stack frame
//! is there.
//!
//! The formats are those of Go's src/runtime/symtab.go and src/debug/gosym/pclntab.go: of Go 1.2, 1.16, 1.18 and
//! 1.20, each told by its magic number. Everything in the table counts as hostile.

/// The first four bytes of a table, in little-endian order (`go12magic` to `go120magic` in pclntab.go).
const MAGICS: [(u32, Format); 4] = [
    (0xffff_fffb, Format::Go12),
    (0xffff_fffa, Format::Go116),
    (0xffff_fff0, Format::Go118),
    (0xffff_fff1, Format::Go120),
];

/// No name of a function or file is longer, of those that are shown.
const NAME_MAX: usize = 512;

/// No table of programs that exist has more functions; Kubernetes' have 100 000.
const FUNCTIONS_MAX: u64 = 4_000_000;

/// No function's table of values has more steps.
const STEPS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    Go12,
    Go116,
    Go118,
    Go120,
}

/// A table, and where its program's text is.
#[derive(Clone, Copy, Debug)]
pub struct GoTable<'a> {
    bytes: &'a [u8],
    format: Format,
    /// Program counters advance in steps of this: 1 on x86, 4 on arm64 (`minLC`).
    quantum: u64,
    pointer: usize,
    functions: u64,
    /// What addresses of functions count from; 0 in the older formats.
    text: u64,
    names: usize,
    units: usize,
    files: usize,
    values: usize,
    /// The index of functions by address, and what its entries point from.
    index: usize,
}

/// A function as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoFunction<'a> {
    /// Where it begins.
    pub entry: u64,
    /// Its name, such as `os.init.0`.
    pub name: &'a [u8],
    /// Where its record is.
    record: usize,
}

/// The place in the source of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The file.
    pub file: &'a [u8],
    /// The line, from 1.
    pub number: u32,
}

impl<'a> GoTable<'a> {
    /// The size in bytes of a header, at most.
    pub const HEADER: usize = 8 + 8 * 8;

    /// Where in these bytes a table may begin, on boundaries of 8 bytes: what follows need not be one.
    pub fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
        // by the last byte of the magic number first: few other words end so
        let places = (0..bytes.len().saturating_sub(Self::HEADER)).step_by(8);
        places.filter(|at| {
            bytes.get(at + 3) == Some(&0xff) && head(bytes.get(*at..).unwrap_or_default()).is_some()
        })
    }

    /// Where the text begins, as the header says: nothing where it does not, as from Go 1.26 on, or in a program
    /// whose addresses are only known once it is loaded; then [`GoTable::parse`] has to be told.
    pub fn text_in_header(bytes: &[u8]) -> Option<u64> {
        let (format, _, pointer) = head(bytes)?;
        let at = 8 + 2 * pointer;
        (format >= Format::Go118).then(|| word(bytes, at, pointer)).flatten().filter(|text| *text != 0)
    }

    /// Whether functions count from where the text begins, which then has to be known.
    pub fn counts_from_text(bytes: &[u8]) -> bool {
        head(bytes).is_some_and(|(format, _, _)| format >= Format::Go118)
    }

    /// Where in the table the header says where the text begins, for who relocates it.
    pub fn place_of_text(bytes: &[u8]) -> Option<usize> {
        head(bytes).map(|(_, _, pointer)| 8 + 2 * pointer)
    }

    /// Read the header of a table that begins with these bytes, which may go on behind it. `text` is the address
    /// that its functions count from. Nothing, if this is no table.
    pub fn parse(bytes: &'a [u8], text: u64) -> Option<Self> {
        let (format, quantum, pointer) = head(bytes)?;
        let header = |number: usize| word(bytes, 8 + number * pointer, pointer);
        let offset = |number: usize| usize::try_from(header(number)?).ok().filter(|at| *at < bytes.len());
        let functions = header(0).filter(|count| (1..=FUNCTIONS_MAX).contains(count))?;
        let mut table = GoTable {
            bytes,
            format,
            quantum: quantum.into(),
            pointer,
            functions,
            text: 0,
            names: 0,
            units: 0,
            files: 0,
            values: 0,
            index: 8 + pointer,
        };
        if format == Format::Go12 {
            let end = table.index_entry(functions)?;
            table.files = usize::try_from(word(bytes, end + pointer, 4)?).ok()?;
        } else {
            // 1.18 put the start of the text between the numbers of functions and files, and the offsets
            let first = if format >= Format::Go118 { 3 } else { 2 };
            (table.names, table.units) = (offset(first)?, offset(first + 1)?);
            (table.files, table.values) = (offset(first + 2)?, offset(first + 3)?);
            table.index = offset(first + 4)?;
            table.text = if format >= Format::Go118 { text } else { 0 };
        }
        let (first, last) = (table.entry(0)?, table.entry(functions)?);
        (first < last && table.function(0).is_some_and(|f| !f.name.is_empty())).then_some(table)
    }

    /// The addresses of the first function and behind the last one.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.entry(0).unwrap_or_default()..self.entry(self.functions).unwrap_or_default()
    }

    /// The function that an address is in.
    pub fn function_at(&self, pc: u64) -> Option<GoFunction<'a>> {
        if !self.range().contains(&pc) {
            return None;
        }
        // the last one that does not begin behind it
        let (mut low, mut high) = (0, self.functions);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.entry(middle)? <= pc { low = middle } else { high = middle }
        }
        self.function(low).filter(|function| function.entry <= pc)
    }

    /// How many bytes there are between the stack pointer at this address of a function and what the call of the
    /// function left on the stack: on x86-64, the return address.
    pub fn frame_size(&self, function: &GoFunction, pc: u64) -> Option<u64> {
        let at = self.record_word(function, 4)?;
        u64::try_from(self.value(at, function.entry, pc)?).ok()
    }

    /// The place in the source.
    pub fn line(&self, function: &GoFunction, pc: u64) -> Option<Line<'a>> {
        let file = self.value(self.record_word(function, 5)?, function.entry, pc)?;
        let number = self.value(self.record_word(function, 6)?, function.entry, pc)?;
        let file = usize::try_from(file).ok()?;
        let at = if self.format == Format::Go12 {
            usize::try_from(word(self.bytes, self.files.checked_add(file.checked_mul(4)?)?, 4)?).ok()?
        } else {
            let unit = usize::try_from(self.record_word(function, 8)?).ok()?.checked_add(file)?;
            let place = self.units.checked_add(unit.checked_mul(4)?)?;
            self.files.checked_add(usize::try_from(word(self.bytes, place, 4)?).ok()?)?
        };
        let file = self.text_at(at)?;
        Some(Line { file, number: u32::try_from(number).ok().filter(|line| *line > 0)? })
    }

    /// Where an entry of the index is.
    fn index_entry(&self, number: u64) -> Option<usize> {
        let size = if self.format >= Format::Go118 { 8 } else { 2 * self.pointer };
        self.index.checked_add(usize::try_from(number).ok()?.checked_mul(size)?)
    }

    /// The address in an entry of the index; that of the last one is where the text ends.
    fn entry(&self, number: u64) -> Option<u64> {
        let at = self.index_entry(number)?;
        if self.format >= Format::Go118 {
            self.text.checked_add(word(self.bytes, at, 4)?)
        } else {
            word(self.bytes, at, self.pointer)
        }
    }

    fn function(&self, number: u64) -> Option<GoFunction<'a>> {
        let at = self.index_entry(number)?;
        let offset = match self.format {
            Format::Go12 | Format::Go116 => word(self.bytes, at.checked_add(self.pointer)?, self.pointer)?,
            Format::Go118 | Format::Go120 => word(self.bytes, at.checked_add(4)?, 4)?,
        };
        let from = if self.format == Format::Go12 { 0 } else { self.index };
        let record = from.checked_add(usize::try_from(offset).ok()?)?;
        let mut function = GoFunction { entry: self.entry(number)?, name: b"", record };
        let name = usize::try_from(self.record_word(&function, 1)?).ok()?;
        function.name = self.text_at(self.names.checked_add(name)?)?;
        Some(function)
    }

    /// One of the numbers in a function's record (`_func` in runtime2.go): 1 the name, 4 the table of stack
    /// pointers, 5 that of files, 6 that of lines, 8 the compilation unit. Number 0 is the address, which is a
    /// pointer in the older formats; all others have four bytes.
    fn record_word(&self, function: &GoFunction, number: usize) -> Option<u64> {
        let address = if self.format >= Format::Go118 { 4 } else { self.pointer };
        let at = function.record.checked_add(address + 4 * (number - 1))?;
        word(self.bytes, at, 4)
    }

    /// The value that a table of values has for an address: pairs of a difference of values and one of addresses,
    /// until a value does not change (`pcvalue` in symtab.go).
    fn value(&self, table: u64, entry: u64, pc: u64) -> Option<i64> {
        if table == 0 {
            return None; // the compiler left none
        }
        let mut at = self.values.checked_add(usize::try_from(table).ok()?)?;
        let (mut value, mut address) = (-1_i64, entry);
        for step in 0..STEPS_MAX {
            let difference = self.variable(&mut at)?;
            if difference == 0 && step > 0 {
                return None;
            }
            let half = i64::from(difference >> 1);
            value = value.checked_add(if difference & 1 == 1 { -half - 1 } else { half })?;
            address = address.checked_add(u64::from(self.variable(&mut at)?).checked_mul(self.quantum)?)?;
            if pc < address {
                return Some(value);
            }
        }
        None
    }

    /// A number of variable length, seven bits in each byte.
    fn variable(&self, at: &mut usize) -> Option<u32> {
        let mut number = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.get(*at)?;
            *at += 1;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Text that ends with a zero; longer text than anybody wants to see is cut.
    fn text_at(&self, at: usize) -> Option<&'a [u8]> {
        let text = self.bytes.get(at..)?;
        let text = text.get(..NAME_MAX).unwrap_or(text);
        text.split(|byte| *byte == 0).next()
    }
}

/// The format, the quantum and the size of a pointer that a header tells of.
fn head(bytes: &[u8]) -> Option<(Format, u8, usize)> {
    let magic = u32::from_le_bytes(*bytes.first_chunk()?);
    let (_, format) = MAGICS.into_iter().find(|(known, _)| *known == magic)?;
    match *bytes.get(4..8)? {
        [0, 0, quantum @ (1 | 2 | 4), pointer @ (4 | 8)] => Some((format, quantum, pointer.into())),
        _ => None,
    }
}

/// A number of 4 or 8 bytes.
fn word(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    match size {
        4 => Some(u32::from_le_bytes(bytes.try_into().ok()?).into()),
        _ => Some(u64::from_le_bytes(bytes.try_into().ok()?)),
    }
}

#[cfg(test)]
#[path = "go_table/tests.rs"]
mod tests;
