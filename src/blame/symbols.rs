//! Symbols of a program: names by address, demangled when they are asked for.

use crate::evidence::Untrusted;
use std::fmt::Write as _;

/// More symbols than this nobody has linked into one file.
const SYMBOLS_MAX: usize = 4_000_000;

/// Names are cut to so many bytes, before and after they are demangled.
const NAME_MAX: usize = 512;

/// The functions of a symbol table, by address.
#[derive(Debug, Default)]
pub struct Symbols {
    functions: Vec<Function>,
    names: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    address: u64,
    size: u64,
    name: u32,
    global: bool,
}

impl Symbols {
    /// Read the bytes of a symbol table (`Elf64_Sym`, elf(5)) and of its strings.
    pub fn read(table: &[u8], names: Vec<u8>) -> Option<Self> {
        const SIZE: usize = 24;
        const FUNCTION: u8 = 2; // STT_FUNC
        const INDIRECT: u8 = 10; // STT_GNU_IFUNC
        const LOCAL: u8 = 0; // STB_LOCAL
        let mut functions = Vec::new();
        for symbol in table.chunks_exact(SIZE).take(SYMBOLS_MAX) {
            let name = u32::from_le_bytes(*symbol.first_chunk()?);
            let (info, section) = (*symbol.get(4)?, symbol.get(6..8)?);
            let address = u64::from_le_bytes(symbol.get(8..16)?.try_into().ok()?);
            let size = u64::from_le_bytes(symbol.get(16..24)?.try_into().ok()?);
            if matches!(info & 0xf, FUNCTION | INDIRECT) && section != [0, 0] && size > 0 {
                functions.push(Function { address, size, name, global: info >> 4 != LOCAL });
            }
        }
        functions.sort_by_key(|f| f.address);
        Some(Symbols { functions, names })
    }

    /// How many bytes are kept.
    pub(super) fn memory(&self) -> usize {
        size_of_val(self.functions.as_slice()) + self.names.len()
    }

    /// The function that an address is in. Of several names, the one that people would use: a global one, with few
    /// underscores in front, short.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<Untrusted> {
        let end = self.functions.partition_point(|f| f.address <= address);
        let before = self.functions.get(..end)?;
        let contains = |f: &&Function| address - f.address < f.size;
        // a function that lies in another one is rare, and near
        let nearest = before.iter().rev().take(64).find(contains)?;
        let same = before.iter().rev().take(64).filter(|f| f.address == nearest.address).filter(contains);
        let rank = |f: &&Function| {
            let name = self.text(f.name);
            let underscores = name.iter().take_while(|b| **b == b'_').count();
            (!f.global, name.contains(&b'@'), underscores, name.len())
        };
        let best = same.min_by_key(rank)?;
        let name = self.text(best.name);
        (!name.is_empty()).then(|| demangled(name))
    }

    fn text(&self, at: u32) -> &[u8] {
        let text = usize::try_from(at).ok().and_then(|at| self.names.get(at..)).unwrap_or_default();
        let text = text.get(..NAME_MAX).unwrap_or(text);
        text.split(|b| *b == 0).next().unwrap_or_default()
    }
}

/// The name that a Rust or C++ programmer wrote.
pub(crate) fn demangled(name: &[u8]) -> Untrusted {
    let plain = || Untrusted::new(name);
    let Ok(text) = std::str::from_utf8(name) else { return plain() };
    if let Ok(rust) = rustc_demangle::try_demangle(text) {
        let mut shown = Short::default();
        let _ = write!(shown, "{rust:#}"); // it fails when there is enough
        return Untrusted::new(shown.text);
    }
    if !text.starts_with("_Z") {
        return plain();
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let limits = cpp_demangle::ParseOptions::default().recursion_limit(64);
    let Ok(symbol) = cpp_demangle::Symbol::new_with_options(text, &limits) else { return plain() };
    let mut shown = Short::default();
    match symbol.structured_demangle(&mut shown, &options) {
        Err(_) if !shown.full => plain(),
        _ => Untrusted::new(shown.text),
    }
}

/// The beginning of a text. A name that refers to parts of itself, which do so in turn, is of any length.
#[derive(Default)]
struct Short {
    text: String,
    full: bool,
}

impl std::fmt::Write for Short {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        self.full |= self.text.len() + more.len() > NAME_MAX;
        self.text.push_str(cut(more, NAME_MAX - self.text.len()));
        if self.full { Err(std::fmt::Error) } else { Ok(()) }
    }
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `address size info name` as table and strings.
    fn symbols(all: &[(u64, u64, u8, &str)]) -> Symbols {
        let (mut table, mut names) = (vec![0; 24], vec![0]);
        for (address, size, info, name) in all {
            table.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
            table.extend([*info, 0, 1, 0]);
            table.extend(address.to_le_bytes());
            table.extend(size.to_le_bytes());
            names.extend(name.bytes().chain([0]));
        }
        Symbols::read(&table, names).unwrap()
    }

    #[test]
    fn the_name_that_people_use() {
        let symbols = symbols(&[
            (0x10, 8, 0x02, "static_one"),
            (0x20, 8, 0x12, "__setrlimit64"),
            (0x20, 8, 0x12, "setrlimit64"),
            (0x20, 8, 0x22, "setrlimit"),
            (0x40, 8, 0x11, "data"),
            (0x50, 0, 0x12, "without_a_size"),
            (0x60, 8, 0x12, "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE"),
            (0x70, 8, 0x12, "_ZN4node6crypto6RandomEv"),
        ]);
        let name = |address| symbols.name(address).map(|name| name.to_string());
        assert_eq!(name(0x17).as_deref(), Some("static_one"));
        assert_eq!(name(0x20).as_deref(), Some("setrlimit"));
        assert_eq!(name(0x27).as_deref(), Some("setrlimit"));
        assert_eq!(name(0x60).as_deref(), Some("core::fmt::Formatter::pad"));
        assert_eq!(name(0x70).as_deref(), Some("node::crypto::Random"));
        for nowhere in [0, 0x18, 0x28, 0x44, 0x50, 0x68, u64::MAX] {
            assert_eq!(name(nowhere), None, "{nowhere:x}");
        }
    }

    /// `f<…>` with arguments of so many layers, each of which has the one before it twice.
    fn doubled(layers: usize) -> String {
        const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let place = |n: usize| {
            let digits = [n / 36, n % 36].map(|digit| char::from(DIGITS[digit]));
            if n < 36 { format!("S{}_", digits[1]) } else { format!("S{}{}_", digits[0], digits[1]) }
        };
        // f is S_, t is S0_, t<int, int> is S1_, and each layer the next one
        let layers = (1..layers).map(|n| format!("S0_I{0}{0}E", place(n)));
        format!("_Z1fI1tIiiE{}Evv", layers.collect::<String>())
    }

    #[test]
    fn a_name_that_doubles_itself_is_cut() {
        let name = |layers| demangled(doubled(layers).as_bytes()).to_string();
        assert_eq!(name(2), "f<t<int, int>, t<t<int, int>, t<int, int> > >");
        // written out, this one has a thousand billion letters
        let cut = name(40);
        assert!(cut.starts_with("f<t<int, int>, t<t<int") && cut.len() == NAME_MAX, "{cut}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(table: Vec<u8>, names: Vec<u8>, address: u64, text in "_(ZN|R)[0-9A-Za-z_]{0,60}") {
            if let Some(symbols) = Symbols::read(&table, names) {
                let _ = symbols.name(address);
            }
            let _ = demangled(text.as_bytes());
        }
    }
}
