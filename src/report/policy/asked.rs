//! The calls that somebody asks `policy` about.

use crate::evidence::Untrusted;
use crate::explain::closest_call;
use crate::explain::words::{architecture, name, number};
use crate::syscalls::{Arch, Call, Groups};

/// A call that somebody asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The call.
    pub call: Call,
    /// Its architecture was named, too.
    pub of_its_architecture: bool,
}

/// What somebody wrote, as calls: a name, which every architecture of this kernel may have, a number, or either behind
/// an architecture and a colon; or the members of an `@group`.
pub fn parse_call(text: &str, groups: &Groups) -> Result<Vec<Asked>, String> {
    let shown = || Untrusted::new(text).to_string();
    if text.starts_with('@') {
        let members = groups.members(text);
        let members =
            members.ok_or_else(|| format!("systemd {} knows no group '{}'", groups.systemd, shown()))?;
        let native = members.iter().filter_map(|name| Some((Arch::native(), Arch::native().number(name)?)));
        return Ok(native.map(|(arch, number)| asked(arch, number, false)).collect());
    }
    let (archs, word) = match text.split_once(':') {
        Some((arch, word)) => (vec![architecture_of(arch).ok_or_else(|| no_architecture(&shown()))?], word),
        None => (Arch::of_this_kernel().to_vec(), text),
    };
    let named = text.contains(':');
    if let Some(number) = number(word) {
        return Ok(vec![asked(archs.first().copied().unwrap_or(Arch::native()), number, named)]);
    }
    let name = name(word).unwrap_or_else(|| word.to_owned());
    let calls: Vec<Asked> =
        archs.iter().filter_map(|arch| Some(asked(*arch, arch.number(&name)?, named))).collect();
    if calls.is_empty() {
        let meant = closest_call(word).map(|meant| format!(" (did you mean {meant}?)")).unwrap_or_default();
        return Err(format!("there is no system call '{}' here{meant}", shown()));
    }
    Ok(calls)
}

fn architecture_of(text: &str) -> Option<Arch> {
    Arch::from_systemd_name(text).or_else(|| architecture(text))
}

fn no_architecture(shown: &str) -> String {
    let known: Vec<&str> = Arch::ALL.iter().map(|arch| arch.systemd_name()).collect();
    format!("'{shown}' names no architecture; known are {}", crate::plan::list(known))
}

fn asked(arch: Arch, number: u32, of_its_architecture: bool) -> Asked {
    Asked { call: Call { arch, number }, of_its_architecture }
}
