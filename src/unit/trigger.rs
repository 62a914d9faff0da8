//! Which service a socket, timer or path starts, without a running manager: `Service=` of systemd.socket(5), `Unit=` of
//! systemd.timer(5) and systemd.path(5).

use super::search::directories;
use super::{SourceFile, UnitName, drop_ins, parse_boolean, syntax};
use crate::root::Root;

/// The types of units that start another one, with the section and the setting that name it.
const TYPES: [(&str, &str, &str); 3] =
    [("socket", "Socket", "Service"), ("timer", "Timer", "Unit"), ("path", "Path", "Unit")];

/// What a socket, timer or path starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggered {
    /// A unit of this name.
    Unit(String),
    /// An instance of this template for each connection (`Accept=yes`).
    Template(String),
}

/// Whether a name is that of a socket, timer or path; without its suffix, then.
#[must_use]
pub fn trigger_stem(name: &str) -> Option<&str> {
    let (stem, suffix) = name.rsplit_once('.')?;
    TYPES.iter().any(|(kind, ..)| *kind == suffix).then_some(stem)
}

/// What starts instances for connections of a socket: `foo@.service` for `foo.socket`.
#[must_use]
pub fn template_of_connections(socket: &str) -> String {
    format!("{}@.service", trigger_stem(socket).unwrap_or(socket))
}

impl Triggered {
    /// What a unit starts that is loaded below a root folder by the rules of this major version. Nothing: there is no
    /// such unit.
    #[must_use]
    pub fn find(root: &Root, name: &str, version: u32) -> Option<Self> {
        let (stem, suffix) = name.rsplit_once('.')?;
        let (kind, section, key) = *TYPES.iter().find(|(kind, ..)| *kind == suffix)?;
        let template = stem.split_once('@').map(|(prefix, _)| format!("{prefix}@.{kind}"));
        let in_folders =
            |file: &str| directories(version).map(|folder| folder.join(file)).collect::<Vec<_>>();
        let mut candidates =
            in_folders(name).into_iter().chain(template.iter().flat_map(|file| in_folders(file)));
        let fragment = candidates.find(|path| root.kind(path).is_some())?;
        // another name of it is a link
        let real = root.resolve(&fragment).and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let real = real.filter(|real| trigger_stem(real).is_some() && !real.contains("@."));
        let real = real.as_deref().unwrap_or(name);
        let folders = [Some(real), template.as_deref()].into_iter().flatten();
        let folders = folders.flat_map(|name| in_folders(&format!("{name}.d")));
        let drop_ins = drop_ins::of_directories(root, folders, version);
        let files = std::iter::once(fragment).chain(drop_ins);
        let sources = files.filter_map(|path| Some(SourceFile::new(path.clone(), root.read(&path).ok()?)));
        let settings: Vec<_> = sources.flat_map(|file| syntax::parse_as(&file, version).settings).collect();
        let last = |key: &str| {
            let text = settings.iter().rev().find(|line| line.section == section && line.key == key);
            text.map(|line| line.value.text.as_str()).filter(|text| !text.is_empty())
        };
        let stem = trigger_stem(real).unwrap_or(stem);
        Some(match last(key) {
            Some(unit) => {
                Triggered::Unit(unit.replace("%i", instance_of(stem)).replace("%p", prefix_of(stem)))
            }
            None if last("Accept").and_then(parse_boolean) == Some(true) => {
                Triggered::Template(template_of_connections(real))
            }
            None => Triggered::Unit(format!("{stem}.service")),
        })
    }
}

fn instance_of(stem: &str) -> &str {
    stem.split_once('@').map_or("", |(_, instance)| instance)
}

fn prefix_of(stem: &str) -> &str {
    stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
}

/// The instances of a template that something below a root folder wants or requires: links in `*.wants` and
/// `*.requires`, as `systemctl enable` makes them.
#[must_use]
pub fn enabled_instances(root: &Root, prefix: &str, version: u32) -> Vec<String> {
    let mut found = Vec::new();
    for folder in directories(version) {
        let names = root.list(folder).unwrap_or_default();
        let wanting = names.iter().filter_map(|name| name.to_str());
        let wants =
            |name: &&str| name.rsplit_once('.').is_some_and(|(_, kind)| matches!(kind, "wants" | "requires"));
        for name in wanting.filter(wants) {
            let links = root.list(&folder.join(name)).unwrap_or_default();
            let links = links.into_iter().filter_map(|link| UnitName::parse(link.to_str()?).ok());
            found.extend(links.filter(|link| link.instance().is_some() && link.prefix() == prefix));
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|name| name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(files: &[(&str, &str)], name: &str) -> Option<Triggered> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Triggered::find(&Root::new(folder.path()), name, 252)
    }

    #[test]
    fn what_starts_what() {
        let unit = |name: &str| Some(Triggered::Unit(name.to_owned()));
        let socket = "[Socket]\nListenStream=1\n";
        assert_eq!(started(&[("etc/systemd/system/a.socket", socket)], "a.socket"), unit("a.service"));
        assert_eq!(started(&[("etc/systemd/system/a.socket", socket)], "b.socket"), None);
        let named = "[Timer]\nUnit=b.service\n";
        assert_eq!(started(&[("usr/lib/systemd/system/a.timer", named)], "a.timer"), unit("b.service"));
        assert_eq!(
            started(
                &[
                    ("usr/lib/systemd/system/a.path", "[Path]\nUnit=b.service\n"),
                    ("etc/systemd/system/a.path.d/x.conf", "[Path]\nUnit=c.service\n"),
                    ("usr/lib/systemd/system/a.path.d/x.conf", "[Path]\nUnit=d.service\n"),
                    ("usr/lib/systemd/system/a.path.d/y", "[Path]\nUnit=e.service\n"),
                ],
                "a.path"
            ),
            unit("c.service")
        );
        let masked = [
            ("usr/lib/systemd/system/a.path", "[Path]\nUnit=b.service\n"),
            ("etc/systemd/system/a.path.d/x.conf", ""),
            ("usr/lib/systemd/system/a.path.d/x.conf", "[Path]\nUnit=d.service\n"),
        ];
        assert_eq!(started(&masked, "a.path"), unit("b.service"));
        let instance = "[Timer]\nUnit=job-%i@%p.service\n";
        assert_eq!(
            started(&[("etc/systemd/system/a@.timer", instance)], "a@x.timer"),
            unit("job-x@a.service")
        );
        let accepting = "[Socket]\nAccept=yes\n";
        assert_eq!(
            started(&[("etc/systemd/system/a.socket", accepting)], "a.socket"),
            Some(Triggered::Template("a@.service".to_owned()))
        );
        assert_eq!(started(&[("etc/systemd/system/a.mount", "")], "a.mount"), None);
    }
}
